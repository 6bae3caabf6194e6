"""Webhooks over HTTP: what an administrator enters and sees, and where secrets are shown."""

from typing import Any, get_args

import pytest

from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.actors.webhooks.signing import key_of
from tertulia.actors.webhooks.subscriptions import WEBHOOK_EVENTS
from tertulia.api.schemas import WebhookEvent
from tertulia.storage.ids import new_id
from tertulia.storage.records import WebhookDelivery
from tertulia.storage.writes import Insert, Update

from .town import HOOK, NORTH, OPEN_INBOX, SECRET, SENT, SOUTH_INBOX, START, Client, Town

NEW = {"url": "https://hooks.example/new", "events": ["message.created"], "inbox_id": OPEN_INBOX}
DELIVERIES = f"/webhooks/{HOOK}/deliveries"


async def test_a_new_webhook_is_answered_with_its_secret(client: Client) -> None:
    made = (await client.post("/webhooks", {**NEW, "include_private": True}, by="admin")).data
    assert len(key_of(made.pop("secret"))) == 32
    assert made == {
        "id": made["id"],
        "url": "https://hooks.example/new",
        "events": ["message.created"],
        "inbox_id": OPEN_INBOX,
        "include_private": True,
        "paused_at": None,
        "paused_reason": None,
        "old_secret_until": None,
        "created_at": "2023-11-14T22:13:20.000Z",
        "updated_at": "2023-11-14T22:13:20.000Z",
    }
    assert (await client.get(f"/webhooks/{made['id']}", by="admin")).data == made
    assert made in (await client.get("/webhooks", by="admin")).data


async def test_a_webhook_hears_everything_that_is_not_private_unless_told_otherwise(client: Client) -> None:
    made = (await client.post("/webhooks", {"url": NEW["url"]}, by="admin")).data
    assert (made["events"], made["inbox_id"], made["include_private"]) == ([], None, False)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "ftp://hooks.example"}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "https://me:secret@hooks.example/"}, "url"),
        ({"url": "https://hooks.example/" + "x" * 3000}, "url"),
        ({**NEW, "events": ["conversation.typing_on"]}, "events[0]"),
        ({**NEW, "inbox_id": SOUTH_INBOX}, "inbox_id"),
        ({**NEW, "secret": "mine"}, "secret"),
    ],
)
async def test_what_can_never_be_a_webhook_is_refused_by_field(client: Client, body: dict[str, Any], path: str) -> None:
    reply = await client.post("/webhooks", body, by="admin")
    assert reply.problem == (422, "invalid")
    assert list(reply.faults) == [path]


def test_the_events_in_the_description_are_those_that_are_sent() -> None:
    assert get_args(WebhookEvent) == WEBHOOK_EVENTS


async def test_an_account_has_a_limited_number_of_webhooks(client: Client) -> None:
    for _ in range(WebhookLimits().per_account - 1):
        assert (await client.post("/webhooks", NEW, by="admin")).status == 201
    assert (await client.post("/webhooks", NEW, by="admin")).problem == (409, "conflict")


async def test_what_is_left_out_stays_as_it_is_and_null_widens_to_all_inboxes(client: Client) -> None:
    made = (await client.post("/webhooks", NEW, by="admin")).data
    path = f"/webhooks/{made['id']}"
    moved = (await client.patch(path, {"url": "https://hooks.example/moved"}, by="admin")).data
    assert (moved["url"], moved["events"], moved["inbox_id"]) == (
        "https://hooks.example/moved", ["message.created"], OPEN_INBOX,
    )  # fmt: skip
    widened = (await client.patch(path, {"inbox_id": None, "events": []}, by="admin")).data
    assert (widened["url"], widened["events"], widened["inbox_id"]) == ("https://hooks.example/moved", [], None)
    assert (await client.patch(path, {"url": "http://10.0.0.1"}, by="admin")).problem == (422, "invalid")


async def test_a_webhook_that_is_deleted_is_gone_with_its_deliveries(client: Client) -> None:
    assert (await client.delete(f"/webhooks/{HOOK}", by="admin")).status == 204
    for path in (f"/webhooks/{HOOK}", DELIVERIES, f"{DELIVERIES}/{SENT}"):
        assert (await client.get(path, by="admin")).problem == (404, "not_found")


async def test_a_webhook_is_paused_with_a_reason_and_resumed(client: Client) -> None:
    paused = (await client.post(f"/webhooks/{HOOK}/pause", {"reason": "Maintenance."}, by="admin")).data
    assert (paused["paused_at"], paused["paused_reason"]) == ("2023-11-14T22:13:20.000Z", "Maintenance.")
    again = (await client.post(f"/webhooks/{HOOK}/pause", by="admin")).data
    assert again["paused_reason"] == "Maintenance."
    resumed = (await client.post(f"/webhooks/{HOOK}/resume", by="admin")).data
    assert (resumed["paused_at"], resumed["paused_reason"]) == (None, None)


async def test_a_new_secret_is_shown_once_and_the_old_one_stays_valid_for_a_while(client: Client) -> None:
    rotated = (await client.post(f"/webhooks/{HOOK}/rotate_secret", by="admin")).data
    assert rotated["secret"] != f"whsec_{SECRET}"
    assert len(key_of(rotated.pop("secret"))) == 32
    assert rotated["old_secret_until"] == "2023-11-15T22:13:20.000Z"
    assert (await client.get(f"/webhooks/{HOOK}", by="admin")).data == rotated


