"""A program's own jobs, by the name of their module."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tertulia.actors.jobs.job import BaseJob
from tertulia.actors.jobs.registry import JobRegistry
from tertulia.api.engine import open_engine
from tertulia.api.jobs_module import load_jobs
from tertulia.api.settings import WrongSetting

GOOD = """
from tertulia import BaseJob, JobContext, JobRegistry

class SendReceipt(BaseJob[str]):
    queue = "mail"

    async def perform(self, context: JobContext, args: str) -> None:
        pass

def jobs(registry: JobRegistry) -> None:
    registry.add(SendReceipt)
    registry.cron("0 6 * * *", SendReceipt, "all")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Puts a module into the directory that the program was started in; its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    monkeypatch.delitem(sys.modules, name, raising=False)

    def put(source: str) -> str:
        tmp_path.joinpath(f"{name}.py").write_text(source)
        return name

    return put


def test_the_module_adds_its_jobs_and_what_runs_by_the_clock(write: Callable[[str], str]) -> None:
    registry = load_jobs(write(GOOD))
    assert registry.of("send_receipt") is not None
    assert registry.queues == {"mail"}
    assert list(registry.crons) == ["send_receipt"]


def test_without_a_module_there_are_no_jobs() -> None:
    assert load_jobs("").queues == set()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "has no function jobs"),
        ("jobs = 7", "has no function jobs"),
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def jobs(registry:", "cannot be imported: SyntaxError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("def jobs(): pass", "cannot add its jobs: TypeError"),
        (GOOD + "    registry.cron('often', SendReceipt)", "cannot add its jobs: ValueError"),
        (GOOD + "    raise RuntimeError('one\\ntwo')", "cannot add its jobs: RuntimeError: one two"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_clear_line(
    write: Callable[[str], str], source: str, complaint: str
) -> None:
    with pytest.raises(WrongSetting, match=complaint) as refused:
        load_jobs(write(source))
    assert "\n" not in refused.value.detail


async def test_engines_that_share_a_registry_add_their_own_jobs_to_copies(write: Callable[[str], str]) -> None:
    registry = load_jobs(write(GOOD))
    async with open_engine("memory:", jobs=registry) as one, open_engine("memory:", jobs=registry) as other:
        assert one.world.registry is not other.world.registry
        for engine in (one, other):
            assert set(engine.world.registry.crons) > set(registry.crons) == {"send_receipt"}
            assert engine.world.registry.of("send_receipt") is registry.of("send_receipt")
        registry.add(Late)
        assert one.world.registry.of("late") is None


class Late(BaseJob[int]):
    """Known after the engine was opened."""


class DeliverWebhook(BaseJob[int]):
    """Has the name of a job of the engine."""


async def test_a_job_with_the_name_of_one_of_the_engines_is_refused() -> None:
    registry = JobRegistry()
    registry.add(DeliverWebhook)
    with pytest.RaisesGroup(
        pytest.RaisesExc(WrongSetting, match="Two jobs are called 'deliver_webhook'"), flatten_subgroups=True
    ):
        async with open_engine("memory:", jobs=registry):
            pass


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(WrongSetting, match=r"'no\.such\.module' cannot be imported"):
        load_jobs("no.such.module")
