"""Visitor sessions: how somebody whom nobody knows starts to talk."""

from trio.testing import MockClock

from tertulia.api.http_settings import HttpSettings

from .town import NORTH, OPEN_INBOX, SOUTH, Client, Town, open_town

START_SESSION = "/inboxes/by-identifier/public-open/visitor_sessions"


async def test_a_visitor_gets_a_contact_and_a_token_and_can_talk(client: Client) -> None:
    session = await client.post(START_SESSION, {"name": "Ana"})
    assert session.status == 201
    assert (session.data["account_id"], session.data["inbox_id"]) == (NORTH, OPEN_INBOX)
    assert session.data["contact"]["name"] == "Ana"
    token = session.data["token"]
    opened = (await client.post("/conversations", by=token)).data
    sent = await client.post(f"/conversations/{opened['id']}/messages", {"content": "Hello"}, by=token)
    assert sent.data["sender"] == {"type": "contact", "id": session.data["contact"]["id"], "name": "Ana"}


async def test_a_session_needs_no_body(client: Client) -> None:
    session = await client.post(START_SESSION)
    assert session.status == 201
    assert session.data["contact"]["name"] == "Visitor"


async def test_every_session_without_a_token_is_a_fresh_contact(client: Client) -> None:
    first, second = [(await client.post(START_SESSION, {"name": "Ana"})).data for _ in range(2)]
    assert first["contact"]["id"] != second["contact"]["id"]
    assert first["token"] != second["token"]


async def test_with_its_own_token_a_visitor_stays_the_same_contact(town: Town) -> None:
    first = (await town.client.post(START_SESSION, {"name": "Ana"})).data
    town.clock.advance(3600)
    again = await town.client.post(START_SESSION, {"name": "Somebody else"}, by=first["token"])
    assert again.status == 200
    assert again.data["contact"] == first["contact"]
    assert again.data["token"] == first["token"]
    assert again.data["expires_at"] > first["expires_at"]


async def test_a_renewed_token_lives_its_whole_life_again(town: Town) -> None:
    lifetime = HttpSettings().contact_token_lifetime
    token = (await town.client.post(START_SESSION)).data["token"]
    town.clock.advance(lifetime - 1)
    await town.client.post(START_SESSION, by=token)
    town.clock.advance(lifetime - 1)
    assert (await town.client.get("/conversations", by=token)).status == 200
    town.clock.advance(1)
    assert (await town.client.get("/conversations", by=token)).problem == (401, "unauthorized")


async def test_a_token_that_is_no_visitor_s_of_this_inbox_gets_a_fresh_contact(client: Client) -> None:
    for holder in ("nobody", "admin", "south_visitor"):
        session = await client.post(START_SESSION, {"name": "Ana"}, by=holder)
        assert session.status == 201, holder
        assert session.data["contact"]["id"] > 3, holder


async def test_claiming_an_e_mail_does_not_give_the_contact_that_has_it(client: Client) -> None:
    known = await client.post("/contacts", {"name": "Ana", "email": "ana@example.org"}, by="agent")
    session = await client.post(START_SESSION, {"name": "Eve", "email": "ana@example.org"})
    assert session.status == 201
    assert session.data["contact"]["id"] != known.data["id"]
    made = await client.get(f"/contacts/{session.data['contact']['id']}", by="agent")
    assert made.data["email"] is None
    assert made.data["custom_attributes"] == {"claimed_email": "ana@example.org"}


async def test_claiming_an_e_mail_does_not_take_it_from_its_owner(client: Client) -> None:
    await client.post(START_SESSION, {"name": "Eve", "email": "ana@example.org"})
    owner = await client.post("/contacts", {"name": "Ana", "email": "ana@example.org"}, by="agent")
    assert owner.status == 201


async def test_the_answer_does_not_tell_whether_an_e_mail_is_known(client: Client) -> None:
    await client.post("/contacts", {"name": "Ana", "email": "ana@example.org"}, by="agent")
    known = await client.post(START_SESSION, {"name": "Eve", "email": "ana@example.org"})
    unknown = await client.post(START_SESSION, {"name": "Eve", "email": "nobody@example.org"})
    assert known.status == unknown.status == 201
    assert set(known.data) == set(unknown.data)


async def test_an_unknown_identifier_and_a_suspended_account_look_the_same(town: Town) -> None:
    (await town.engine.world.access.of(SOUTH)).active = False
    access = await town.authenticator.access_of(SOUTH)
    assert access is not None
    access.active = False
    unknown = await town.client.post("/inboxes/by-identifier/nothing/visitor_sessions")
    suspended = await town.client.post("/inboxes/by-identifier/public-south/visitor_sessions")
    assert unknown.problem == suspended.problem == (404, "not_found")


async def test_sessions_are_limited_per_address_and_recover(autojump_clock: MockClock) -> None:
    async with open_town(HttpSettings(visitor_session_rate=1, visitor_session_burst=2)) as town:
        statuses = [(await town.client.post(START_SESSION)).status for _ in range(3)]
        autojump_clock.jump(1)
        later = await town.client.post(START_SESSION)
    assert statuses == [201, 201, 429]
    assert later.status == 201


async def test_a_blocked_visitor_that_comes_back_is_a_stranger(client: Client) -> None:
    first = (await client.post(START_SESSION)).data
    await client.patch(f"/contacts/{first['contact']['id']}", {"blocked": True}, by="agent")
    again = await client.post(START_SESSION, by=first["token"])
    assert again.status == 201
    assert again.data["contact"]["id"] != first["contact"]["id"]
