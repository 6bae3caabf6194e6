"""A caller on another node is refused as a caller on this one would be."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.actors.wire import WireError, decode_error, encode_error
from tertulia.api.problems import problem_of
from tertulia.engine.errors import (
    Conflict,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    TertuliaError,
    Unavailable,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def tree(kind: type[TertuliaError]) -> Iterator[type[TertuliaError]]:
    if kind.__module__ in (TertuliaError.__module__, WireError.__module__):
        yield kind
        for below in kind.__subclasses__():
            yield from tree(below)


ALL = sorted(set(tree(TertuliaError)), key=lambda kind: kind.__name__)


def crossed(error: Exception) -> TertuliaError:
    return decode_error(encode_error(error))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_arrives_as_itself(kind: type[TertuliaError]) -> None:
    for error in (kind(), kind("In other words: ñ.")):
        arrived = crossed(error)
        assert type(arrived) is kind
        assert (arrived.code, arrived.temporary, arrived.detail) == (error.code, error.temporary, error.detail)
        assert vars(arrived) == vars(error)
        assert problem_of(arrived) == problem_of(error)


@given(detail=TEXT, retry_after=st.floats(0, 1e6), fields=st.dictionaries(TEXT, TEXT, max_size=4))
@settings(deadline=None)
def test_what_an_error_says_besides_its_sentence_arrives_too(
    detail: str, retry_after: float, fields: dict[str, str]
) -> None:
    for error in (
        RateLimited(detail, retry_after=retry_after),
        Overloaded(detail, retry_after=retry_after),
        Invalid(detail, fields=fields),
    ):
        arrived = crossed(error)
        assert (type(arrived), arrived.args, vars(arrived)) == (type(error), error.args, vars(error))


def test_a_crash_says_to_its_sender_what_a_crash_here_says_and_nothing_more() -> None:
    for crash in (
        ZeroDivisionError("secret"),
        KeyError("secret"),
        RuntimeError(),
        ExceptionGroup("secret", [OSError()]),
    ):
        payload = encode_error(crash)
        assert b"secret" not in payload
        arrived = decode_error(payload)
        assert type(arrived) is TertuliaError
        assert problem_of(arrived) == problem_of(crash)


class Closed(Conflict):
    """This shop is closed."""

    code = "closed"


def test_an_error_that_only_the_other_node_knows_arrives_as_the_next_one_above_it() -> None:
    arrived = crossed(Closed())
    assert (type(arrived), arrived.detail) == (Conflict, "This shop is closed.")


def test_text_that_is_not_unicode_is_left_out_and_the_refusal_stays() -> None:
    for error in (NotFound("\ud800"), Invalid(fields={"\ud800": "no"})):
        arrived = crossed(error)
        assert (type(arrived), arrived.detail) == (type(error), type(error)().detail)


def test_the_bytes_of_an_error_are_the_same_in_every_version() -> None:
    assert encode_error(RateLimited("Slow.", retry_after=1.5)) == (
        b"\x83\xa7classes\x93\xabRateLimited\xa7Refusal\xadTertuliaError\xa6detail\xa5Slow."
        b"\xabretry_after\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"
    )


def test_a_newer_node_may_say_more() -> None:
    newer: dict[str, object] = {
        "classes": ["StoreAsleep", "OutcomeUnknown", "Unavailable"],
        "detail": "Zzz.",
        "fields": {},
        "new": 1,
    }
    arrived = decode_error(msgspec.msgpack.encode(newer))
    assert (type(arrived), arrived.detail) == (OutcomeUnknown, "Zzz.")


@pytest.mark.parametrize("packet", [{}, {"classes": "NotFound", "detail": ""}, [], {"classes": [], "detail": 1}])
def test_a_malformed_error_is_refused(packet: object) -> None:
    with pytest.raises(WireError):
        decode_error(msgspec.msgpack.encode(packet))


@pytest.mark.parametrize("name", ["object", "ValueError", "TypeVar", "Any", ""])
def test_a_name_that_is_no_error_of_ours_makes_nothing(name: str) -> None:
    arrived = decode_error(msgspec.msgpack.encode({"classes": [name], "detail": "x"}))
    assert type(arrived) is TertuliaError


def test_a_message_that_this_node_cannot_read_is_worth_another_try() -> None:
    assert issubclass(WireError, Unavailable)
    assert WireError.temporary
