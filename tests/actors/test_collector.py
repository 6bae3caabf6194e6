"""What exists once for each message under way is nothing for the garbage collector: a tenth of a busy node's time."""

from __future__ import annotations

import gc

import pytest

from tertulia.actors.commands.send_message import SendMessage, Sent
from tertulia.actors.entities import Member
from tertulia.actors.events import message_event
from tertulia.api.cable.channel import ChannelCall
from tertulia.engine.mailbox import NEVER, Envelope
from tertulia.storage.records import MessageRow

ROW = MessageRow(1, 1, 1, 1, "outgoing", "text", "hello", None, False, "user", 1, "Ana", "c1", 1_700_000_000_000)
SEND = SendMessage(Member(1, 1, "Ana"), "hello", "c1")
EVENT = message_event(ROW)
CALL = ChannelCall(object(), object(), "c1")  # type: ignore[arg-type]


EACH = [ROW, SEND, Envelope(SEND, NEVER, CALL), CALL, Sent(ROW), EVENT, EVENT.data]


@pytest.mark.parametrize("one", EACH, ids=lambda one: type(one).__name__)
def test_the_collector_does_not_look_at(one: object) -> None:
    assert not gc.is_tracked(one)


def test_an_envelope_does_not_show_what_people_wrote() -> None:
    assert "hello" not in repr(Envelope(SEND, NEVER))
