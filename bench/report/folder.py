"""The folder of a report: `results.json`, `report.md`, and the plots that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .. import results
from ..results import Outcome
from .plots import plots_of
from .table import table_of

JSON, PAGE = "results.json", "report.md"


def write(outcome: Outcome, folder: Path) -> Path:
    """Make the folder, or write over what is in it; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write(outcome, folder / JSON)
    lines = ["# What was measured", "", table_of(outcome)]
    for name, picture in plots_of(outcome):
        (folder / name).write_text(picture, encoding="utf-8")
        lines.append(f"![{name.removesuffix('.svg')}]({name})\n")
    page = folder / PAGE
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def with_skipped(outcome: Outcome, missing: Mapping[str, str]) -> Outcome:
    """The outcome that says as well which peers were not there."""
    return replace(outcome, skipped={**outcome.skipped, **missing})
