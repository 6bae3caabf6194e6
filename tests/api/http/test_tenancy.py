"""Another tenant's id answers exactly like an unknown one, on every route that takes an id.

The routes are found by reflection: a new one that takes an id fails here until its ids are listed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tertulia.api.calls import Audience
from tertulia.api.http import ROUTES
from tertulia.api.routing import Route

from .town import (
    CLOSED,
    CLOSED_INBOX,
    HOOK,
    MINE,
    NORTH,
    NORTH_JOB,
    NOWHERE,
    OPEN_INBOX,
    OTHER_VISITOR,
    SENT,
    SOUTH_CONTACT,
    SOUTH_CONVERSATION,
    SOUTH_HOOK,
    SOUTH_INBOX,
    SOUTH_JOB,
    SOUTH_SENT,
    UNASSIGNED,
    USERS,
    VISITOR,
    Client,
)

#: For each id in a path: one of another tenant.
FOREIGN: dict[str, int | str] = {
    "user_id": USERS["southerner"],
    "inbox_id": SOUTH_INBOX,
    "contact_id": SOUTH_CONTACT,
    "conversation_id": SOUTH_CONVERSATION,
    "job_id": SOUTH_JOB,
    "webhook_id": SOUTH_HOOK,
    "delivery_id": SOUTH_SENT,
}
#: Parts of a path that are no ids of their own: within another tenant's conversation, its message 1 exists.
INNER: dict[str, int] = {"seq": 1}

#: A body that is in order, for every route that takes one.
BODIES: dict[str, dict[str, Any]] = {
    "accounts.update_account_user": {"role": "agent"},
    "inboxes.update_inbox": {"name": "Mine now"},
    "inboxes.set_inbox_members": {"user_ids": []},
    "contacts.update_contact": {"name": "Mine now"},
    "conversations.update_conversation": {"status": "resolved"},
    "conversations.mark_read": {"seq": 1},
    "conversations.set_typing": {"on": True},
    "messages.send_message": {"content": "x"},
    "webhooks.update_webhook": {"events": ["message.created"]},
    "webhooks.pause_webhook": {},
    "messages.edit_message": {"content": "x"},
}


PARAMETER = re.compile(r"<(?:id|key):(\w+)>")


@dataclass(frozen=True)
class Case:
    route: Route
    rule: str

    @property
    def ids(self) -> list[str]:
        return [name for name in PARAMETER.findall(self.rule) if name != "account_id"]

    def path(self, values: Mapping[str, int | str]) -> str:
        every = {**INNER, **values, "account_id": NORTH}
        return PARAMETER.sub(lambda found: str(every[found[1]]), self.rule)

    def __str__(self) -> str:
        return f"{self.route.method} {self.rule}"


def cases() -> Iterator[Case]:
    for route in ROUTES:
        for rule in route.rules:
            case = Case(route, rule)
            if case.ids:
                yield case


@pytest.mark.parametrize("case", list(cases()), ids=str)
async def test_another_tenant_s_id_answers_like_an_unknown_one(client: Client, case: Case) -> None:
    assert case.route.operation.audience is Audience.ACCOUNT
    unlisted = set(case.ids) - FOREIGN.keys() - INNER.keys()
    assert not unlisted, f"say in FOREIGN what another tenant's {unlisted} is"
    body = BODIES[case.route.name] if case.route.operation.body is not None else None
    for caller in ("admin", "agent", "viewer", "visitor"):
        foreign = await client.call(case.route.method, case.path(FOREIGN), body, by=caller)
        unknown = await client.call(case.route.method, case.path(dict.fromkeys(FOREIGN, NOWHERE)), body, by=caller)
        # An administrator may do all of this at home, so that for it the id alone is the reason.
        assert foreign.status == 404 or (foreign.status == 403 and caller != "admin"), caller
        assert (foreign.status, foreign.body) == (unknown.status, unknown.body), caller
        assert dict(foreign.headers) == dict(unknown.headers), caller


@pytest.mark.parametrize("case", list(cases()), ids=str)
async def test_the_case_is_about_the_id_because_the_owner_gets_another_answer(client: Client, case: Case) -> None:
    body = BODIES[case.route.name] if case.route.operation.body is not None else None
    own: dict[str, int | str] = {
        "user_id": USERS["viewer"],
        "inbox_id": OPEN_INBOX,
        "contact_id": VISITOR,
        "conversation_id": MINE,
        "job_id": NORTH_JOB,
        "webhook_id": HOOK,
        "delivery_id": SENT,
    }
    if case.route.name == "messages.edit_message":
        await client.post(f"/conversations/{MINE}/messages", {"content": "mine"}, by="admin")
        own["seq"] = 2
    assert 200 <= (await client.call(case.route.method, case.path(own), body, by="admin")).status < 300


@pytest.mark.parametrize(
    "body",
    [
        {"inbox_id": SOUTH_INBOX, "contact_id": VISITOR},
        {"inbox_id": OPEN_INBOX, "contact_id": SOUTH_CONTACT},
        {"inbox_id": OPEN_INBOX, "contact_id": VISITOR, "assignee_id": USERS["southerner"]},
    ],
    ids=["inbox", "contact", "assignee"],
)
async def test_another_tenant_s_id_in_a_body_answers_like_an_unknown_one(client: Client, body: dict[str, int]) -> None:
    changed = {name: NOWHERE if value in (SOUTH_INBOX, USERS["southerner"]) else value for name, value in body.items()}
    foreign = await client.post("/conversations", body, by="admin")
    unknown = await client.post("/conversations", changed, by="admin")
    assert foreign.status in (404, 422)
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)


async def test_another_tenant_s_user_cannot_be_a_member_of_an_inbox_or_an_assignee(client: Client) -> None:
    for method, path, name in (
        ("PUT", f"/inboxes/{OPEN_INBOX}/members", "user_ids"),
        ("PATCH", f"/conversations/{MINE}", "assignee_id"),
    ):
        replies = [
            await client.call(method, path, {name: [id] if name == "user_ids" else id}, by="admin")
            for id in (USERS["southerner"], NOWHERE)
        ]
        assert replies[0].status in (404, 422)
        assert replies[0].status == replies[1].status


async def test_lists_hold_nothing_of_another_tenant(client: Client) -> None:
    theirs = {SOUTH_CONVERSATION, SOUTH_CONTACT, SOUTH_INBOX, USERS["southerner"], SOUTH_JOB, SOUTH_HOOK}
    for path in ("/conversations", "/contacts", "/inboxes", "/account_users", "/jobs", "/webhooks"):
        for entry in (await client.get(path, by="southerner", account=2)).data:
            assert {entry.get("id"), entry.get("user_id")} & theirs, path


@pytest.mark.parametrize("filter", [f"inbox_id={SOUTH_INBOX}", f"assignee_id={USERS['southerner']}"])
async def test_filters_by_another_tenant_s_id_find_nothing(client: Client, filter: str) -> None:
    assert (await client.get(f"/conversations?{filter}", by="admin")).data == []


# Within one account, what the policy hides is hidden the same way.


@pytest.mark.parametrize("case", [case for case in cases() if "conversation_id" in case.ids], ids=str)
async def test_a_conversation_that_policy_hides_answers_like_an_unknown_one(client: Client, case: Case) -> None:
    body = BODIES[case.route.name] if case.route.operation.body is not None else None
    for caller, hidden in (("agent", CLOSED), ("visitor", UNASSIGNED)):
        secret = await client.call(case.route.method, case.path({"conversation_id": hidden}), body, by=caller)
        unknown = await client.call(case.route.method, case.path({"conversation_id": NOWHERE}), body, by=caller)
        assert secret.status == 404, caller
        assert secret.body == unknown.body, caller


async def test_an_inbox_of_others_and_another_contact_are_hidden_too(client: Client) -> None:
    for path, caller in (
        (f"/inboxes/{CLOSED_INBOX}", "agent"),
        (f"/inboxes/{CLOSED_INBOX}/members", "agent"),
        (f"/contacts/{OTHER_VISITOR}", "visitor"),
    ):
        assert (await client.get(path, by=caller)).problem == (404, "not_found"), path


async def test_a_delivery_is_found_under_its_own_webhook_only(client: Client) -> None:
    other = (await client.post("/webhooks", {"url": "https://hooks.example/other"}, by="admin")).data["id"]
    assert (await client.get(f"/webhooks/{HOOK}/deliveries/{SENT}", by="admin")).status == 200
    assert (await client.get(f"/webhooks/{other}/deliveries/{SENT}", by="admin")).problem == (404, "not_found")
