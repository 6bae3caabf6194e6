"""What an operator sees of the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import trio

from .cable_client import EXTENDED_JSON, connect, conversation
from .server_process import command, environment, make_demo, run, serving, url_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_server_and_it_exits_with_0(tmp_path: Path, how: signal.Signals) -> None:
    demo = make_demo(tmp_path / "chat.db", 1)
    async with serving(tmp_path / "chat.db") as server:
        async with connect(server.cable_url, demo["users"][0]["token"]) as client, trio.open_nursery() as nursery:
            statuses: list[int] = []

            async def stop() -> None:
                statuses.append(await server.stop(how))

            nursery.start_soon(stop)
            goodbye = await client.frame_of_type("disconnect")
        assert goodbye == {"type": "disconnect", "reason": "server_restart", "reconnect": True}
        assert statuses == [0]


async def test_serving_a_demo_prints_tokens_that_open_the_chat(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", arguments=("--demo",)) as server:
        exported = dict(
            line.removeprefix("export ").split("=", 1) for line in server.lines if line.startswith("export ")
        )
        async with connect(server.cable_url, exported["TOKEN"], EXTENDED_JSON) as agent:
            await agent.subscribe(conversation(1))
            async with httpx.AsyncClient() as http:
                answer = await http.post(
                    f"{server.url}/api/v1/conversations/1/messages",
                    headers={"Authorization": f"Bearer {exported['VISITOR_TOKEN']}", "X-Account-Id": "1"},
                    json={"content": "Hello, is anybody there?", "client_id": "first"},
                )
                page = await http.get(server.url, follow_redirects=True)
            assert answer.status_code == 201
            event = await agent.event("message.created")
            assert event["message"]["data"]["content"] == "Hello, is anybody there?"
            assert (page.status_code, page.url.path) == (200, "/demo")
            assert exported["VISITOR_TOKEN"] in page.text


def test_a_demo_is_idempotent_and_its_ids_are_consecutive(tmp_path: Path) -> None:
    first = make_demo(tmp_path / "chat.db", 25)
    assert make_demo(tmp_path / "chat.db", 25) == first
    assert [user["role"] for user in first["users"]] == ["administrator", "agent", "agent", "viewer"]
    contacts = [contact["id"] for contact in first["contacts"]]
    conversations = [contact["conversation_id"] for contact in first["contacts"]]
    assert contacts == list(range(contacts[0], contacts[0] + 25))
    assert conversations == list(range(conversations[0], conversations[0] + 25))


def test_ten_thousand_demo_conversations_take_less_than_20_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    assert len(make_demo(tmp_path / "chat.db", 10_000)["contacts"]) == 10_000
    assert time.monotonic() - began < 20


async def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db") as server:
        bind = server.url.removeprefix("http://")
        second = await trio.to_thread.run_sync(run, "serve", "--bind", bind, "--database", "memory:")
    assert second.returncode == 2
    assert second.stderr == f"tertulia: The server cannot listen on {bind}: Address already in use.\n"


async def test_a_second_server_on_the_same_database_says_so_and_exits(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    async with serving(database):
        second = await trio.to_thread.run_sync(run, "serve", "--bind", "127.0.0.1:0", "--database", url_of(database))
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "open in another server" in second.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "complaint"),
    [
        (("serve", "--bind", "nowhere"), {}, "no address to bind to"),
        (("serve", "--database", "oracle://x"), {}, "names no store"),
        (("serve", "--database", "sqlite:////no/such/folder/chat.db"), {}, "/no/such/folder/chat.db"),
        (
            ("serve", "--database", "postgresql://127.0.0.1:1/chat"),
            {},
            "127.0.0.1:1/chat cannot be reached",
        ),
        (("serve", "--workers", "2"), {}, "2 workers need --database postgresql://"),
        (("serve",), {"TERTULIA_CHAT_VISITOR_RATE": "many"}, "TERTULIA_CHAT_VISITOR_RATE"),
        (("serve",), {"TERTULIA_BINDD": "x"}, "There is no setting TERTULIA_BINDD"),
        (("serve",), {"TERTULIA_MAILBOX_COMMANDS": "0"}, "greater than zero"),
        (("serve", "--database", "memory:", "--jobs", "no.such"), {}, "'no.such' cannot be imported"),
        (("worker", "--database", "memory:"), {"TERTULIA_JOBS_MODULE": "this"}, "this has no function jobs"),
        (
            ("worker", "--database", "memory:"),
            {"TERTULIA_WEBHOOK_SENDER_CA_FILE": "/no/such"},
            "/no/such cannot be read",
        ),
        (("worker", "--database", "sqlite:///x.db", "--redis", "redis://r"), {}, "can serve one process only"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_exit_status_2(
    arguments: tuple[str, ...], variables: dict[str, str], complaint: str
) -> None:
    done = run(*arguments, **variables)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("this is a letter to my aunt, " * 200)
    done = run("migrate", "--database", url_of(path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "worker", "queue", "demo", "account", "migrate", "settings"])
def test_every_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "usage: tertulia" in done.stdout


def test_settings_lists_every_limit_with_its_variable() -> None:
    done = run("settings", TERTULIA_BIND="127.0.0.1:9999")
    assert "TERTULIA_BIND=127.0.0.1:9999" in done.stdout
    assert "TERTULIA_LIFECYCLE_IDLE=120.0" in done.stdout
    assert "TERTULIA_WEBHOOK_DELAYS=5.0,30.0," in done.stdout
    assert "TERTULIA_JOBS_QUEUES=\n" in done.stdout


def test_an_account_made_on_the_command_line_can_be_signed_in_to(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    made = subprocess.run(
        command("account", "--database", url_of(database), "--name", "Bakery", "--email", "Ines@example.com"),
        env=environment(), input="a good password\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "ines@example.com" in made.stdout

    async def sign_in() -> httpx.Response:
        async with serving(database) as server, httpx.AsyncClient() as http:
            credentials = {"email": "ines@example.com", "password": "a good password"}
            return await http.post(f"{server.url}/api/v1/auth/sign_in", json=credentials)

    answer = trio.run(sign_in)
    assert answer.status_code in {200, 201}, answer.text
    assert json.loads(answer.text)["data"]["token"]


def test_migrating_with_a_new_epoch_voids_positions(tmp_path: Path) -> None:
    database = url_of(tmp_path / "chat.db")
    before = run("migrate", "--database", database).stdout
    assert run("migrate", "--database", database).stdout == before
    assert run("migrate", "--database", database, "--new-epoch").stdout != before
