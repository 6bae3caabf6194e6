"""How many connections there are, which are used again, and that none is left behind. Real sockets, virtual time."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.webhooks.port import Answer, WebhookSender
from tertulia.api.webhook_sender import WebhookSenderLimits, open_webhook_sender

from .receiver import BODY, JSON, LOCAL, OK, Certificate, Names, Received, accept, answer, close, hang, receiving


async def test_a_connection_is_used_again(autojump_clock: MockClock) -> None:
    async with receiving() as receiver, open_webhook_sender(LOCAL) as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        assert [(await sender.post(url, JSON, BODY)).status for _ in range(3)] == [200, 200, 200]
        assert (len(receiver.requests), receiver.connections) == (3, 1)
    await wait_all_tasks_blocked()
    assert receiver.open == 0


async def test_a_connection_is_not_used_again_after_an_answer_that_was_not_read_to_its_end(
    autojump_clock: MockClock,
) -> None:
    async with (
        receiving(answer("200 OK", body=b"z" * 1_000_000), accept) as receiver,
        open_webhook_sender(LOCAL) as sender,
    ):
        url = f"http://127.0.0.1:{receiver.port}/"
        bodies = [(await sender.post(url, JSON, BODY)).body for _ in range(2)]
    assert bodies == ["z" * 500, "ok"]
    assert receiver.connections == 2


async def test_every_answer_on_a_connection_may_have_the_full_length(autojump_clock: MockClock) -> None:
    async with (
        receiving(answer("200 OK", body=b"z" * 100)) as receiver,
        open_webhook_sender(replace(LOCAL, answer=200)) as sender,
    ):
        url = f"http://127.0.0.1:{receiver.port}/"
        bodies = [(await sender.post(url, JSON, BODY)).body for _ in range(3)]
    assert bodies == ["z" * 100] * 3
    assert receiver.connections == 1


async def test_connections_that_the_receiver_closed_are_replaced(autojump_clock: MockClock) -> None:
    async def answer_and_close(stream: trio.abc.Stream, request: Received) -> None:
        await stream.send_all(OK)
        await stream.aclose()

    async with receiving(answer_and_close) as receiver, open_webhook_sender(LOCAL) as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        for _ in range(3):
            assert (await sender.post(url, JSON, BODY)).ok
            await wait_all_tasks_blocked()
    assert receiver.connections == 3


async def test_a_kept_connection_that_ends_in_between_costs_no_attempt(autojump_clock: MockClock) -> None:
    """The receiver closes it at the moment when it is used again."""
    async with receiving(accept, close, accept) as receiver, open_webhook_sender(LOCAL) as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        answers = [await sender.post(url, JSON, BODY) for _ in range(2)]
    assert [answered.ok for answered in answers] == [True, True]
    assert (len(receiver.requests), receiver.connections) == (3, 2)


async def test_an_idle_connection_is_kept_for_its_time_only(autojump_clock: MockClock) -> None:
    limits = replace(LOCAL, keep_alive=1e-9)
    async with receiving() as receiver, open_webhook_sender(limits) as sender:
        for _ in range(2):
            assert (await sender.post(f"http://127.0.0.1:{receiver.port}/", JSON, BODY)).ok
    assert receiver.connections == 2


async def test_idle_connections_are_bounded(autojump_clock: MockClock) -> None:
    limits = replace(LOCAL, idle_connections=1)
    async with receiving() as one, receiving() as other, open_webhook_sender(limits) as sender:
        for receiver in (one, other):
            assert (await sender.post(f"http://127.0.0.1:{receiver.port}/", JSON, BODY)).ok
        await wait_all_tasks_blocked()
        assert (one.open, other.open) == (0, 1)


async def test_a_connection_that_could_not_be_made_takes_the_place_of_no_idle_one(autojump_clock: MockClock) -> None:
    async with receiving() as receiver, open_webhook_sender(replace(LOCAL, idle_connections=1)) as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        assert (await sender.post(url, JSON, BODY)).ok
        assert not (await sender.post(url.replace("127.0.0.1", "127.0.0.2"), JSON, BODY)).ok
        await wait_all_tasks_blocked()
        assert receiver.open == 1


async def test_when_the_sender_is_left_every_idle_connection_ends_also_in_a_hurry(autojump_clock: MockClock) -> None:
    async with receiving() as one, receiving() as other:
        with trio.CancelScope() as hurry:
            async with open_webhook_sender(LOCAL) as sender:
                for receiver in (one, other):
                    assert (await sender.post(f"http://127.0.0.1:{receiver.port}/", JSON, BODY)).ok
                hurry.cancel()
        await wait_all_tasks_blocked()
        assert (one.open, other.open) == (0, 0)


async def test_an_attempt_that_outlives_the_sender_leaves_no_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    go_on = trio.Event()

    async def wait(stream: trio.abc.Stream, request: Received) -> None:
        await go_on.wait()
        await accept(stream, request)

    async with receiving(wait) as receiver:
        async with open_webhook_sender(LOCAL) as sender:
            nursery.start_soon(sender.post, f"http://127.0.0.1:{receiver.port}/", JSON, BODY)
            await wait_all_tasks_blocked()
        go_on.set()
        await wait_all_tasks_blocked()
        assert (receiver.connections, receiver.open) == (1, 0)


async def test_there_is_a_limit_for_all_hosts_together(autojump_clock: MockClock) -> None:
    limits = replace(LOCAL, connections=2)
    names = Names(a_example=["127.0.0.1"], b_example=["127.0.0.1"], c_example=["127.0.0.1"])
    async with receiving(hang) as receiver, open_webhook_sender(limits, resolve=names) as sender:
        async with trio.open_nursery() as nursery:
            for host in "abc":
                nursery.start_soon(sender.post, f"http://{host}.example:{receiver.port}/", JSON, BODY)
            await wait_all_tasks_blocked()
            assert receiver.connections == 2
        assert receiver.connections == 3


async def test_a_slow_host_holds_up_only_itself(autojump_clock: MockClock) -> None:
    limits = replace(LOCAL, connections=3, connections_per_host=2)
    names = Names(slow_example=["127.0.0.1"], quick_example=["127.0.0.1"])
    answers: list[Answer] = []

    async with receiving(hang) as slow, receiving() as quick, open_webhook_sender(limits, resolve=names) as sender:

        async def deliver(sender: WebhookSender) -> None:
            answers.append(await sender.post(f"http://slow.example:{slow.port}/", JSON, BODY))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(deliver, sender)
            await wait_all_tasks_blocked()
            answered = await sender.post(f"http://quick.example:{quick.port}/", JSON, BODY)
            assert (answered.ok, answered.duration, slow.connections) == (True, 0.0, 2)
    assert slow.connections == 4
    # The time in line is not the receiver's.
    assert [answered.duration for answered in answers] == [pytest.approx(5, abs=0.01)] * 4


async def test_a_slow_receiver_holds_up_no_other_at_the_same_host(autojump_clock: MockClock) -> None:
    limits = replace(LOCAL, connections_per_host=1)
    async with (
        receiving(hang) as slow,
        receiving() as quick,
        open_webhook_sender(limits) as sender,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(sender.post, f"http://127.0.0.1:{slow.port}/", JSON, BODY)
        await wait_all_tasks_blocked()
        answered = await sender.post(f"http://127.0.0.1:{quick.port}/", JSON, BODY)
        assert (answered.ok, slow.connections) == (True, 1)


def test_one_account_cannot_take_all_connections_to_a_host_that_others_use() -> None:
    assert WebhookSenderLimits().connections_per_host >= 2 * JobLimits().per_account


async def test_an_attempt_that_is_cancelled_closes_its_connection_and_leaves_its_place(
    autojump_clock: MockClock,
) -> None:
    async def wait_for_the_end(stream: trio.abc.Stream, request: Received) -> None:
        await stream.receive_some()

    limits = replace(LOCAL, connections=1, connections_per_host=1)
    async with receiving(wait_for_the_end, accept) as receiver, open_webhook_sender(limits) as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        with trio.move_on_after(1) as given_up:
            await sender.post(url, JSON, BODY)
        await wait_all_tasks_blocked()
        assert (given_up.cancelled_caught, receiver.connections, receiver.open) == (True, 1, 0)
        assert (await sender.post(url, JSON, BODY)).ok


async def test_wherever_an_attempt_is_cancelled_nothing_is_left_behind(
    autojump_clock: MockClock, certificate: Certificate
) -> None:
    """Every turn of the event loop is tried, from before the connection to after the answer."""
    limits = replace(LOCAL, connections=1, connections_per_host=1, idle_connections=0, ca_file=certificate.authority)
    names = Names(receiver_example=["127.0.0.1"])
    outcomes: list[bool] = []

    async with (
        receiving(tls=certificate.server_side()) as receiver,
        open_webhook_sender(limits, resolve=names) as sender,
    ):

        async def attempt(scope: trio.CancelScope) -> None:
            with scope:
                await sender.post(f"https://receiver.example:{receiver.port}/", JSON, BODY)
            outcomes.append(scope.cancelled_caught)

        while not outcomes or outcomes[-1]:
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(attempt, scope)
                for _ in range(len(outcomes)):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await wait_all_tasks_blocked()
        assert receiver.open == 0
    gc.collect()  # a socket or a generator left behind would be a warning now, and a warning is an error
    assert len(outcomes) > 10
