from __future__ import annotations

import re

from .architecture import PAGE, ROOT, first_sentence, listing, page_with


def test_the_hop_table_is_the_folder_listing() -> None:
    expected = page_with(listing())
    assert PAGE.read_text(encoding="utf-8") == expected, "run `python -m tests.architecture` and commit what it writes"


def test_every_module_begins_with_a_sentence_that_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for layer in ("api", "actors", "storage", "engine")
        for path in (ROOT / layer).rglob("*.py")
        if path.name != "__init__.py" and not first_sentence(path)
    ]
    assert silent == []


def test_every_file_that_the_page_names_exists() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("<!-- listing -->")[0]
    named = re.findall(r"`((?:engine|storage|actors|api)/[\w/]+\.py)`", page)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
