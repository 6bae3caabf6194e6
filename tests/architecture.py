"""The folder listing in `docs/architecture.md`, made from the first sentence of every module.

`python -m tests.architecture` writes it; `test_architecture.py` finds out when that was forgotten.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
LAYERS = ("api", "actors", "storage", "engine")
BEGIN, END = "<!-- listing -->", "<!-- end of listing -->"


def listing() -> str:
    """A table per folder: file, first sentence of its docstring."""
    return "\n".join(line for layer in LAYERS for line in _tables(ROOT / layer))


def _tables(folder: Path) -> Iterator[str]:
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    if modules:
        yield from ("", f"### `{folder.relative_to(ROOT)}/`", "", "| file | is |", "|---|---|")
        for path in modules:
            yield f"| `{path.name}` | {first_sentence(path)} |"
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and (path / "__init__.py").exists()):
        yield from _tables(inner)


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[.?])\s+(?=In:|Out:|Next hop:|[A-Z`])", paragraph, maxsplit=1)[0]
    return sentence.replace("|", "\\|")


def page_with(listing: str) -> str:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{listing}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(listing()), encoding="utf-8")
