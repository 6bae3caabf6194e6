"""The small parts that requests go through: validation, cursors, rate limits, addresses, passwords."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from werkzeug.datastructures import MultiDict

from tertulia.actors.attributes import MAX_DEPTH, why_not
from tertulia.actors.limits import ChatLimits
from tertulia.api.cursors import cursor_of, key_of
from tertulia.api.http_settings import HttpSettings
from tertulia.api.passwords import WAITING, Passwords
from tertulia.api.rate_limits import RateLimit, client_address, network_of
from tertulia.api.schemas import ConversationQuery, ConversationUpdate, NewMessage
from tertulia.api.validation import BodyReader, QueryReader
from tertulia.engine.errors import Invalid, Malformed, Overloaded, RateLimited

LIMITS = ChatLimits()
KEYS = st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=3)


@given(KEYS)
def test_a_cursor_gives_back_its_key(key: list[int]) -> None:
    assert key_of(cursor_of(*key), len(key)) == tuple(key)


@given(st.text())
def test_a_text_that_is_no_cursor_is_invalid_and_nothing_else(text: str) -> None:
    with suppress(Invalid):
        assert len(key_of(text, 2)) == 2


def test_a_cursor_of_another_list_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        key_of(cursor_of(1), 2)
    assert list(refused.value.fields) == ["cursor"]


@given(st.binary())
def test_any_bytes_are_a_body_or_refused(raw: bytes) -> None:
    reader = BodyReader(NewMessage)
    with suppress(Invalid, Malformed):
        reader.read(raw, LIMITS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["content", "private", "client_id", "x"]), JSON))
def test_whatever_is_invalid_is_named_by_at_least_one_path(values: dict[str, Any]) -> None:
    reader = BodyReader(NewMessage)
    refused: Invalid | None = None
    try:
        reader.read(msgspec.json.encode(values), LIMITS)
    except Invalid as invalid:
        refused = invalid
    if refused is not None:
        paths = {path.partition("[")[0].partition(".")[0] for path in refused.fields}
        assert paths
        assert paths <= {*values, "content"}


def test_null_and_absence_are_different() -> None:
    reader = BodyReader(ConversationUpdate)
    assert reader.read(b'{"assignee_id":null}', LIMITS) != reader.read(b"{}", LIMITS)


def test_a_query_takes_a_parameter_more_than_once_only_where_it_is_a_list() -> None:
    arguments: MultiDict[str, str] = MultiDict([("labels", "a"), ("labels", "b"), ("limit", "7"), ("account_id", "1")])
    query = QueryReader(ConversationQuery).read(arguments)
    assert (query.labels, query.limit) == (["a", "b"], 7)


def test_attributes_are_bounded_in_bytes_depth_and_integers() -> None:
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        deep = {"in": deep}
    assert why_not({"a": [1, "x", None, 1.5]}, 100) is None
    for attributes, word in (({"a": "x" * 100}, "bytes"), (deep, "deep"), ({"a": [2**64]}, "64 bits")):
        reason = why_not(attributes, 100)
        assert reason is not None
        assert word in reason


# Rate limits


async def test_a_limit_recovers_with_time_and_says_when(mock_clock: MockClock) -> None:
    limit = RateLimit(rate=0.5, burst=1, keys=10)
    limit.take("a")
    with pytest.raises(RateLimited) as refused:
        limit.take("a")
    assert refused.value.retry_after == 2
    limit.take("b")
    mock_clock.jump(2)
    limit.take("a")


async def test_a_limit_remembers_the_callers_that_were_seen_last(mock_clock: MockClock) -> None:
    limit = RateLimit(rate=0.5, burst=1, keys=2)
    for key in ("a", "b", "c"):
        limit.take(key)
    limit.take("a")  # forgotten, and so as good as new
    with pytest.raises(RateLimited):
        limit.take("c")


async def test_a_rate_of_zero_is_no_limit() -> None:
    limit = RateLimit(rate=0, burst=1, keys=1)
    for _ in range(100):
        limit.take("a")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("<local>", "<local>"),
        ("", ""),
    ],
)
def test_a_caller_is_an_address_or_the_network_of_one(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("header", "proxies", "expected"),
    [
        (None, 0, "peer"),
        ("1.1.1.1", 0, "peer"),
        (None, 1, "peer"),
        ("1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.1", 2, "1.1.1.1"),
        ("1.1.1.1", 2, "1.1.1.1"),
        (" , ", 1, "peer"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(header: str | None, proxies: int, expected: str) -> None:
    assert client_address("peer", header, proxies) == expected


# Settings and passwords


@pytest.mark.parametrize("wrong", [{"body": 0}, {"keep_alive": -1.0}, {"sign_in_rate": -0.1}, {"sign_in_burst": 0.0}])
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HttpSettings(**wrong)


async def test_passwords_are_checked_against_their_hash() -> None:
    passwords = Passwords(at_once=2)
    stored = await passwords.hash("correct horse")
    assert await passwords.matches(stored, "correct horse")
    assert not await passwords.matches(stored, "wrong horse")
    assert not await passwords.matches(None, "")
    assert not await passwords.matches("no hash at all", "correct horse")


async def test_too_many_who_wait_for_a_thread_are_refused() -> None:
    limiter = trio.CapacityLimiter(1)
    passwords = Passwords(1, limiter)
    async with trio.open_nursery() as nursery:
        await limiter.acquire_on_behalf_of("somebody")
        for _ in range(WAITING):
            nursery.start_soon(limiter.acquire)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await passwords.matches(None, "x")
        nursery.cancel_scope.cancel()
