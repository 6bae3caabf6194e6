"""Guards on the shape of the repository: what gets installed, who imports whom and how, how long a file is, what waits.

Each guard is a function from source text to complaints, so that it is itself tested on code that breaks its rule.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tertulia

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("engine", "storage", "actors", "api")
CLIENTS = ("tests", "bench")
MAX_LINES = 350
#: Folders of other people's programs, which git ignores.
INSTALLED = frozenset({"node_modules", ".installed"})
#: Folders of tests whose subjects are whole processes, and fixtures that are: these run in real time.
REAL_TIME = frozenset({"processes", "chaos"})
SERVER_FIXTURES = ("postgres_url", "postgres_server", "redis_url", "redis_server")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def modules(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if not INSTALLED.intersection(path.parts))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_layer_module = pytest.mark.parametrize("path", modules(*LAYERS), ids=shown)
each_client_module = pytest.mark.parametrize("path", modules(*CLIENTS), ids=shown)
each_test_module = pytest.mark.parametrize("path", modules("tests"), ids=shown)


# What gets installed


def folders_with_files() -> set[str]:
    files = (path for layer in LAYERS for path in (ROOT / layer).rglob("*") if path.is_file())
    return {shown(path.parent).replace("/", ".") for path in files if "__pycache__" not in path.parts}


def test_every_folder_that_holds_a_file_is_a_package_of_the_wheel() -> None:
    expected = {"tertulia"} | {f"tertulia.{folder}" for folder in folders_with_files()}
    assert expected == set(PYPROJECT["tool"]["setuptools"]["packages"])


def test_every_package_has_an_init() -> None:
    missing = [
        folder for folder in folders_with_files() if not (ROOT / folder.replace(".", "/") / "__init__.py").exists()
    ]
    assert missing == []


def test_the_mapping_gives_each_layer_its_folder() -> None:
    expected = {"tertulia": "src/tertulia"} | {f"tertulia.{layer}": layer for layer in LAYERS}
    assert expected == PYPROJECT["tool"]["setuptools"]["package-dir"]


def test_the_package_holds_the_public_names_and_a_link_for_each_layer() -> None:
    package = ROOT / "src" / "tertulia"
    entries = {path.name for path in package.iterdir() if path.name != "__pycache__"}
    assert {"__init__.py", "__main__.py", "py.typed", *LAYERS} == entries
    assert {layer: f"../../{layer}" for layer in LAYERS} == {
        layer: (package / layer).readlink().as_posix() for layer in LAYERS
    }


def test_pyright_is_given_the_real_folders() -> None:
    assert set(LAYERS + CLIENTS) <= set(PYPROJECT["tool"]["pyright"]["include"])


def test_the_version_is_the_same_in_both_places() -> None:
    assert PYPROJECT["project"]["version"] == tertulia.__version__


# Who imports whom, and how


def first_party_by_absolute_name(source: str, names: tuple[str, ...]) -> Iterator[str]:
    """Imports whose first part is one of `names`: `import engine`, `from tertulia.engine import mailbox`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                imported = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module=str(module)):
                imported = [module]
            case _:
                continue
        yield from (f"line {node.lineno}: {name}" for name in imported if name.split(".")[0] in names)


@each_layer_module
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    assert list(first_party_by_absolute_name(path.read_text(), ("tertulia", *LAYERS, *CLIENTS))) == []


@each_client_module
def test_tests_and_bench_import_the_package_by_its_one_name(path: Path) -> None:
    assert list(first_party_by_absolute_name(path.read_text(), LAYERS)) == []


@pytest.mark.parametrize("source", ["import engine", "import os, engine.mailbox", "from engine.mailbox import Mailbox"])
def test_the_import_guard_sees_a_bare_name(source: str) -> None:
    assert list(first_party_by_absolute_name(source, LAYERS)) != []


