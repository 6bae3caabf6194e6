"""Who is calling, in which account: `with_auth`, over HTTP."""

import pytest
import trio
from trio.testing import MockClock

from tertulia.api.auth import digest_of
from tertulia.storage.records import AccountUser, Token
from tertulia.storage.writes import Delete

from .town import NORTH, NOWHERE, SOUTH, START, USERS, Client, Town

CONVERSATIONS = "/conversations"


async def test_without_a_token_the_answer_is_401_and_says_how_to_sign_in(client: Client) -> None:
    refused = await client.get(CONVERSATIONS)
    assert refused.problem == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer nobody", "Bearer ", "Basic YWRtaW46YWRtaW4=", "admin", "Bearer ÿ"])
async def test_what_is_no_valid_token_opens_nothing(client: Client, header: str) -> None:
    refused = await client.get(CONVERSATIONS, headers={"Authorization": header, "X-Account-Id": "1"})
    assert refused.problem == (401, "unauthorized")


async def test_a_token_in_the_address_is_not_read_because_addresses_are_logged(client: Client) -> None:
    refused = await client.get(f"{CONVERSATIONS}?token=admin&account_id=1")
    assert refused.problem == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/conversations", {"X-Account-Id": "1"}),
        ("/conversations?account_id=1", {}),
        ("/accounts/1/conversations", {}),
        ("/accounts/1/conversations?account_id=1", {"X-Account-Id": "1"}),
    ],
    ids=["header", "query", "path", "all"],
)
async def test_the_account_is_named_in_header_query_or_path(client: Client, path: str, headers: dict[str, str]) -> None:
    found = await client.get(path, by="admin", account=None, headers=headers)
    assert len(found.data) == 3


async def test_a_user_that_names_no_account_is_asked_to(client: Client) -> None:
    refused = await client.get(CONVERSATIONS, by="admin", account=None)
    assert refused.problem == (400, "malformed")
    assert "X-Account-Id" in refused.json["detail"]


@pytest.mark.parametrize("account_id", ["x", "-1", "0", "1.5", "9" * 30, "%C2%B2"])
async def test_what_is_no_account_id_is_malformed(client: Client, account_id: str) -> None:
    refused = await client.get(f"{CONVERSATIONS}?account_id={account_id}", by="admin", account=None)
    assert refused.problem == (400, "malformed")


async def test_two_different_accounts_in_one_request_are_malformed(client: Client) -> None:
    refused = await client.get(f"/accounts/{SOUTH}/conversations", by="admin", account=NORTH)
    assert refused.problem == (400, "malformed")


async def test_another_s_account_and_one_that_does_not_exist_answer_the_same(client: Client) -> None:
    others = await client.get(CONVERSATIONS, by="admin", account=SOUTH)
    unknown = await client.get(CONVERSATIONS, by="admin", account=NOWHERE)
    assert others.problem == (403, "forbidden")
    assert (others.status, others.body) == (unknown.status, unknown.body)


async def test_a_visitor_s_token_works_in_its_own_account_only(client: Client) -> None:
    assert (await client.get(CONVERSATIONS, by="visitor")).status == 200
    assert (await client.get(f"/accounts/{NORTH}/conversations", by="visitor")).status == 200
    elsewhere = await client.get(f"/accounts/{SOUTH}/conversations", by="visitor")
    assert elsewhere.problem == (403, "forbidden")


async def test_a_contact_has_no_profile_and_no_accounts(client: Client) -> None:
    assert (await client.get("/profile", by="visitor")).problem == (403, "forbidden")
    assert (await client.get("/accounts", by="visitor")).problem == (403, "forbidden")


async def test_an_expired_token_opens_nothing_even_when_it_was_just_used(town: Town) -> None:
    token = Token(
        id=900,
        hash=digest_of("short"),
        kind="user",
        user_id=USERS["admin"],
        created_at=START,
        expires_at=START + 60_000,
    )
    await town.write(token)
    assert (await town.client.get("/profile", by="short")).status == 200
    town.clock.advance(60)
    assert (await town.client.get("/profile", by="short")).problem == (401, "unauthorized")


async def test_a_member_that_left_the_account_is_no_member(town: Town) -> None:
    await town.submit(Delete(AccountUser, {"account_id": NORTH, "user_id": USERS["viewer"]}))
    assert (await town.client.get(CONVERSATIONS, by="viewer")).problem == (403, "forbidden")


async def test_a_blocked_contact_is_shut_out(town: Town) -> None:
    assert (await town.client.get(CONVERSATIONS, by="visitor")).status == 200
    access = await town.engine.world.access.of(NORTH)
    access.blocked.add(1)
    assert (await town.client.get(CONVERSATIONS, by="visitor")).problem == (401, "unauthorized")


async def test_a_suspended_account_answers_like_one_that_is_not_there(town: Town) -> None:
    access = await town.engine.world.access.of(NORTH)
    access.active = False
    assert (await town.client.get(CONVERSATIONS, by="admin")).problem == (403, "forbidden")
    assert (await town.client.get(CONVERSATIONS, by="visitor")).problem == (401, "unauthorized")


# What is remembered of tokens


async def test_a_token_is_looked_up_once_for_many_requests(town: Town) -> None:
    await town.client.get("/profile", by="admin")
    await delete_behind_the_back(town, "admin")
    assert (await town.client.get("/profile", by="admin")).status == 200


async def test_what_another_process_revoked_ends_after_a_few_seconds(autojump_clock: MockClock, town: Town) -> None:
    await town.client.get("/profile", by="admin")
    await delete_behind_the_back(town, "admin")
    await trio.sleep(5)
    assert (await town.client.get("/profile", by="admin")).problem == (401, "unauthorized")


async def test_a_revocation_forgets_the_token_at_once_and_tells_the_listeners(town: Town) -> None:
    told: list[frozenset[int]] = []
    town.authenticator.listeners.append(told.append)
    await town.client.get("/profile", by="admin")
    await delete_behind_the_back(town, "admin")
    town.authenticator.revoked([USERS["admin"]])
    assert (await town.client.get("/profile", by="admin")).problem == (401, "unauthorized")
    assert told == [frozenset({USERS["admin"]})]


async def delete_behind_the_back(town: Town, name: str) -> None:
    await town.submit(Delete(Token, {"user_id": USERS[name], "hash": digest_of(name)}))
