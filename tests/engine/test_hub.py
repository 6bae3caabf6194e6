"""Fan-out: every subscriber of a topic gets every publication once, in order, encoded once for all who see the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tertulia.engine.group import PlainSink
from tertulia.engine.hub import Hub, HubStatistics


@dataclass(frozen=True)
class Publication:
    text: str
    private: bool = False


@dataclass(eq=False)
class Mail(PlainSink):
    """A sink that keeps what it gets."""

    frames: list[bytes] = field(default_factory=list[bytes])
    ephemeral: list[bytes] = field(default_factory=list[bytes])

    def send(self, frames: bytes) -> None:
        self.frames.append(frames)

    def send_ephemeral(self, frames: bytes) -> None:
        self.ephemeral.append(frames)

    @property
    def text(self) -> bytes:
        return b"".join(self.frames)


@dataclass(frozen=True)
class Shown:
    """How an audience sees publications; counts how often it was asked."""

    audience: str
    asked: list[Publication] = field(default_factory=list[Publication], compare=False)

    def frame(self, publication: Publication) -> bytes | None:
        self.asked.append(publication)
        if publication.private and self.audience == "visitor":
            return None
        return f"{self.audience}:{publication.text};".encode()


MEMBER, VISITOR = "member", "visitor"
HELLO, SECRET, BYE = Publication("hello"), Publication("secret", private=True), Publication("bye")


def test_each_group_encodes_once_and_all_of_it_get_the_same_bytes() -> None:
    hub: Hub[Publication] = Hub()
    members, visitors = [Mail() for _ in range(3)], [Mail() for _ in range(2)]
    formats = [Shown(MEMBER) for _ in members]  # equal, but not the same object
    for mail, format in zip(members, formats, strict=True):
        hub.join("t", format, mail)
    for mail in visitors:
        hub.join("t", Shown(VISITOR), mail)
    hub.publish("t", [HELLO])
    assert [mail.frames for mail in members] == [[b"member:hello;"]] * 3
    assert [mail.frames for mail in visitors] == [[b"visitor:hello;"]] * 2
    assert len({id(mail.frames[0]) for mail in members}) == 1
    assert sum(len(format.asked) for format in formats) == 1


def test_an_audience_is_not_sent_what_its_format_does_not_show() -> None:
    hub: Hub[Publication] = Hub()
    member, visitor = Mail(), Mail()
    hub.join("t", Shown(MEMBER), member)
    hub.join("t", Shown(VISITOR), visitor)
    hub.publish("t", [SECRET])
    hub.publish("t", [SECRET, SECRET])
    hub.publish("t", [HELLO, SECRET, BYE])
    assert member.frames[0] == b"member:secret;"
    assert member.frames[2] == b"member:hello;member:secret;member:bye;"
    assert visitor.frames == [b"visitor:hello;visitor:bye;"]


def test_ephemeral_publications_go_the_way_that_may_drop_them() -> None:
    hub: Hub[Publication] = Hub()
    mail = Mail()
    hub.join("t", Shown(MEMBER), mail)
    hub.publish("t", [HELLO], ephemeral=True)
    assert (mail.frames, mail.ephemeral) == ([], [b"member:hello;"])


def test_joining_twice_or_leaving_twice_is_harmless_and_leaving_unjoined_too() -> None:
    hub: Hub[Publication] = Hub()
    mail = Mail()
    hub.leave("t", Shown(MEMBER), mail)
    hub.join("t", Shown(MEMBER), mail)
    hub.join("t", Shown(MEMBER), mail)
    hub.publish("t", [HELLO])
    hub.leave("t", Shown(VISITOR), mail)
    hub.publish("t", [BYE])
    hub.leave("t", Shown(MEMBER), mail)
    hub.leave("t", Shown(MEMBER), mail)
    hub.publish("t", [HELLO])
    assert mail.frames == [b"member:hello;", b"member:bye;"]


def test_nothing_is_kept_of_a_topic_that_everybody_has_left() -> None:
    hub: Hub[Publication] = Hub()
    mail, held = Mail(), list[Publication]()
    hub.join("t", Shown(MEMBER), mail)
    hub.tap("t", held.extend)
    hub.leave("t", Shown(MEMBER), mail)
    hub.untap("t", held.extend)
    hub.untap("t", held.extend)
    assert hub.statistics() == HubStatistics(0, 0, 0, 0)


def test_a_tap_gets_publications_as_they_are_until_it_is_removed_even_by_itself() -> None:
    hub: Hub[Publication] = Hub()
    held: list[Publication] = []
    once: list[Publication] = []

    def listen_once(publications: Sequence[Publication]) -> None:
        once.extend(publications)
        hub.untap("t", listen_once)

    hub.tap("t", listen_once)
    hub.tap("t", held.extend)
    hub.publish("t", [HELLO, SECRET])
    hub.publish("t", [BYE])
    assert (held, once) == ([HELLO, SECRET, BYE], [HELLO, SECRET])


def test_a_publication_to_a_topic_without_subscribers_costs_nothing() -> None:
    hub: Hub[Publication] = Hub()
    hub.publish("t", [HELLO])
    assert hub.statistics() == HubStatistics(0, 0, 0, 0)


class HubMachine(RuleBasedStateMachine):
    """The model: a set of memberships, and for each sink what it must have received."""

    topics = st.sampled_from(["one", "two"])
    audiences = st.sampled_from([MEMBER, VISITOR])
    people = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.hub: Hub[Publication] = Hub()
        self.mails = [Mail() for _ in range(4)]
        self.expected = [b""] * 4
        self.members: set[tuple[str, str, int]] = set()
        self.number = 0

    @rule(topic=topics, audience=audiences, person=people)
    def join(self, topic: str, audience: str, person: int) -> None:
        self.hub.join(topic, Shown(audience), self.mails[person])
        self.members.add((topic, audience, person))

    @rule(topic=topics, audience=audiences, person=people)
    def leave(self, topic: str, audience: str, person: int) -> None:
        self.hub.leave(topic, Shown(audience), self.mails[person])
        self.members.discard((topic, audience, person))

    @rule(topic=topics, privacies=st.lists(st.booleans(), max_size=3))
    def publish(self, topic: str, privacies: list[bool]) -> None:
        batch: list[Publication] = []
        for private in privacies:
            self.number += 1
            batch.append(Publication(str(self.number), private))
        self.hub.publish(topic, batch)
        for audience in self.order_of_groups(topic):
            shown = b"".join(frame for one in batch if (frame := Shown(audience).frame(one)) is not None)
            for _, _, person in {entry for entry in self.members if entry[:2] == (topic, audience)}:
                self.expected[person] += shown

    def order_of_groups(self, topic: str) -> list[str]:
        return [
            audience for audience in (MEMBER, VISITOR) if any(entry[:2] == (topic, audience) for entry in self.members)
        ]

    @invariant()
    def everybody_has_what_was_published_to_them(self) -> None:
        for mail, expected in zip(self.mails, self.expected, strict=True):
            for audience in (MEMBER, VISITOR):
                assert of_audience(mail.text, audience) == of_audience(expected, audience)

    @invariant()
    def subscriptions_are_counted(self) -> None:
        statistics = self.hub.statistics()
        assert statistics.subscriptions == len(self.members)
        assert statistics.topics == len({topic for topic, _, _ in self.members})


def of_audience(text: bytes, audience: str) -> list[bytes]:
    """What came by one group; there is no order between two groups."""
    return [one for one in text.split(b";") if one.startswith(audience.encode())]


HubMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestHubMachine = HubMachine.TestCase
