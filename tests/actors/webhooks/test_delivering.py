"""What waits for a webhook is sent in order, again and again until it arrives, and no longer than that makes sense."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from trio.testing import MockClock

from tertulia.actors.webhooks import signing as webhook_signing
from tertulia.actors.webhooks.commands import (
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.actors.webhooks.port import Answer
from tertulia.engine.errors import Conflict, Invalid, NotFound

from ..kit import ADMINISTRATOR, STRANGER
from .kit import ERROR, OK, SILENCE, URL, Post, Town, open_town

MESSAGES = ("message.created",)
HOUR = 3_600.0


def verify(post: Post, *secrets: str) -> None:
    webhook_signing.verify(post.headers, post.body, secrets, post.at / 1000)


async def test_a_delivery_arrives_signed_and_its_attempt_is_logged(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("hello")
    await town.settle()
    [post] = town.network.posts
    assert (post.url, post.headers["Content-Type"], post.content) == (URL, "application/json", "hello")
    verify(post, webhook.secret)
    [delivery] = await town.deliveries(webhook)
    assert (delivery.id, delivery.state, delivery.payload.encode()) == (post.id, "delivered", post.body)
    assert delivery.attempts == [
        {"number": 1, "at": post.at, "status": 200, "duration": 100, "reason": None, "answer": "thanks"}
    ]
    assert post.at + 100 <= (delivery.finished_at or 0) <= post.at + 101


async def test_what_is_behind_a_delivery_that_fails_waits_for_it(town: Town, autojump_clock: MockClock) -> None:
    """A receiver that answers 500 twice, then hangs, then answers."""
    town.network.answers = [ERROR, ERROR, SILENCE]
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("one", "two", "three")
    await town.settle(HOUR)
    assert town.network.contents == ["one", "one", "one", "one", "two", "three"]
    assert len({post.id for post in town.network.posts}) == 3
    first, *others = await town.deliveries(webhook)
    assert [attempt["status"] for attempt in first.attempts] == [500, 500, None, 200]
    assert [attempt["number"] for attempt in first.attempts] == [1, 2, 3, 4]
    assert [len(delivery.attempts) for delivery in others] == [1, 1]


async def test_every_attempt_comes_later_than_the_one_before_with_a_tenth_of_jitter(
    town: Town, autojump_clock: MockClock
) -> None:
    town.network.answers = [ERROR] * 4
    await town.subscribe(events=MESSAGES)
    await town.say("hello")
    await town.settle(HOUR)
    times = [post.at / 1000 for post in town.network.posts]
    waits = [later - earlier - ERROR.duration for earlier, later in pairwise(times)]
    expected = WebhookLimits().delays[:4]
    for wait, delay in zip(waits, expected, strict=True):
        assert 0.9 * delay - 0.01 <= wait <= 1.1 * delay + 0.01
    assert waits != pytest.approx(expected, abs=1e-6)  # there is a jitter


async def test_every_attempt_is_signed_with_the_time_that_it_is_made_at(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR] * 4
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("hello")
    await town.settle(HOUR)
    assert len(town.network.posts) == 5
    for post in town.network.posts:
        verify(post, webhook.secret)
    first, *_, last = town.network.posts
    with pytest.raises(Invalid, match="clocks"):
        webhook_signing.verify(first.headers, first.body, [webhook.secret], last.at / 1000)


@pytest.mark.parametrize(("asked", "waited"), [(60.0, 60.0), (1.0, 4.5), (1e9, 600.0)])
async def test_a_receiver_that_asks_for_time_gets_it_within_bounds(
    asked: float, waited: float, autojump_clock: MockClock
) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(longest_retry_after=600.0)) as town:
        town.network.answers = [replace(ERROR, status=503, retry_after=asked)]
        await town.subscribe(events=MESSAGES)
        await town.say("hello")
        await town.settle(HOUR)
        first, second = [post.at / 1000 for post in town.network.posts]
        assert waited <= second - first <= waited + 2


async def test_a_delivery_that_is_out_of_attempts_fails_and_pauses_its_webhook(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(delays=(5.0,) * 7)) as town:
        town.network.answers = [ERROR] * 8
        webhook = await town.subscribe(events=MESSAGES)
        await town.say("one", "two")
        await town.settle(100.0)
        assert town.network.contents == ["one"] * 8
        first, second = await town.deliveries(webhook)
        assert (first.state, len(first.attempts), second.state) == ("failed", 8, "waiting")
        paused = await town.webhook(webhook.id)
        assert paused.paused_at is not None
        assert paused.paused_reason == f"8 attempts of one delivery failed. {ERROR.reason}"
        assert (await town.collaborators.access.of(1)).webhooks == ()


async def test_a_receiver_that_is_gone_is_asked_no_more(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [Answer(410, 0.1, "The receiver answered 410 (Gone).")]
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("hello")
    await town.settle(60.0)
    assert len(town.network.posts) == 1
    assert "410" in str((await town.webhook(webhook.id)).paused_reason)
    await town.ask_account(ResumeWebhook(ADMINISTRATOR, webhook.id))
    await town.settle()
    assert town.network.contents == ["hello", "hello"]  # it was never given up


async def test_a_webhook_too_far_behind_is_paused(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(waiting=5, page=3)) as town:
        town.network.answers = [ERROR] * 2
        webhook = await town.subscribe(events=MESSAGES)
        await town.say("one", *map(str, range(5)))
        await town.settle(HOUR)
        assert "More than 5 deliveries wait" in str((await town.webhook(webhook.id)).paused_reason)
        assert town.network.contents == ["one"]


async def test_how_much_waits_is_looked_at_also_while_nothing_is_sent(autojump_clock: MockClock) -> None:
    limits = WebhookLimits(waiting=5, page=3, delays=(HOUR,), look=60.0)
    async with open_town(autojump_clock, webhook_limits=limits) as town:
        town.network.answers = [ERROR]
        webhook = await town.subscribe(events=MESSAGES)
        await town.say("one")
        await town.settle(10.0)
        await town.say(*map(str, range(5)))
        assert (await town.webhook(webhook.id)).paused_at is None
        await town.settle(61.0)
        assert (await town.webhook(webhook.id)).paused_at is not None


async def test_events_add_no_jobs_while_a_webhook_waits(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR] * 4
    await town.subscribe(events=MESSAGES)
    await town.say("one")
    await town.settle(200.0)  # the fourth attempt is 15 minutes away
    await town.say(*map(str, range(20)))
    counts = await town.collaborators.jobs.store.queue_counts()
    assert [(count.state, count.jobs) for count in counts if count.state != "completed"] == [("scheduled", 1)]


async def test_a_job_that_has_run_long_enough_lets_others_run_and_goes_on(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(run=1.0)) as town:
        town.network.answers = [replace(OK, duration=0.6)] * 10
        webhook = await town.subscribe(events=MESSAGES)
        await town.say(*map(str, range(10)))
        await town.settle(60.0)
        assert town.network.contents == list(map(str, range(10)))
        jobs = await town.jobs_of("deliver_webhook")
        assert len(jobs) >= 5
        assert all(job.state == "completed" and (job.duration or 0) < 2_000 for job in jobs)
        assert {delivery.state for delivery in await town.deliveries(webhook)} == {"delivered"}


async def test_two_webhooks_do_not_wait_for_each_other(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR]
    slow = await town.subscribe("https://slow.example.org", events=MESSAGES)
    quick = await town.subscribe("https://quick.example.org", events=MESSAGES)
    await town.say("one", "two")
    await town.settle(3.0)
    assert [delivery.state for delivery in await town.deliveries(slow)] == ["waiting", "waiting"]
    assert [delivery.state for delivery in await town.deliveries(quick)] == ["delivered", "delivered"]


async def test_what_was_sent_and_not_written_down_is_sent_again_under_the_same_id(
    town: Town, autojump_clock: MockClock
) -> None:
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("hello")
    town.committer.faults.extend(["fail"] * 100)  # for longer than the writer's patience
    await town.settle(15.0)
    town.committer.faults.clear()
    await town.settle(60.0)
    first, *others = town.network.posts
    assert others
    assert {(post.id, post.body) for post in others} == {(first.id, first.body)}
    assert [delivery.state for delivery in await town.deliveries(webhook)] == ["delivered"]


# Rotation


async def test_after_a_rotation_both_secrets_verify_for_a_time_and_then_the_new_one(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(old_secret=60.0)) as town:
        old = await town.subscribe(events=MESSAGES)
        new = await town.ask_account(RotateWebhookSecret(ADMINISTRATOR, old.id))
        assert new.secret != old.secret
        await town.say("one")
        await town.settle(60.0)
        await town.say("two")
        await town.settle()
        during, after = town.network.posts
        verify(during, old.secret)
        verify(during, new.secret)
        verify(after, new.secret)
        with pytest.raises(Invalid, match="No signature"):
            verify(after, old.secret)


async def test_of_two_rotations_in_a_row_the_first_secret_is_not_valid_any_more(
    town: Town, autojump_clock: MockClock
) -> None:
    first = await town.subscribe(events=MESSAGES)
    second = await town.ask_account(RotateWebhookSecret(ADMINISTRATOR, first.id))
    third = await town.ask_account(RotateWebhookSecret(ADMINISTRATOR, first.id))
    await town.say("hello")
    await town.settle()
    [post] = town.network.posts
    verify(post, second.secret)
    verify(post, third.secret)
    with pytest.raises(Invalid, match="No signature"):
        verify(post, first.secret)


# What people do


async def test_a_delivery_is_sent_again_by_hand_as_it_was(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("one", "two")
    await town.settle()
    first, _ = await town.deliveries(webhook)
    answer = await town.ask_account(RedeliverWebhook(ADMINISTRATOR, first.id))
    assert (answer.id, answer.state, answer.finished_at) == (first.id, "waiting", None)
    await town.settle()
    assert town.network.contents == ["one", "two", "one"]
    posts = town.network.posts
    assert (posts[0].id, posts[0].body) == (posts[2].id, posts[2].body)
    again = (await town.deliveries(webhook))[0]
    assert (again.state, [attempt["number"] for attempt in again.attempts]) == ("delivered", [1, 1])


async def test_a_redelivery_has_all_its_attempts_again(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(delays=(5.0, 5.0))) as town:
        town.network.answers = [ERROR] * 5
        webhook = await town.subscribe(events=MESSAGES)
        await town.say("one")
        await town.settle(60.0)
        [failed] = await town.deliveries(webhook)
        assert failed.state == "failed"
        await town.ask_account(ResumeWebhook(ADMINISTRATOR, webhook.id))
        await town.ask_account(RedeliverWebhook(ADMINISTRATOR, failed.id))
        await town.settle(60.0)
        [delivered] = await town.deliveries(webhook)
        assert delivered.state == "delivered"
        assert [attempt["number"] for attempt in delivered.attempts] == [1, 2, 3, 1, 2, 3]


async def test_a_redelivery_does_not_wait_behind_a_delivery_that_fails(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("one")
    await town.settle()
    town.network.answers = [ERROR] * 4
    await town.say("two")
    await town.settle(200.0)
    first, _ = await town.deliveries(webhook)
    await town.ask_account(RedeliverWebhook(ADMINISTRATOR, first.id))
    await town.settle()
    assert town.network.contents == ["one", *["two"] * 4, "one"]
    await town.settle(HOUR)
    assert town.network.contents == ["one", *["two"] * 4, "one", "two"]


async def test_what_waits_is_not_sent_again_by_hand(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR]
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("hello")
    await town.settle()
    [waiting] = await town.deliveries(webhook)
    with pytest.raises(Conflict, match="waits"):
        await town.ask_account(RedeliverWebhook(ADMINISTRATOR, waiting.id))
    await town.ask_account(PauseWebhook(ADMINISTRATOR, webhook.id))
    with pytest.raises(Conflict, match="resume"):
        await town.ask_account(RedeliverWebhook(ADMINISTRATOR, waiting.id))


async def test_nobody_sends_another_account_s_deliveries(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("hello")
    await town.settle()
    [delivery] = await town.deliveries(webhook)
    for by, id in ((STRANGER, delivery.id), (STRANGER, "msg_none")):
        with pytest.raises(NotFound):
            await town.ask_account(RedeliverWebhook(by, id), account=2)
        with pytest.raises(NotFound):
            await town.ask_account(RedeliverWebhook(by, id), account=1)
    await town.settle()
    assert len(town.network.posts) == 1


async def test_a_paused_webhook_is_sent_nothing_until_it_is_resumed(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR]
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("one", "two")
    await town.settle(1.0)
    await town.ask_account(PauseWebhook(ADMINISTRATOR, webhook.id, "We move."))
    await town.settle(HOUR)
    assert town.network.contents == ["one"]
    await town.ask_account(ResumeWebhook(ADMINISTRATOR, webhook.id))
    await town.settle()
    assert town.network.contents == ["one", "one", "two"]


async def test_a_new_url_is_tried_at_once(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR] * 4
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("one", "two")
    await town.settle(200.0)
    await town.ask_account(UpdateWebhook(ADMINISTRATOR, webhook.id, url="https://new.example.org/"))
    await town.settle()
    assert [post.url for post in town.network.posts][-2:] == ["https://new.example.org/"] * 2
    assert town.network.contents[-2:] == ["one", "two"]


async def test_what_waits_for_a_deleted_webhook_is_gone(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR]
    webhook = await town.subscribe(events=MESSAGES)
    await town.say("one", "two")
    await town.settle(1.0)
    await town.ask_account(DeleteWebhook(ADMINISTRATOR, webhook.id))
    await town.settle(HOUR)
    assert await town.deliveries(webhook) == []
    assert town.network.contents == ["one"]
