"""No method of the store finds anything of another account. A new method without a case here fails."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import pytest

from tertulia.storage.contracts import ConversationFilter, Reads, Store
from tertulia.storage.job_contract import JobFilter, JobStore
from tertulia.storage.writes import Enqueue, Insert, Unit

from .job_sample import delivery, job, webhook
from .sample import OURS, THEIRS, T, account_event, commit_all, event, log_unit, message

Case: TypeAlias = Callable[[Store, int], Awaitable[Any]]

#: Each method, asked in the name of an account for something of OURS.
CASES: Mapping[str, Case] = {
    "account_log": lambda reads, account_id: reads.account_log(account_id),
    "changed": lambda reads, account_id: reads.changed(account_id, [1], since=0, limit=9),
    "contact": lambda reads, account_id: reads.contact(account_id, 1),
    "contact_by_identifier": lambda reads, account_id: reads.contact_by_identifier(account_id, "crm-1"),
    "contacts": lambda reads, account_id: reads.contacts(account_id, query="c1@"),
    "conversation": lambda reads, account_id: reads.conversation(account_id, 1),
    "conversations": lambda reads, account_id: reads.conversations(account_id, ConversationFilter(inbox_ids=[1])),
    "last_seq_before": lambda reads, account_id: reads.last_seq_before(account_id, 1, 10**15),
    "log": lambda reads, account_id: reads.log(account_id, 1, after=0, limit=9),
    "message": lambda reads, account_id: reads.message(account_id, 1, 1),
    "messages": lambda reads, account_id: reads.messages(account_id, 1),
    "sent": lambda reads, account_id: reads.sent(account_id, 1, {"a"}),
    "last_seqs": lambda reads, account_id: reads.last_seqs(account_id, {1}),
    "job": lambda jobs, account_id: jobs.job(account_id, "a"),
    "jobs": lambda jobs, account_id: jobs.jobs(account_id, JobFilter()),
    "webhook": lambda jobs, account_id: jobs.webhook(account_id, 1),
    "webhooks": lambda jobs, account_id: jobs.webhooks(account_id),
    "delivery": lambda jobs, account_id: jobs.delivery(account_id, "a"),
    "deliveries": lambda jobs, account_id: jobs.deliveries(account_id, 1),
    "waiting_deliveries": lambda jobs, account_id: jobs.waiting_deliveries(account_id, 1, limit=9),
    "count_waiting_deliveries": lambda jobs, account_id: jobs.count_waiting_deliveries(account_id, 1, limit=9),
    "idle_conversations": lambda jobs, account_id: jobs.idle_conversations(account_id, inactive_since=T - 1, limit=9),
    "waiting_conversations": lambda jobs, account_id: jobs.waiting_conversations(account_id, waiting_since=T, limit=9),
}

#: What belongs to no account, or is the way to find out to which one something belongs.
WITHOUT_ACCOUNT = {
    "epoch", "inbox_by_identifier", "live_tokens", "memberships", "meta", "ping", "reserve", "token", "tokens_of",
    "user", "user_by_email",
    "accounts_with_setting", "claim_jobs", "job_wakeups", "prune_deliveries", "prune_jobs", "queue_counts", "queues",
    "release_jobs", "renew_leases", "rescue_jobs", "waiting_queues", "waiting_webhooks",
}  # fmt: skip

#: Names its own account and nothing else.
OF_THE_ACCOUNT_ITSELF = {"account"}


def methods_of_the_contract() -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for contract in (Reads, JobStore)
        for name, method in inspect.getmembers(contract, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_method_of_the_contract_is_either_tested_here_or_known_to_have_no_account() -> None:
    assert set(methods_of_the_contract()) == set(CASES) | WITHOUT_ACCOUNT | OF_THE_ACCOUNT_ITSELF


def test_every_method_with_an_account_takes_it_first() -> None:
    for name, signature in methods_of_the_contract().items():
        first = list(signature.parameters)[1:2]
        assert (first == ["account_id"]) == (name not in WITHOUT_ACCOUNT), name


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_another_account_finds_nothing(store: Store, case: Case) -> None:
    unit = Unit(OURS, account_log=True, new_seq=1, account_events=[account_event(1)])
    unit.writes = [Enqueue(job("a")), Insert(webhook(1)), Insert(delivery("a"))]
    chat = log_unit(0, message(1, client_id="a"), event(2), last_activity_at=T - 9, waiting_since=T)
    await commit_all(store, chat, unit)
    assert await case(store, OURS), "the case must find something, or it shows nothing"
    assert not await case(store, THEIRS)


async def test_an_account_s_records_are_its_own(store: Store) -> None:
    found = await store.account(THEIRS)
    assert found is not None
    assert [box.account_id for box in found.inboxes] == [THEIRS]
    assert [member.account_id for member in found.members] == [THEIRS]
    assert [member.account_id for member in found.inbox_members] == [THEIRS]
    assert list(found.users) == [21]
