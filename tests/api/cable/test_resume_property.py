"""Whatever happens to a connection, and whenever: who keeps positions has every event it may see, once and in order."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import System
from tertulia.actors.limits import ChatLimits
from tertulia.api.engine import Engine
from tertulia.api.testing import ANYCABLE, Cable, CableClient, identifier_of

from .stage import open_stage

SYSTEM = System(1)
CHANNELS = {
    "ana": identifier_of("AccountChannel"),
    "bo": identifier_of("ConversationChannel", id=1),
    "visitor 1": identifier_of("ConversationChannel", id=1),
}

steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from([1, 3]), st.booleans()),
        st.tuples(st.just("repeat"), st.sampled_from([1, 3]), st.just(False)),
        st.tuples(st.sampled_from(["drop", "resume", "pause"]), st.just(0), st.just(False)),
    ),
    max_size=30,
)


class Follower:
    """A client as `@anycable/core` is: it keeps the latest position of every stream, and subscribes with them."""

    def __init__(self, cable: Cable, token: str, epoch: str) -> None:
        self._cable = cable
        self._token = token
        self._epoch = epoch
        self._client: CableClient | None = None
        self._looked_at = 0
        self.positions: dict[str, int] = {}
        self.seen: dict[str, list[int]] = {}

    def resume(self) -> None:
        if self._client is None:
            self._client = self._cable.dial(self._token, ANYCABLE)
            self._looked_at = 0
            streams = {stream: {"epoch": self._epoch, "offset": offset} for stream, offset in self.positions.items()}
            self._client.send("subscribe", CHANNELS[self._token], history={"since": 1, "streams": streams})

    def drop(self) -> None:
        if self._client is not None:
            self._client.drop()
            self.look()
            self._client = None

    def look(self) -> None:
        """Take in what arrived before the connection was lost."""
        assert self._client is not None
        for message in self._client.messages[self._looked_at :]:
            assert message.get("type") != "reject_history"
            if "offset" in message:
                self.positions[message["stream_id"]] = message["offset"]
                self.seen.setdefault(message["stream_id"], []).append(message["offset"])
        self._looked_at = len(self._client.messages)


class Sender:
    """Sends without waiting, and remembers what is private."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sent: dict[int, list[bool]] = {1: [], 3: []}  # by conversation, whether each message is private

    def say(self, conversation: int, private: bool) -> None:
        self.sent[conversation].append(private)
        self._tell(conversation, str(len(self.sent[conversation])), private)

    def repeat(self, conversation: int) -> None:
        if self.sent[conversation]:
            self._tell(conversation, "1", self.sent[conversation][0])

    def _tell(self, conversation: int, client_id: str, private: bool) -> None:
        command = SendMessage(SYSTEM, "Hello", client_id, private)
        self._engine.conversation(1, conversation).tell(command)

    def expected(self, token: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for conversation, privates in self.sent.items():
            seqs = [seq for seq, private in enumerate(privates, 1) if not (private and token == "visitor 1")]
            if seqs and (conversation == 1 or token == "ana"):
                found[f"conversation:{conversation}"] = seqs
        return found


async def quiet() -> None:
    """Nothing happens any more, and no conversation's pace holds anything back."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    for _ in range(3):
        await wait_all_tasks_blocked()
        clock.jump(ChatLimits().pace)
    await wait_all_tasks_blocked()


async def play(script: list[tuple[str, int, bool]]) -> None:
    async with open_stage() as (engine, cable):
        sender = Sender(engine)
        followers = {token: Follower(cable, token, engine.epoch) for token in CHANNELS}
        for step, conversation, private in script:
            await perform(step, conversation, private, sender, followers)
        for follower in followers.values():
            follower.resume()
        await quiet()
        for token, follower in followers.items():
            follower.look()
            assert follower.seen == sender.expected(token)


async def perform(step: str, conversation: int, private: bool, sender: Sender, followers: dict[str, Follower]) -> None:
    match step:
        case "say":
            sender.say(conversation, private)
        case "repeat":
            sender.repeat(conversation)
        case "drop":
            for follower in followers.values():
                follower.drop()
        case "resume":
            for follower in followers.values():
                follower.resume()
        case _:
            await wait_all_tasks_blocked()
    await trio.lowlevel.checkpoint()


@given(script=steps)
@settings(max_examples=60, deadline=None)
def test_every_event_arrives_once_and_in_order(script: list[Any]) -> None:
    trio.run(play, script, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("pause", [0, 1, 2, 3, 5, 8])
def test_a_subscription_that_is_cut_while_it_resumes_is_taken_up_again(pause: int) -> None:
    script: list[tuple[str, int, bool]] = [("resume", 0, False), ("pause", 0, False)]
    for _ in range(4):
        script += [("say", 1, False), ("drop", 0, False), ("say", 1, True), ("resume", 0, False)]
        script += [("say", 3, False)] * pause
    trio.run(play, script, clock=MockClock(autojump_threshold=0))
