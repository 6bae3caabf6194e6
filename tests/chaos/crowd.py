"""The people of a run: senders and subscribers, spread over conversations and nodes. In: a demo account."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeAlias

import trio

from .nodes import Node
from .participant import Dashboard, Participant, Person, person_of
from .sender import Sender
from .tally import Tally
from .verdict import Log, Verdict, judge, visible

ReadLogs: TypeAlias = Callable[[Sequence[int]], Awaitable[Mapping[int, Log]]]

#: How many participants connect in a second, for the first time.
ARRIVALS = 300.0
SHOWN = 5  # of the slowest acknowledgements, and of the commands without an answer


class Crowd:
    """All participants of one run."""

    def __init__(
        self,
        demo: Mapping[str, Any],
        nodes: Sequence[Node],
        tally: Tally,
        *,
        senders: int,
        subscribers: int,
        dashboards: int = 0,
        rate: float,
        only_accepting: bool = False,
    ) -> None:
        """`rate`: messages a second, of all senders together. `only_accepting`: a proxy in front of the nodes sends
        nobody to one that does not accept."""
        self.tally = tally
        contacts, users = demo["contacts"], demo["users"]
        writers = [user for user in users if user["role"] != "viewer"]
        chance = Random("nodes")

        def choose() -> Node:
            accepting = [node for node in nodes if node.accepting] if only_accepting else []
            return chance.choice(accepting or nodes)

        def who(n: int, members: Sequence[Mapping[str, Any]]) -> tuple[int, Person]:
            """The conversation of number n, and somebody in it: its visitor first, then members."""
            contact, turn = contacts[n % len(contacts)], n // len(contacts)
            if turn == 0:
                return contact["conversation_id"], Person(contact["token"], "visitor")
            member = members[(turn - 1) % len(members)]
            return contact["conversation_id"], person_of(member)

        self.senders = [
            Sender(
                f"sender-{n}",
                *who(n, writers),
                choose,
                tally,
                interval=senders / rate,
            )
            for n in range(senders)
        ]
        self.subscribers = [Participant(f"subscriber-{n}", *who(n, users), choose, tally) for n in range(subscribers)]
        self.conversation_ids = [contact["conversation_id"] for contact in contacts]
        self.dashboards = [
            Dashboard(f"dashboard-{n}", self.conversation_ids, person_of(users[n % len(users)]), choose, tally)
            for n in range(dashboards)
        ]

    @property
    def participants(self) -> list[Participant]:
        return [*(sender.participant for sender in self.senders), *self.subscribers, *self.dashboards]

    @asynccontextmanager
    async def chatting(self) -> AsyncGenerator[None]:
        """Everybody is connected at the beginning of the block, and talks and listens until its end."""
        async with trio.open_nursery() as nursery:
            for participant in self.participants:
                nursery.start_soon(participant.run)
                await trio.sleep(1 / ARRIVALS)
            for participant in self.participants:
                await participant.online.wait()
            for sender in self.senders:
                nursery.start_soon(sender.run)
            yield
            nursery.cancel_scope.cancel()

    async def settle(self, read_logs: ReadLogs, timeout: float) -> Verdict:
        """End the talk, wait until everybody has everything (for `timeout` seconds at most), and judge."""
        for sender in self.senders:
            sender.stop()
        with trio.move_on_after(timeout) as patience:
            for sender in self.senders:
                await sender.finished.wait()
        unanswered = sum(not sender.finished.is_set() for sender in self.senders)
        logs = await read_logs(self.conversation_ids)
        with trio.move_on_after(timeout):
            for participant in self.participants:
                for id in participant.conversation_ids:
                    await participant.reach(id, visible(logs[id], participant)[-1][0])
        await trio.sleep(0.5)  # what is told twice is told now
        verdict = judge(logs, self.senders, self.participants)
        if patience.cancelled_caught:
            verdict.complaints.append(f"{unanswered} senders got no answer within {timeout:g} s")
        verdict.complaints += map(str, self.tally.anomalies)
        verdict.complaints += self.tally.refusals
        return verdict

    def notes(self) -> list[str]:
        """What may be worth a look."""
        unanswered = [f"no answer: {command}" for command in self.tally.unanswered[:SHOWN]]
        return [*unanswered, *map(str, self.tally.slowest(SHOWN))]

    def summary(self) -> dict[str, Any]:
        """Counts of what happened on the way."""
        tally, waits = self.tally, sorted(wait.seconds for wait in self.tally.waits)
        anomalies = [anomaly.kind for anomaly in tally.anomalies]
        return {
            "sent": tally.sent,
            "attempts": tally.attempts,
            "deliveries": tally.deliveries,
            "connects": tally.connects,
            "resumes": tally.resumes,
            "resumes that had missed something": tally.resumes_with_news,
            "events recovered by resumes": tally.recovered,
            "told twice": anomalies.count("duplicate"),
            "told out of order": anomalies.count("reordered"),
            "holes in what was told": anomalies.count("gap"),
            "commands refused, by code": dict(tally.failures),
            "commands without an answer": len(tally.unanswered),
            "connections ended, by reason": tally.by_ending,
            "acknowledged after (ms)": {
                "median": _percentile(waits, 0.5),
                "p99": _percentile(waits, 0.99),
                "longest": _percentile(waits, 1.0),
            },
        }


def _percentile(values: Sequence[float], share: float) -> int | None:
    """Of sorted seconds, in milliseconds."""
    if not values:
        return None
    return round(1000 * values[max(0, math.ceil(share * len(values)) - 1)])
