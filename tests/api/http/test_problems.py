"""Every error code, as a caller sees it."""

import pytest
import trio
from quart_trio import QuartTrio

from tertulia.api.http_settings import HttpSettings
from tertulia.api.problems import STATUSES, problem_of
from tertulia.engine import errors
from tertulia.engine.errors import (
    ActorFailed,
    Conflict,
    DeadlineExceeded,
    Deadlock,
    Denied,
    Draining,
    Escalated,
    Invalid,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    StaleWrite,
    TertuliaError,
    TooLarge,
    TurnTooLong,
    Unauthenticated,
    Unavailable,
)

from .town import MINE, Client, Town, open_town

MESSAGES = f"/conversations/{MINE}/messages"

EVERY_ERROR: dict[type[TertuliaError], tuple[int, str]] = {
    Malformed: (400, "malformed"),
    Unauthenticated: (401, "unauthorized"),
    Denied: (403, "forbidden"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    TooLarge: (413, "too_large"),
    Invalid: (422, "invalid"),
    RateLimited: (429, "rate_limited"),
    Overloaded: (503, "overloaded"),
    Draining: (503, "server_restart"),
    Unavailable: (503, "unavailable"),
    OutcomeUnknown: (503, "unavailable"),
    ActorFailed: (503, "unavailable"),
    DeadlineExceeded: (503, "unavailable"),
    StaleWrite: (503, "stale"),
    TurnTooLong: (500, "internal"),
    Deadlock: (500, "internal"),
    Escalated: (500, "internal"),
}


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_an_error_of_the_engine_has_one_status_and_one_code(kind: type[TertuliaError]) -> None:
    problem, headers = problem_of(kind())
    assert (problem.status, problem.code) == EVERY_ERROR[kind]
    assert ("Retry-After" in headers) == (problem.status in (429, 503))
    assert ("WWW-Authenticate" in headers) == (problem.status == 401)


def test_no_error_of_the_engine_is_forgotten_here() -> None:
    known = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TertuliaError)} - {
        TertuliaError,
        errors.Refusal,
    }
    assert known == set(EVERY_ERROR)
    assert set(STATUSES) <= known


def test_retry_after_is_in_whole_seconds_and_never_zero() -> None:
    assert problem_of(RateLimited(retry_after=0.05))[1] == {"Retry-After": "1"}
    assert problem_of(Overloaded(retry_after=2.1))[1] == {"Retry-After": "3"}


def test_an_error_inside_the_server_keeps_its_details_to_itself() -> None:
    problem, _ = problem_of(Deadlock("account 1 -> account 2"))
    assert "account" not in problem.detail


async def test_a_body_that_is_not_json_is_malformed(client: Client) -> None:
    for raw in (b"{", b'{"content": "\xff"}', b"[" * 100_000, b'{"content": "x"} trailing', b'{"content": 1'):
        assert (await client.post(MESSAGES, raw=raw, by="agent")).problem == (400, "malformed"), raw[:20]


async def test_json_that_is_no_object_is_invalid_as_a_whole(client: Client) -> None:
    refused = await client.post(MESSAGES, [1], by="agent")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == [""]


async def test_another_content_type_is_unsupported(client: Client) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        refused = await client.post(MESSAGES, raw=b"content=x", by="agent", headers={"Content-Type": content_type})
        assert refused.problem == (415, "unsupported_media_type"), content_type


async def test_json_with_a_charset_is_still_json(client: Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await client.post(MESSAGES, raw=b'{"content":"x"}', by="agent", headers=headers)).status == 201


async def test_every_fault_is_named_with_its_path(client: Client) -> None:
    body = {"contnet": "typo", "private": "yes", "content_type": "smoke", "client_id": ""}
    refused = await client.post(MESSAGES, body, by="agent")
    assert refused.problem == (422, "invalid")
    assert refused.faults == {
        "client_id": "Expected `str` of length >= 1.",
        "content": "Is required.",
        "content_type": "Invalid enum value 'smoke'.",
        "contnet": "There is no such field.",
        "private": "Expected `bool`, got `str`.",
    }


