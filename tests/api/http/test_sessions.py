"""Signing in and out. Passwords are hashed in threads, so these tests run on the real clock."""

from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import argon2
import pytest
from werkzeug.datastructures import Headers

from tertulia.api.http_settings import HttpSettings
from tertulia.api.passwords import DECOY
from tertulia.storage.records import Token, User
from tertulia.storage.writes import Update

from .town import START, USERS, Town, open_town

PASSWORD = "correct horse"


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with open_town() as opened:
        await give_password(opened)
        yield opened


@cache
def stored_hash() -> str:
    """Made once, because a good hash is slow."""
    return argon2.PasswordHasher().hash(PASSWORD)


async def give_password(town: Town) -> None:
    stored = stored_hash()
    await town.submit(Update(User, {"id": USERS["admin"]}, {"password_hash": stored}))


def credentials(email: str = "admin@example.org", password: str = PASSWORD) -> dict[str, str]:
    return {"email": email, "password": password}


async def test_e_mail_and_password_give_a_token_that_works(town: Town) -> None:
    answer = await town.client.post("/auth/sign_in", credentials())
    assert answer.status == 201
    assert answer.data["user"] == {
        "id": 1,
        "email": "admin@example.org",
        "name": "admin",
        "accounts": [{"id": 1, "name": "North", "status": "active", "role": "administrator"}],
    }
    profile = await town.client.get("/profile", by=answer.data["token"])
    assert profile.data == answer.data["user"]


async def test_the_e_mail_is_the_same_in_any_case(town: Town) -> None:
    assert (await town.client.post("/auth/sign_in", credentials("Admin@Example.ORG"))).status == 201


async def test_the_store_keeps_no_token_only_its_digest(town: Town) -> None:
    secret = (await town.client.post("/auth/sign_in", credentials())).data["token"]
    stored = await town.engine.world.reads.tokens_of(user_id=USERS["admin"])
    assert len(stored) == 2
    assert all(secret not in token.hash for token in stored)


async def test_a_token_ends_after_its_lifetime(town: Town) -> None:
    secret = (await town.client.post("/auth/sign_in", credentials())).data["token"]
    town.clock.advance(HttpSettings().user_token_lifetime - 1)
    assert (await town.client.get("/profile", by=secret)).status == 200
    town.clock.advance(1)
    assert (await town.client.get("/profile", by=secret)).problem == (401, "unauthorized")


async def test_signing_in_removes_the_user_s_expired_tokens(town: Town) -> None:
    old = Token(id=901, hash="old", kind="user", user_id=USERS["admin"], created_at=START, expires_at=START)
    await town.write(old)
    await town.client.post("/auth/sign_in", credentials())
    left = {token.id for token in await town.engine.world.reads.tokens_of(user_id=USERS["admin"])}
    assert 901 not in left


@pytest.mark.parametrize(
    "wrong",
    [
        credentials(password="wrong"),
        credentials(email="nobody@example.org"),
        credentials(email="viewer@example.org"),  # has no password at all
    ],
    ids=["wrong password", "unknown e-mail", "no password"],
)
async def test_every_failure_to_sign_in_looks_the_same(town: Town, wrong: dict[str, str]) -> None:
    refused = await town.client.post("/auth/sign_in", wrong)
    assert refused.problem == (401, "unauthorized")
    assert refused.json["detail"] == "E-mail or password is wrong."


def test_the_hash_that_stands_for_unknown_users_costs_as_much_as_a_real_one() -> None:
    real = "$argon2id$v=19$m=65536,t=3,p=4$"
    assert DECOY.startswith(real)


async def test_a_guesser_is_stopped_per_address_and_told_when_to_go_on() -> None:
    async with open_town(HttpSettings(sign_in_burst=2)) as town:
        for name in ("a", "b"):
            assert (await town.client.post("/auth/sign_in", credentials(f"{name}@x.org"))).status == 401
        refused = await town.client.post("/auth/sign_in", credentials("c@x.org"))
    assert refused.problem == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10


async def test_a_guesser_with_many_addresses_is_stopped_per_e_mail() -> None:
    async with open_town(HttpSettings(sign_in_burst=2, trusted_proxies=1)) as town:
        statuses = [
            (await town.client.post("/auth/sign_in", credentials(), headers={"X-Forwarded-For": f"10.0.0.{n}"})).status
            for n in range(3)
        ]
    assert statuses == [401, 401, 429]


async def test_without_trusted_proxies_a_forwarded_address_is_not_believed() -> None:
    async with open_town(HttpSettings(sign_in_burst=1)) as town:
        statuses = [
            (
                await town.client.post(
                    "/auth/sign_in", credentials(f"{n}@x.org"), headers={"X-Forwarded-For": f"10.0.0.{n}"}
                )
            ).status
            for n in range(2)
        ]
    assert statuses == [401, 429]


async def test_what_a_proxy_adds_as_a_header_of_its_own_counts_too() -> None:
    """HAProxy leaves the caller's X-Forwarded-For as it is and adds another line."""
    statuses: list[int] = []
    async with open_town(HttpSettings(sign_in_burst=1, trusted_proxies=1)) as town:
        for n in range(2):
            headers = Headers([("X-Forwarded-For", f"10.0.0.{n}"), ("X-Forwarded-For", "192.0.2.7")])
            client: Any = town.app.test_client()
            answer = await client.post("/api/v1/auth/sign_in", json=credentials(f"{n}@x.org"), headers=headers)
            statuses.append(answer.status_code)
    assert statuses == [401, 429]


async def test_signing_out_ends_this_session_and_no_other(town: Town) -> None:
    told: list[frozenset[int]] = []
    town.authenticator.listeners.append(told.append)
    one = (await town.client.post("/auth/sign_in", credentials())).data["token"]
    other = (await town.client.post("/auth/sign_in", credentials())).data["token"]
    assert (await town.client.post("/auth/sign_out", by=one)).status == 204
    assert (await town.client.get("/profile", by=one)).problem == (401, "unauthorized")
    assert (await town.client.get("/profile", by=other)).status == 200
    assert [len(ids) for ids in told] == [1]


async def test_signing_out_everywhere_ends_all_sessions_of_the_user(town: Town) -> None:
    told: list[frozenset[int]] = []
    town.authenticator.listeners.append(told.append)
    one = (await town.client.post("/auth/sign_in", credentials())).data["token"]
    assert (await town.client.post("/auth/sign_out_everywhere", by=one)).status == 204
    assert (await town.client.get("/profile", by=one)).problem == (401, "unauthorized")
    assert (await town.client.get("/profile", by="admin")).problem == (401, "unauthorized")
    assert (await town.client.get("/profile", by="agent")).status == 200
    assert [len(ids) for ids in told] == [2]


async def test_a_visitor_signs_out_too(town: Town) -> None:
    assert (await town.client.post("/auth/sign_out", by="visitor")).status == 204
    assert (await town.client.get("/conversations", by="visitor")).problem == (401, "unauthorized")
    assert (await town.client.get("/conversations", by="other_visitor")).status == 200


async def test_signing_out_without_a_session_is_unauthorized(town: Town) -> None:
    assert (await town.client.post("/auth/sign_out")).problem == (401, "unauthorized")


async def test_a_user_lists_its_accounts(town: Town) -> None:
    answer = await town.client.get("/accounts", by="viewer")
    assert answer.data == [{"id": 1, "name": "North", "status": "active", "role": "viewer"}]
    assert answer.cursor is None
