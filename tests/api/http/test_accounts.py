"""Accounts, their people, inboxes and contacts over HTTP."""

import pytest

from tertulia.actors.times import rfc3339

from .town import CLOSED_INBOX, NORTH, OPEN_INBOX, START, USERS, VISITOR, Client, Town


async def test_the_account_is_shown_and_changed_under_both_addresses(client: Client) -> None:
    changed = await client.patch("/account", {"name": "Far North", "settings": {"lang": "is"}}, by="admin")
    nested = await client.get(f"/accounts/{NORTH}", by="admin", account=None)
    assert changed.data == nested.data
    assert nested.data == {
        "id": NORTH,
        "name": "Far North",
        "status": "active",
        "settings": {"lang": "is"},
        "created_at": rfc3339(START),
    }


async def test_the_people_of_the_account_are_listed_with_their_roles(client: Client) -> None:
    people = (await client.get("/account_users", by="viewer")).data
    assert {entry["name"]: entry["role"] for entry in people} == {
        "admin": "administrator",
        "agent": "agent",
        "other_agent": "agent",
        "viewer": "viewer",
    }
    assert set(people[0]) == {"user_id", "name", "email", "role", "created_at"}


async def test_a_new_person_is_added_and_signs_in(client: Client) -> None:
    body = {"email": "New@Example.org", "name": "New", "role": "agent", "password": "long enough"}
    added = await client.post("/account_users", body, by="admin")
    assert added.status == 201
    assert (added.data["email"], added.data["role"]) == ("new@example.org", "agent")
    token = (await client.post("/auth/sign_in", {"email": "new@example.org", "password": "long enough"})).data["token"]
    found = await client.get("/conversations", by=token, headers={"X-Account-Id": "1"})
    assert found.status == 200


async def test_a_person_that_another_account_made_is_not_taken_over(town: Town) -> None:
    body = {"email": "southerner@example.org", "name": "x", "role": "administrator", "password": "taken over!"}
    added = await town.client.post("/account_users", body, by="admin")
    assert added.problem == (409, "conflict")
    refused = await town.client.post("/auth/sign_in", {"email": "southerner@example.org", "password": "taken over!"})
    assert refused.problem == (401, "unauthorized")


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "nobody"), ("email", "a b@c"), ("name", ""), ("role", "king"), ("password", "short")],
)
async def test_what_is_wrong_about_a_new_person_is_named(client: Client, field: str, value: str) -> None:
    body = {"email": "new@example.org", "name": "New", "role": "agent", field: value}
    refused = await client.post("/account_users", body, by="admin")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == [field]


async def test_somebody_who_is_there_already_is_a_conflict(client: Client) -> None:
    body = {"email": "agent@example.org", "name": "Agent", "role": "agent"}
    assert (await client.post("/account_users", body, by="admin")).problem == (409, "conflict")


async def test_a_role_changes_at_once(client: Client) -> None:
    changed = await client.patch(f"/account_users/{USERS['viewer']}", {"role": "administrator"}, by="admin")
    assert changed.data["role"] == "administrator"
    assert (await client.patch("/account", {"name": "Mine"}, by="viewer")).status == 200


async def test_who_is_removed_is_out_at_once(client: Client) -> None:
    assert (await client.get("/conversations", by="viewer")).status == 200
    assert (await client.delete(f"/account_users/{USERS['viewer']}", by="admin")).status == 204
    assert (await client.get("/conversations", by="viewer")).problem == (403, "forbidden")


async def test_the_last_administrator_stays(client: Client) -> None:
    path = f"/account_users/{USERS['admin']}"
    for reply in (
        await client.delete(path, by="admin"),
        await client.patch(path, {"role": "viewer"}, by="admin"),
    ):
        assert reply.problem[0] in (409, 422)


# Inboxes


async def test_an_inbox_is_opened_with_a_public_identifier_and_renamed(client: Client) -> None:
    created = await client.post("/inboxes", {"name": "Shop"}, by="admin")
    assert created.status == 201
    assert len(created.data["identifier"]) >= 16
    renamed = await client.patch(f"/inboxes/{created.data['id']}", {"name": "Store"}, by="admin")
    shown = await client.get(f"/inboxes/{created.data['id']}", by="agent")
    assert renamed.data["name"] == shown.data["name"] == "Store"


