"""What each role may do with a conversation, over HTTP: every cell of the table."""

import pytest

from .town import CLOSED, HOOK, MINE, NORTH_JOB, SENT, UNASSIGNED, USERS, Client, Reply, open_town

OK, DENIED, HIDDEN = "ok", (403, "forbidden"), (404, "not_found")

CALLERS = ("admin", "agent", "other_agent", "viewer", "visitor", "other_visitor")

#: `MINE` is assigned to `agent` and belongs to `visitor`; `UNASSIGNED` to `other_visitor`; in `CLOSED`, only
#: `other_agent` is a member of the inbox.
TABLE: dict[tuple[str, int], tuple[object, ...]] = {
    ("show", MINE): (OK, OK, OK, OK, OK, HIDDEN),
    ("show", UNASSIGNED): (OK, OK, OK, OK, HIDDEN, OK),
    ("show", CLOSED): (OK, HIDDEN, OK, OK, HIDDEN, HIDDEN),
    ("update", MINE): (OK, OK, DENIED, DENIED, DENIED, HIDDEN),
    ("update", UNASSIGNED): (OK, DENIED, DENIED, DENIED, HIDDEN, DENIED),
    ("update", CLOSED): (OK, HIDDEN, DENIED, DENIED, HIDDEN, HIDDEN),
    ("claim", UNASSIGNED): (OK, OK, OK, DENIED, HIDDEN, DENIED),
    ("claim", CLOSED): (OK, HIDDEN, OK, DENIED, HIDDEN, HIDDEN),
    ("claim", MINE): (OK, OK, DENIED, DENIED, DENIED, HIDDEN),
    ("resolve", MINE): (OK, OK, DENIED, DENIED, OK, HIDDEN),
    ("delete", MINE): (OK, DENIED, DENIED, DENIED, DENIED, HIDDEN),
    ("delete", CLOSED): (OK, HIDDEN, DENIED, DENIED, HIDDEN, HIDDEN),
    ("message", MINE): (OK, OK, OK, DENIED, OK, HIDDEN),
    ("message", CLOSED): (OK, HIDDEN, OK, DENIED, HIDDEN, HIDDEN),
    ("note", MINE): (OK, OK, OK, DENIED, DENIED, HIDDEN),
    ("messages", MINE): (OK, OK, OK, OK, OK, HIDDEN),
    ("messages", CLOSED): (OK, HIDDEN, OK, OK, HIDDEN, HIDDEN),
    ("read", MINE): (OK, OK, OK, OK, OK, HIDDEN),
    ("read", CLOSED): (OK, HIDDEN, OK, OK, HIDDEN, HIDDEN),
    ("typing", MINE): (OK, OK, OK, DENIED, OK, HIDDEN),
    ("typing", CLOSED): (OK, HIDDEN, OK, DENIED, HIDDEN, HIDDEN),
    ("delete message", MINE): (OK, DENIED, DENIED, DENIED, OK, HIDDEN),
    ("edit message", MINE): (DENIED, DENIED, DENIED, DENIED, OK, HIDDEN),
}

ACTIONS: dict[str, tuple[str, str, dict[str, object] | None]] = {
    "show": ("GET", "", None),
    "update": ("PATCH", "", {"priority": "high"}),
    "claim": ("PATCH", "", {"assignee_id": 0}),
    "resolve": ("PATCH", "", {"status": "resolved"}),
    "delete": ("DELETE", "", None),
    "message": ("POST", "/messages", {"content": "x"}),
    "note": ("POST", "/messages", {"content": "x", "private": True}),
    "messages": ("GET", "/messages", None),
    "read": ("POST", "/read", {"seq": 1}),
    "typing": ("POST", "/typing", {"on": True}),
    "edit message": ("PATCH", "/messages/1", {"content": "x"}),
    "delete message": ("DELETE", "/messages/1", None),
}

#: What changes nothing that the next caller of the same row could miss.
REPEATABLE = {"show", "message", "note", "messages", "read", "typing"}


@pytest.mark.parametrize(("action", "conversation"), TABLE, ids=str)
async def test_the_role_decides(action: str, conversation: int) -> None:
    cells = dict(zip(CALLERS, TABLE[action, conversation], strict=True))
    refused = {caller: verdict for caller, verdict in cells.items() if verdict != OK}
    allowed = [caller for caller, verdict in cells.items() if verdict == OK]
    async with open_town() as town:
        # Refusals first: what is refused changes nothing, so that whoever is allowed finds it as it was.
        for caller, verdict in refused.items():
            assert (await attempt(town.client, action, conversation, caller)).problem == verdict, caller
        while allowed:
            caller = allowed.pop(0)
            assert (await attempt(town.client, action, conversation, caller)).status < 300, caller
            if action not in REPEATABLE:
                break
    for caller in allowed:
        async with open_town() as town:
            assert (await attempt(town.client, action, conversation, caller)).status < 300, caller


