"""Jobs over HTTP: what an administrator sees of them, and what retrying and cancelling does."""

from typing import Any

import msgspec
import pytest

from tertulia.api.cursors import cursor_of, cursor_of_id
from tertulia.storage.ids import new_id
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Update

from .town import NORTH, NORTH_JOB, SOUTH_JOB, START, Client, Town, later


async def change(town: Town, **values: Any) -> None:
    await town.submit(Update(Job, {"account_id": NORTH, "id": NORTH_JOB}, values))


async def test_a_job_is_shown_with_its_arguments_and_without_its_worker(client: Client) -> None:
    assert (await client.get(f"/jobs/{NORTH_JOB}", by="admin")).data == {
        "id": NORTH_JOB,
        "kind": "send_receipt",
        "queue": "mail",
        "key": None,
        "state": "scheduled",
        "priority": 5,
        "attempt": 0,
        "max_attempts": 3,
        "args": {"to": "ann@example.org"},
        "run_at": "2024-11-13T22:13:20.000Z",
        "created_at": "2023-11-14T22:13:20.000Z",
        "started_at": None,
        "finished_at": None,
        "duration_ms": None,
        "errors": [],
    }


async def test_what_came_of_a_job_is_shown(town: Town) -> None:
    errors = [{"attempt": 1, "at": START + 1000, "error": "The mail server said no."}]
    ended = {"state": JobState.DISCARDED, "attempt": 1, "finished_at": START + 2000, "duration": 17, "errors": errors}
    await change(town, started_at=START + 500, **ended)
    shown = (await town.client.get(f"/jobs/{NORTH_JOB}", by="admin")).data
    assert (shown["state"], shown["attempt"], shown["duration_ms"]) == ("discarded", 1, 17)
    assert shown["started_at"] == "2023-11-14T22:13:20.500Z"
    assert shown["finished_at"] == "2023-11-14T22:13:22.000Z"
    assert shown["errors"] == [{"attempt": 1, "at": "2023-11-14T22:13:21.000Z", "error": "The mail server said no."}]


async def test_the_answer_is_as_described(client: Client) -> None:
    document = (await client.get("/openapi.json")).json
    shown = (await client.get(f"/jobs/{NORTH_JOB}", by="admin")).data
    assert set(shown) == set(document["components"]["schemas"]["JobData"]["properties"])
    parameters = document["paths"]["/api/v1/jobs/{job_id}"]["get"]["parameters"]
    assert next(entry for entry in parameters if entry["in"] == "path")["schema"]["type"] == "string"


async def test_both_addresses_show_the_same(client: Client) -> None:
    flat = await client.get("/jobs", by="admin")
    nested = await client.get(f"/accounts/{NORTH}/jobs", by="admin", account=None)
    assert [job["id"] for job in flat.data] == [NORTH_JOB]
    assert flat.body == nested.body


async def test_a_list_goes_on_where_its_page_ended_the_latest_first(town: Town) -> None:
    ids = [new_id(START + millis) for millis in range(5)]
    await town.write(*[later(id, NORTH) for id in ids])
    seen: list[str] = []
    cursor = ""
    for size in (2, 2, 2):
        reply = await town.client.get(f"/jobs?limit=2{cursor}", by="admin")
        assert len(reply.data) == size
        seen += [job["id"] for job in reply.data]
        cursor = f"&cursor={reply.cursor}"
    assert reply.cursor is None
    assert seen == sorted([*ids, NORTH_JOB], reverse=True)


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("state", "discarded", "running"),
        ("queue", "exports", "mail2"),
        ("kind", "export", "send"),
        ("key", "conversation:7", "conversation:8"),
    ],
)
async def test_a_filter_shows_what_has_this_value_and_nothing_else(
    town: Town, name: str, value: str, other: str
) -> None:
    job = msgspec.structs.replace(later(new_id(START), NORTH), **{name: value})
    await town.write(job)
    assert [entry["id"] for entry in (await town.client.get(f"/jobs?{name}={value}", by="admin")).data] == [job.id]
    assert (await town.client.get(f"/jobs?{name}={other}", by="admin")).data == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("state=lost", "state"),
        ("queue=", "queue"),
        ("limit=101", "limit"),
        ("worker=me", "worker"),
        ("cursor=nonsense", "cursor"),
        (f"cursor={cursor_of(7)}", "cursor"),
        (f"cursor={cursor_of_id('; drop table')}", "cursor"),
    ],
)
async def test_a_wrong_filter_is_named(client: Client, query: str, path: str) -> None:
    reply = await client.get(f"/jobs?{query}", by="admin")
    assert reply.problem == (422, "invalid")
    assert list(reply.faults) == [path]


async def test_a_job_that_is_retried_is_due_at_once(town: Town) -> None:
    retried = (await town.client.post(f"/jobs/{NORTH_JOB}/retry", by="admin")).data
    assert (retried["state"], retried["run_at"]) == ("available", "2023-11-14T22:13:20.000Z")


async def test_a_job_out_of_attempts_gets_one_more(town: Town) -> None:
    await change(town, state=JobState.DISCARDED, attempt=3, finished_at=START)
    retried = (await town.client.post(f"/jobs/{NORTH_JOB}/retry", by="admin")).data
    assert (retried["state"], retried["attempt"], retried["max_attempts"]) == ("available", 3, 4)
    assert retried["finished_at"] is None


async def test_a_job_that_is_cancelled_stays_in_the_list(client: Client) -> None:
    cancelled = (await client.post(f"/jobs/{NORTH_JOB}/cancel", by="admin")).data
    assert (cancelled["state"], cancelled["finished_at"]) == ("cancelled", "2023-11-14T22:13:20.000Z")
    assert (await client.get("/jobs?state=cancelled", by="admin")).data == [cancelled]


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("retry", JobState.RUNNING),
        ("retry", JobState.AVAILABLE),
        ("retry", JobState.COMPLETED),
        ("cancel", JobState.COMPLETED),
        ("cancel", JobState.DISCARDED),
        ("cancel", JobState.CANCELLED),
    ],
)
async def test_what_makes_no_sense_for_a_job_is_a_conflict(town: Town, action: str, state: str) -> None:
    await change(town, state=state, attempt=1)
    reply = await town.client.post(f"/jobs/{NORTH_JOB}/{action}", by="admin")
    assert reply.problem == (409, "conflict")
    assert reply.json["detail"] == f"The job is {state}."
    assert (await town.client.get(f"/jobs/{NORTH_JOB}", by="admin")).data["state"] == state


@pytest.mark.parametrize("caller", ["agent", "other_agent", "viewer", "visitor"])
async def test_only_administrators_see_or_touch_jobs_whether_they_exist_or_not(client: Client, caller: str) -> None:
    for id in (NORTH_JOB, SOUTH_JOB, "0" * 28):
        for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel")):
            assert (await client.call(method, f"/jobs/{id}{path}", by=caller)).problem == (403, "forbidden")
    assert (await client.get("/jobs", by=caller)).problem == (403, "forbidden")


async def test_the_engines_own_jobs_are_nobodys(town: Town) -> None:
    await town.write(later("3" * 28, 0), account_id=0)
    assert (await town.client.get(f"/jobs/{'3' * 28}", by="admin")).problem == (404, "not_found")
    assert "3" * 28 not in {job["id"] for job in (await town.client.get("/jobs", by="admin")).data}


@pytest.mark.parametrize("id", ["nonsense", "%00", "1" * 65])
async def test_what_is_no_id_at_all_is_not_found(client: Client, id: str) -> None:
    assert (await client.get(f"/jobs/{id}", by="admin")).problem == (404, "not_found")
