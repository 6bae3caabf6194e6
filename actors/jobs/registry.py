"""Which jobs there are: from the name in the store to the class, with its collaborators, and what runs by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from .job import BaseJob


@dataclass(frozen=True, slots=True)
class CronEntry:
    """A job that is enqueued by the clock."""

    name: str
    expression: str
    zone: str
    job: type[BaseJob[Any]]
    args: Any

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """The instants at which it runs, after another one."""
        return CronSim(self.expression, after.astimezone(ZoneInfo(self.zone)))


class JobRegistry:
    """All jobs that a program knows."""

    def __init__(self) -> None:
        self._factories: dict[str, tuple[type[BaseJob[Any]], Callable[[], BaseJob[Any]]]] = {}
        self.crons: dict[str, CronEntry] = {}

    def add(self, job: type[BaseJob[Any]], factory: Callable[[], BaseJob[Any]] | None = None) -> None:
        """Know a job; `factory` makes it, with its collaborators, for every run. Default: the class itself.

        Raises:
            ValueError: another job has its name, or it does not say what its arguments are.
        """
        known = self._factories.get(job.name)
        if known is not None and known[0] is not job:
            raise ValueError(f"Two jobs are called {job.name!r}; set `name` in one of them.")
        if job.args_type is None:
            raise ValueError(f"{job.__name__} must name the type of its arguments: BaseJob[...].")
        self._factories[job.name] = (job, factory or job)

    def cron(
        self, expression: str, job: type[BaseJob[Any]], args: Any = None, *, zone: str = "UTC", name: str | None = None
    ) -> None:
        """Enqueue a job by the clock: minute, hour, day, month, weekday, in a time zone. Once a tick, on all nodes.

        Around changes of daylight saving time: as Debian's cron does.

        Raises:
            ValueError: the expression or the zone is none, the job is not known, or the name is taken.
        """
        name = name or job.name
        if job.name not in self._factories:
            raise ValueError(f"{job.__name__} is not in the registry; add it first.")
        if name in self.crons:
            raise ValueError(f"Two entries of cron are called {name!r}; give one of them a name.")
        try:
            CronSim(expression, datetime.now(ZoneInfo(zone)))
        except CronSimError as error:
            raise ValueError(f"{expression!r} is no cron expression: {error}.") from None
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is no time zone: {error}.") from None
        self.crons[name] = CronEntry(name, expression, zone, job, args)

    def copy(self) -> JobRegistry:
        """Another one that knows the same: each engine adds jobs of its own to its own."""
        copied = JobRegistry()
        copied._factories.update(self._factories)
        copied.crons.update(self.crons)
        return copied

    def of(self, kind: str) -> type[BaseJob[Any]] | None:
        known = self._factories.get(kind)
        return None if known is None else known[0]

    def make(self, kind: str) -> BaseJob[Any]:
        """Raises KeyError."""
        return self._factories[kind][1]()

    @property
    def queues(self) -> set[str]:
        """The queues that its jobs are in, unless they are enqueued elsewhere."""
        return {job.queue for job, _ in self._factories.values()}
