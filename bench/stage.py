"""What a scenario works with: servers, crowds, and the figures of an interval. In: options. Out: results."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .load.crowd import Crowd, crowd
from .load.dialect import Client, Dialect
from .load.histogram import Histogram
from .load.marks import Completeness
from .load.tally import Tally
from .peers import Peer
from .progress import Progress
from .results import Result, latency_of
from .servers import Place, Running, run_peer, run_tertulia
from .usage import MIB, Usage

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Interval:
    """What was counted while the server's CPU time was looked at.

    Attributes:
        cpu: seconds that the server used, by program.
        usage: at the end of the interval.
    """

    tally: Tally
    cpu: Figures
    usage: Usage


@dataclass
class Stage:
    """Options of a call, and the ways to measure.

    Attributes:
        peer: who is measured; None: Tertulia.
        quick: less of everything, so that all scenarios together take two minutes.
        spare_peers: a peer shows only the points that `Scenario.briefly` counts.
        client_cores: of the load generator: one process on each.
    """

    place: Place
    progress: Progress
    peer: Peer | None = None
    quick: bool = False
    spare_peers: bool = False
    client_cores: Sequence[int] = ()

    @contextmanager
    def serve(self, rooms: int, settings: Mapping[str, str] | None = None) -> Generator[Running]:
        """A new server with nothing in it but so many rooms."""
        if self.peer is None:
            with run_tertulia(self.place, rooms, settings) as running:
                yield running
        else:
            with run_peer(self.peer, self.place) as running:
                yield running

    @contextmanager
    def crowd(self, server: Running, clients: Sequence[Client], dialect: Dialect | None = None) -> Generator[Crowd]:
        with crowd(server.address, dialect or server.dialect, clients, self.client_cores) as made:
            yield made

    def choose(self, usual: float, quick: float) -> float:
        """A number of the scenario, or the one that --quick has instead."""
        return quick if self.quick else usual

    def count(self, usual: int, quick: int) -> int:
        return quick if self.quick else usual


def interval(server: Running, clients: Crowd, seconds: float) -> Interval:
    """Go on for a while, and count what the server and the crowd do."""
    before = server.usage()
    tally = clients.run(seconds)
    after = server.usage()
    return Interval(tally, after.since(before), after)


def result(
    scenario: str,
    server: Running,
    point: str,
    measured: Interval,
    completeness: Completeness,
    *,
    unit: str,
    count: int,
    complaints: Sequence[str] = (),
    axis: str = "",
    x: float = 0.0,
    facts: Figures | None = None,
    latencies: Histogram | None = None,
) -> Result:
    """The result of an interval in which `count` units of work were done.

    Args:
        latencies: what to tell instead of the latencies of deliveries.
    """
    seconds = measured.tally.seconds or 1e-9
    if not count:
        complaints = [*complaints, f"nothing was done within {seconds:.1f} s"]
    facts = dict(facts or {})
    if not server.ordered:  # it does not promise what is counted here
        facts["in another order"] = completeness.reordered
        completeness = replace(completeness, reordered=0)
    return Result(
        scenario,
        server.name,
        server.version,
        point,
        unit,
        throughput=count / seconds,
        seconds=seconds,
        latency=latency_of(measured.tally.latencies if latencies is None else latencies),
        cpu_us={name: 1e6 * used / count for name, used in measured.cpu.items()} if count else {},
        cpu_share=sum(measured.cpu.values()) / seconds,
        resident_mib={name: size / MIB for name, size in measured.usage.resident.items()},
        client_share=max(measured.tally.shares, default=0.0),
        completeness=completeness,
        durable=server.durable,
        axis=axis,
        x=x,
        facts=facts,
        complaints=tuple(complaints),
    )


def in_run(results: Sequence[Result], run: int) -> list[Result]:
    """The results, with the number of the run that they are of."""
    return [replace(each, run=run) for each in results]
