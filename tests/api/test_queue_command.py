"""`tertulia queue`: what an operator reads, and what it writes into the database."""

from pathlib import Path

import pytest
import trio

from tertulia.actors.jobs.job import BaseJob
from tertulia.actors.jobs.limits import JobLimits
from tertulia.api.cli import main
from tertulia.api.engine import open_engine
from tertulia.api.settings import Settings


class SendReceipt(BaseJob[str]):
    queue = "mail"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A file with two jobs that wait, in two queues."""
    url = f"sqlite:///{tmp_path / 'chat.db'}"

    async def fill() -> None:
        async with open_engine(url, Settings(jobs=JobLimits(run=False))) as engine:
            await engine.jobs.enqueue(SendReceipt, "ann")
            await engine.jobs.enqueue_in(SendReceipt, "bob", 60, queue="exports")

    trio.run(fill)
    return url


def table(capsys: pytest.CaptureFixture[str], database: str) -> dict[str, list[str]]:
    """The columns of each queue."""
    capsys.readouterr()
    assert main(["queue", "list", "--database", database]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["queue", "scheduled", "available", "running", "discarded", "state"]
    return {row.split()[0]: row.split(maxsplit=5)[1:] for row in rows}


def test_the_list_counts_the_jobs_of_each_queue(capsys: pytest.CaptureFixture[str], database: str) -> None:
    assert table(capsys, database) == {"exports": ["1", "0", "0", "0", "runs"], "mail": ["0", "1", "0", "0", "runs"]}


def test_a_queue_is_paused_limited_and_set_free_again(capsys: pytest.CaptureFixture[str], database: str) -> None:
    def state(*arguments: str) -> str:
        assert main(["queue", *arguments, "--database", database]) == 0
        return table(capsys, database)["mail"][4]

    assert state("pause", "mail") == "paused"
    assert (
        state("limit", "mail", "--rate", "2.5", "--burst", "10")
        == "paused, starts at most 2.5 jobs a second, 10 at once"
    )
    assert state("resume", "mail") == "runs, starts at most 2.5 jobs a second, 10 at once"
    assert state("limit", "mail", "--rate", "none") == "runs"


def test_what_was_done_is_said(capsys: pytest.CaptureFixture[str], database: str) -> None:
    for arguments, line in (
        (["pause", "mail"], "The queue mail is paused."),
        (["limit", "mail", "--rate", "2"], "The queue mail starts at most 2 jobs a second, 1 at once."),
        (["limit", "mail", "--rate", "none"], "The queue mail has no limit."),
        (["resume", "mail"], "The queue mail runs."),
    ):
        assert main(["queue", *arguments, "--database", database]) == 0
        assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["limit", "mail"],
        ["limit", "mail", "--rate", "0"],
        ["limit", "mail", "--rate", "nan"],
        ["limit", "mail", "--rate", "1", "--burst", "0.5"],
        ["pause"],
        ["destroy", "mail"],
    ],
)
def test_what_makes_no_sense_is_refused_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["queue", *arguments, "--database", "memory:"])
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