async def test_no_other_answer_holds_a_secret(client: Client) -> None:
    new = (await client.post(f"/webhooks/{HOOK}/rotate_secret", by="admin")).data["secret"]
    replies = [
        await client.get("/webhooks", by="admin"),
        await client.get(f"/webhooks/{HOOK}", by="admin"),
        await client.patch(f"/webhooks/{HOOK}", {"events": ["message.created"]}, by="admin"),
        await client.post(f"/webhooks/{HOOK}/pause", by="admin"),
        await client.post(f"/webhooks/{HOOK}/resume", by="admin"),
        await client.get(DELIVERIES, by="admin"),
        await client.get(f"{DELIVERIES}/{SENT}", by="admin"),
        await client.post(f"{DELIVERIES}/{SENT}/redeliver", by="admin"),
        await client.get("/jobs", by="admin"),
    ]
    for reply in replies:
        assert reply.status == 200
        assert b"whsec_" not in reply.body
        assert SECRET.encode() not in reply.body
        assert new.removeprefix("whsec_").encode() not in reply.body


# Deliveries


async def test_a_delivery_is_shown_with_its_attempts_and_its_payload(client: Client) -> None:
    shown = (await client.get(f"{DELIVERIES}/{SENT}", by="admin")).data
    assert shown.pop("payload") == {"type": "message.created", "data": {"seq": 1}}
    assert shown == {
        "id": SENT,
        "webhook_id": HOOK,
        "event_type": "message.created",
        "state": "failed",
        "created_at": "2023-11-14T22:13:20.000Z",
        "next_attempt_at": None,
        "finished_at": "2023-11-14T22:13:21.000Z",
        "attempts": [
            {
                "at": "2023-11-14T22:13:20.000Z",
                "status": 500,
                "duration_ms": 12,
                "reason": "It said 500.",
                "answer": "Oh no",
            }
        ],
    }
    assert (await client.get(DELIVERIES, by="admin")).data == [shown]


async def test_the_answers_are_as_described(client: Client) -> None:
    schemas = (await client.get("/openapi.json")).json["components"]["schemas"]
    shown = (await client.get(f"{DELIVERIES}/{SENT}", by="admin")).data
    assert set(shown) == set(schemas["DeliveryWithPayloadData"]["properties"])
    assert set(shown["attempts"][0]) == set(schemas["DeliveryAttemptData"]["properties"])
    made = (await client.post("/webhooks", NEW, by="admin")).data
    assert set(made) == set(schemas["WebhookSecretData"]["properties"])


async def test_the_log_goes_on_where_its_page_ended_the_latest_first(town: Town) -> None:
    ids = [f"msg_{new_id(START + millis)}" for millis in range(5)]
    deliveries = [
        WebhookDelivery(id=id, account_id=NORTH, webhook_id=HOOK, event_type="x", payload="{}", created_at=START)
        for id in ids
    ]
    await town.submit(*map(Insert, deliveries))
    first = await town.client.get(f"{DELIVERIES}?limit=4", by="admin")
    second = await town.client.get(f"{DELIVERIES}?limit=4&cursor={first.cursor}", by="admin")
    assert second.cursor is None
    assert [entry["id"] for entry in [*first.data, *second.data]] == sorted([*ids, SENT], reverse=True)


async def test_the_log_is_filtered_by_state(town: Town) -> None:
    for state in ("waiting", "delivered", "failed"):
        await town.submit(Update(WebhookDelivery, {"account_id": NORTH, "id": SENT}, {"state": state}))
        for asked in ("waiting", "delivered", "failed"):
            found = (await town.client.get(f"{DELIVERIES}?state={asked}", by="admin")).data
            assert [entry["id"] for entry in found] == ([SENT] if asked == state else [])
    assert (await town.client.get(f"{DELIVERIES}?state=lost", by="admin")).problem == (422, "invalid")


async def test_a_delivery_is_sent_again_under_its_id_and_shows_what_came_before(client: Client) -> None:
    again = (await client.post(f"{DELIVERIES}/{SENT}/redeliver", by="admin")).data
    assert (again["id"], again["state"], again["finished_at"]) == (SENT, "waiting", None)
    assert again["next_attempt_at"] == "2023-11-14T22:13:20.000Z"
    assert [attempt["status"] for attempt in again["attempts"]] == [500]
    assert (await client.post(f"{DELIVERIES}/{SENT}/redeliver", by="admin")).problem == (409, "conflict")


async def test_what_belongs_to_a_paused_webhook_is_not_sent_again(client: Client) -> None:
    await client.post(f"/webhooks/{HOOK}/pause", by="admin")
    assert (await client.post(f"{DELIVERIES}/{SENT}/redeliver", by="admin")).problem == (409, "conflict")


@pytest.mark.parametrize("caller", ["agent", "other_agent", "viewer", "visitor"])
async def test_only_administrators_see_webhooks_whether_they_exist_or_not(client: Client, caller: str) -> None:
    for path in ("/webhooks", f"/webhooks/{HOOK}", "/webhooks/77", DELIVERIES, f"{DELIVERIES}/{SENT}"):
        assert (await client.get(path, by=caller)).problem == (403, "forbidden")
    assert (await client.post("/webhooks", NEW, by=caller)).problem == (403, "forbidden")
