"""Build the sdist and from it the wheel, as a release does, and check what the wheel would put on a user's machine.

Nothing but `tertulia/` may be installed (an application that embeds the engine often has an `api` of its own), and
every file of the four folders must be in it: setuptools leaves out, in silence, a folder that pyproject.toml omits.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("engine", "storage", "actors", "api")


def build(out: Path) -> set[str]:
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True, stdout=subprocess.DEVNULL
    )
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected() -> set[str]:
    sources = {f"tertulia/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.name != ".DS_Store":
                sources.add(f"tertulia/{path.relative_to(ROOT).as_posix()}")
    return sources


def problems(names: set[str], wanted: set[str]) -> list[str]:
    found: list[str] = []
    for name in sorted(names):
        top = name.split("/", 1)[0]
        if top != "tertulia" and not (top.startswith("tertulia-") and top.endswith(".dist-info")):
            found.append(f"{name}: installed beside the package")
    found += [f"{name}: missing from the wheel" for name in sorted(wanted - names)]
    inside = {name for name in names if name.startswith("tertulia/")}
    found += [f"{name}: in the wheel, but in no folder" for name in sorted(inside - wanted)]
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        found.append("LICENSE: missing from the wheel")
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as out:
        names = build(Path(out))
    wrong = problems(names, expected())
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"the wheel is right: {len(names)} files")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