async def test_members_of_an_inbox_are_chosen(client: Client) -> None:
    path = f"/inboxes/{OPEN_INBOX}/members"
    assert (await client.get(path, by="agent")).data == {"user_ids": []}
    chosen = await client.put(path, {"user_ids": [USERS["other_agent"]]}, by="admin")
    assert chosen.data == {"user_ids": [USERS["other_agent"]]}
    assert (await client.get(path, by="agent")).problem == (404, "not_found")


async def test_a_list_of_inboxes_shows_those_one_works_in(client: Client) -> None:
    listed = {
        caller: [inbox["id"] for inbox in (await client.get("/inboxes", by=caller)).data]
        for caller in ("admin", "agent", "other_agent", "viewer")
    }
    both = [OPEN_INBOX, CLOSED_INBOX]
    assert listed == {"admin": both, "agent": [OPEN_INBOX], "other_agent": both, "viewer": both}


async def test_visitors_see_neither_people_nor_contacts(client: Client) -> None:
    for path in ("/account", "/account_users", "/contacts", f"/inboxes/{OPEN_INBOX}/members"):
        assert (await client.get(path, by="visitor")).problem == (403, "forbidden"), path


async def test_of_the_inboxes_a_visitor_sees_its_own(client: Client) -> None:
    assert [inbox["id"] for inbox in (await client.get("/inboxes", by="visitor")).data] == [OPEN_INBOX]
    assert (await client.get(f"/inboxes/{OPEN_INBOX}", by="visitor")).data["name"] == "open"
    assert (await client.get(f"/inboxes/{CLOSED_INBOX}", by="visitor")).problem == (404, "not_found")


# Contacts


async def test_a_contact_is_made_found_and_changed(client: Client) -> None:
    body = {
        "name": "Ana",
        "email": "ana@example.org",
        "phone": "+34 600",
        "identifier": "crm-7",
        "custom_attributes": {"plan": "gold"},
    }
    created = await client.post("/contacts", body, by="agent")
    assert created.status == 201
    assert {name: created.data[name] for name in body} == body
    for query in ("ana", "crm-7", "600", "example.org"):
        found = await client.get(f"/contacts?q={query}", by="viewer")
        assert [contact["id"] for contact in found.data] == [created.data["id"]], query
    changed = await client.patch(f"/contacts/{created.data['id']}", {"phone": None, "name": "Ana B"}, by="agent")
    assert (changed.data["name"], changed.data["phone"], changed.data["email"]) == ("Ana B", None, "ana@example.org")


async def test_an_e_mail_or_identifier_that_is_taken_is_a_conflict(client: Client) -> None:
    await client.post("/contacts", {"name": "Ana", "email": "ana@example.org", "identifier": "7"}, by="agent")
    for body in ({"name": "B", "email": "ana@example.org"}, {"name": "B", "identifier": "7"}):
        assert (await client.post("/contacts", body, by="agent")).problem == (409, "conflict"), body


async def test_pages_of_contacts_follow_each_other(client: Client) -> None:
    for number in range(5):
        await client.post("/contacts", {"name": f"c{number}"}, by="agent")
    seen: list[str] = []
    page = await client.get("/contacts?limit=3", by="agent")
    while True:
        seen += [contact["name"] for contact in page.data]
        if page.cursor is None:
            break
        page = await client.get(f"/contacts?limit=3&cursor={page.cursor}", by="agent")
    assert seen == ["contact 1", "contact 2", "c0", "c1", "c2", "c3", "c4"]


async def test_a_blocked_contact_is_shut_out_at_once(client: Client) -> None:
    assert (await client.get("/conversations", by="visitor")).status == 200
    blocked = await client.patch(f"/contacts/{VISITOR}", {"blocked": True}, by="agent")
    assert blocked.data["blocked"] is True
    assert (await client.get("/conversations", by="visitor")).problem == (401, "unauthorized")


async def test_a_visitor_sees_itself(client: Client) -> None:
    assert (await client.get(f"/contacts/{VISITOR}", by="visitor")).data["name"] == "contact 1"