@pytest.mark.parametrize("source", ["from ..engine import mailbox", "from . import engine", "import tertulia.engine"])
def test_the_import_guard_lets_other_forms_pass(source: str) -> None:
    assert list(first_party_by_absolute_name(source, LAYERS)) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_s_init_holds_no_code(layer: str) -> None:
    body = ast.parse((ROOT / layer / "__init__.py").read_text()).body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


@each_layer_module
def test_a_file_is_short_enough_to_hold_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


# What waits


SLEEPS = {"sleep", "sleep_until"}
AUTOJUMP = "autojump_clock"


def calls(node: ast.AST, module: str, functions: set[str]) -> Iterator[int]:
    """The lines that call `module.function(...)`, or import such a function by name; `sleep(0)` takes no time."""
    for inner in ast.walk(node):
        match inner:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr), args=args):
                at_once = [ast.unparse(arg) for arg in args] == ["0"]
                if name == module and attr in functions and not at_once:
                    yield inner.lineno
            case ast.ImportFrom(module=name, names=names):
                if name == module and functions & {alias.name for alias in names}:
                    yield inner.lineno
            case _:
                pass


def is_slow(nodes: list[ast.expr]) -> bool:
    return any("mark.slow" in ast.unparse(node) for node in nodes)


def has_real_time(tree: ast.Module) -> bool:
    """Whether the whole module is marked slow, by `pytestmark`."""
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark" and is_slow([node.value])
        for node in tree.body
    )


def has_virtual_time(node: ast.AST) -> bool:
    """Whether somewhere in it the clock fixture is a parameter: pytest-trio takes no clock from `usefixtures`."""
    return any(isinstance(inner, ast.arg) and inner.arg == AUTOJUMP for inner in ast.walk(node))


def real_waits(source: str) -> Iterator[str]:
    """Waits on the wall clock. A test answers for itself; other functions of a module are its tests' to call."""
    tree = ast.parse(source)
    if has_real_time(tree):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and is_slow(node.decorator_list):
            continue
        yield from (f"line {line}: time.sleep" for line in calls(node, "time", {"sleep"}))
        is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if not has_virtual_time(node if is_test else tree):
            yield from (f"line {line}: trio.sleep without {AUTOJUMP}" for line in calls(node, "trio", SLEEPS))


@each_test_module
def test_no_test_waits_on_the_wall_clock(path: Path) -> None:
    source = path.read_text()
    # A server that is another process has no virtual time.
    has_real_servers = path.name == "servers.py" or any(fixture in source for fixture in SERVER_FIXTURES)
    if not has_real_servers and not REAL_TIME.intersection(path.parts):
        assert list(real_waits(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "def test_a():\n    time.sleep(1)",
        "from time import sleep",
        "async def test_a():\n    await trio.sleep(1)",
        "async def test_a():\n    await trio.sleep(1)\nasync def test_b(autojump_clock):\n    pass",
        "async def pause():\n    await trio.sleep(1)\nasync def test_a():\n    await pause()",
        "async def test_a(autojump_clock):\n    time.sleep(1)",
        "pytestmark = pytest.mark.usefixtures('autojump_clock')\nasync def test_a():\n    await trio.sleep(1)",
        "@pytest.mark.usefixtures('autojump_clock')\nasync def test_a():\n    await trio.sleep(1)",
    ],
)
def test_the_clock_guard_sees_a_real_wait(source: str) -> None:
    assert list(real_waits(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "async def test_a(autojump_clock):\n    await trio.sleep(1)",
        "async def pause():\n    await trio.sleep(1)\nasync def test_a(autojump_clock):\n    await pause()",
        "@pytest.mark.slow\nasync def test_a():\n    await trio.sleep(1)",
        "pytestmark = [pytest.mark.slow]\ndef test_a():\n    time.sleep(1)",
        "async def test_a():\n    await trio.sleep(0)",
    ],
)
def test_the_clock_guard_lets_virtual_and_declared_waits_pass(source: str) -> None:
    assert list(real_waits(source)) == []
