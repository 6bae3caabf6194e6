# What the `install` of every peer begins with, by `. "$(dirname "$0")/../install.sh"`: it goes to the peer's folder and
# makes `.installed` anew. `finish` says that the peer is there; `give_up` leaves the reason why not.
set -u
cd "$(dirname "$0")" || exit 1
peer=$(basename "$PWD")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' peer.toml)
rm -rf .installed
mkdir .installed || exit 1

give_up() {
    echo "$1" | tee .installed/reason >&2
    exit 1
}

# need PROGRAM: there is no way without it.
need() {
    command -v "$1" >/dev/null 2>&1 || give_up "there is no $1 here"
}

# try SENTENCE COMMAND...: the sentence is the reason where the command fails; what it prints is kept in the log.
try() {
    sentence=$1
    shift
    "$@" >>.installed/log 2>&1 || give_up "$sentence; see bench/peers/$peer/.installed/log"
}

# from_npm PACKAGE...: exactly these, and what package-lock.json pins below them where there is one.
from_npm() {
    need node
    need npm
    cp package.json .installed/
    [ -e package-lock.json ] && cp package-lock.json .installed/
    try "npm cannot install it" npm "$([ -e package-lock.json ] && echo ci || echo install)" \
        --prefix .installed --no-audit --no-fund --loglevel=error
}

# from_pypi: requirements.txt, into a virtual environment of its own.
from_pypi() {
    python=${PYTHON:-python3}
    need "$python"
    try "$python cannot make a virtual environment" "$python" -m venv .installed/venv
    try "pip cannot install it" .installed/venv/bin/python -m pip --quiet install --requirement requirements.txt
}

finish() {
    echo "$version" >.installed/version
    echo "$peer $version is installed"
}