async def test_a_fault_inside_a_list_names_its_place(client: Client) -> None:
    refused = await client.patch(f"/conversations/{MINE}", {"labels": ["vip", 7]}, by="agent")
    assert refused.faults == {"labels[1]": "Expected `str`, got `int`."}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"content": "x" * 60_001}, "content"),
        ({"content": "x", "client_id": "x" * 129}, "client_id"),
        ({"content": "x", "content_attributes": {"a": "x" * 40_000}}, "content_attributes"),
        ({"content": "x", "content_attributes": {"a": 2**64}}, "content_attributes"),
    ],
    ids=["content", "client_id", "attributes", "integer"],
)
async def test_what_is_larger_than_the_limits_is_invalid(client: Client, body: object, path: str) -> None:
    refused = await client.post(MESSAGES, body, by="agent")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == [path]


async def test_attributes_that_nest_too_deeply_are_refused_however_deep(client: Client) -> None:
    for depth, expected in ((17, (422, "invalid")), (900, (422, "invalid")), (50_000, (400, "malformed"))):
        raw = b'{"content":"x","content_attributes":{"a":' + b"[" * depth + b"]" * depth + b"}}"
        assert (await client.post(MESSAGES, raw=raw, by="agent")).problem == expected, depth


async def test_a_body_over_the_limit_is_too_large_before_it_is_read() -> None:
    async with open_town(HttpSettings(body=1000)) as town:
        fits = await town.client.post(MESSAGES, {"content": "x" * 900}, by="agent")
        refused = await town.client.post(MESSAGES, {"content": "x" * 1000}, by="agent")
    assert fits.status == 201
    assert refused.problem == (413, "too_large")


async def test_an_unknown_query_parameter_is_invalid(client: Client) -> None:
    refused = await client.get("/conversations?statsu=open&limit=many", by="agent")
    assert refused.problem == (422, "invalid")
    assert refused.faults == {"limit": "Expected `int`, got `str`.", "statsu": "There is no such field."}


async def test_an_unknown_address_is_not_found(client: Client) -> None:
    assert (await client.get("/nowhere", by="agent")).problem == (404, "not_found")
    assert (await client.get("/conversations/abc", by="agent")).problem == (404, "not_found")


async def test_an_id_beyond_64_bits_is_like_any_unknown_id(client: Client) -> None:
    huge = await client.get(f"/conversations/{2**63}", by="agent")
    unknown = await client.get(f"/conversations/{2**63 - 1}", by="agent")
    assert huge.problem == (404, "not_found")
    assert huge.body == unknown.body


async def test_a_method_that_an_address_does_not_know_names_those_that_it_does(client: Client) -> None:
    refused = await client.put("/conversations", {}, by="agent")
    assert refused.problem == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(refused.headers["Allow"].split(", "))


async def test_a_mailbox_that_is_full_answers_503_with_a_time(town: Town) -> None:
    town.engine.directory.queued = 10**9
    refused = await town.client.post(MESSAGES, {"content": "x"}, by="agent")
    assert refused.problem == (503, "overloaded")
    assert refused.headers["Retry-After"] == "1"


async def test_a_server_that_drains_answers_503(town: Town) -> None:
    town.engine.directory.draining = True
    refused = await town.client.post(MESSAGES, {"content": "x"}, by="agent")
    town.engine.directory.draining = False
    assert refused.problem == (503, "server_restart")


async def test_a_bug_in_a_handler_is_a_500_that_says_nothing(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    add_a_bug(town.app)
    refused = await town.client.get("/api/v1/bug", by="southerner")
    assert "the secret is out" in caplog.text
    assert "southerner" not in caplog.text
    assert refused.problem == (500, "internal")
    assert b"secret" not in refused.body
    assert (await town.client.get("/healthz")).status == 200


def add_a_bug(app: QuartTrio) -> None:
    async def bug() -> str:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("the secret is out")

    app.add_url_rule("/api/v1/bug", "bug", bug)


async def test_errors_carry_the_security_headers_too(client: Client) -> None:
    for reply in (await client.get("/nowhere"), await client.get("/conversations", by="agent")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