async def attempt(client: Client, action: str, conversation: int, caller: str) -> Reply:
    method, path, body = ACTIONS[action]
    if action == "claim":
        body = {"assignee_id": USERS.get(caller, USERS["agent"])}
    return await client.call(method, f"/conversations/{conversation}{path}", body, by=caller)


def test_every_action_has_a_row() -> None:
    assert {action for action, _ in TABLE} == set(ACTIONS)


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        ("admin", {MINE, UNASSIGNED, CLOSED}),
        ("agent", {MINE, UNASSIGNED}),
        ("other_agent", {MINE, UNASSIGNED, CLOSED}),
        ("viewer", {MINE, UNASSIGNED, CLOSED}),
        ("visitor", {MINE}),
        ("other_visitor", {UNASSIGNED}),
    ],
)
async def test_a_list_shows_what_show_would_show(client: Client, caller: str, seen: set[int]) -> None:
    assert {entry["id"] for entry in (await client.get("/conversations", by=caller)).data} == seen


#: What members may do in the account itself; visitors may do none of it.
ACCOUNT_TABLE: dict[tuple[str, str, tuple[str, object] | None], tuple[object, ...]] = {
    ("GET", "/account", None): (OK, OK, OK),
    ("PATCH", "/account", ("name", "New")): (OK, DENIED, DENIED),
    ("GET", "/account_users", None): (OK, OK, OK),
    ("POST", "/account_users", ("email", "new@example.org")): (OK, DENIED, DENIED),
    ("PATCH", "/account_users/3", ("role", "viewer")): (OK, DENIED, DENIED),
    ("DELETE", "/account_users/3", None): (OK, DENIED, DENIED),
    ("GET", "/inboxes", None): (OK, OK, OK),
    ("POST", "/inboxes", ("name", "New")): (OK, DENIED, DENIED),
    ("GET", "/inboxes/1", None): (OK, OK, OK),
    ("PATCH", "/inboxes/1", ("name", "New")): (OK, DENIED, DENIED),
    ("GET", "/inboxes/1/members", None): (OK, OK, OK),
    ("PUT", "/inboxes/1/members", ("user_ids", (2,))): (OK, DENIED, DENIED),
    ("GET", "/contacts", None): (OK, OK, OK),
    ("POST", "/contacts", ("name", "New")): (OK, OK, DENIED),
    ("GET", "/contacts/1", None): (OK, OK, OK),
    ("PATCH", "/contacts/1", ("name", "New")): (OK, OK, DENIED),
    ("POST", "/conversations", ("inbox_id", 1)): (OK, OK, DENIED),
    ("GET", "/jobs", None): (OK, DENIED, DENIED),
    ("GET", f"/jobs/{NORTH_JOB}", None): (OK, DENIED, DENIED),
    ("POST", f"/jobs/{NORTH_JOB}/retry", None): (OK, DENIED, DENIED),
    ("POST", f"/jobs/{NORTH_JOB}/cancel", None): (OK, DENIED, DENIED),
    ("GET", "/webhooks", None): (OK, DENIED, DENIED),
    ("POST", "/webhooks", ("url", "https://hooks.example/new")): (OK, DENIED, DENIED),
    ("GET", f"/webhooks/{HOOK}", None): (OK, DENIED, DENIED),
    ("PATCH", f"/webhooks/{HOOK}", ("include_private", True)): (OK, DENIED, DENIED),
    ("DELETE", f"/webhooks/{HOOK}", None): (OK, DENIED, DENIED),
    ("POST", f"/webhooks/{HOOK}/pause", None): (OK, DENIED, DENIED),
    ("POST", f"/webhooks/{HOOK}/resume", None): (OK, DENIED, DENIED),
    ("POST", f"/webhooks/{HOOK}/rotate_secret", None): (OK, DENIED, DENIED),
    ("GET", f"/webhooks/{HOOK}/deliveries", None): (OK, DENIED, DENIED),
    ("GET", f"/webhooks/{HOOK}/deliveries/{SENT}", None): (OK, DENIED, DENIED),
    ("POST", f"/webhooks/{HOOK}/deliveries/{SENT}/redeliver", None): (OK, DENIED, DENIED),
}


@pytest.mark.parametrize(("method", "path", "field"), ACCOUNT_TABLE, ids=str)
async def test_the_role_decides_in_the_account(
    client: Client, method: str, path: str, field: tuple[str, object] | None
) -> None:
    body = dict([field]) if field is not None else None
    if body is not None and "email" in body:
        body |= {"name": "New", "role": "agent"}
    if body is not None and "inbox_id" in body:
        body |= {"contact_id": 1}
    # The administrator comes last: who may do less has tried before.
    cells = zip(("viewer", "agent", "admin"), reversed(ACCOUNT_TABLE[method, path, field]), strict=True)
    for caller, verdict in cells:
        reply = await client.call(method, path, body, by=caller)
        assert (OK if reply.status < 300 else reply.problem) == verdict, caller
