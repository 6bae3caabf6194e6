from __future__ import annotations

from typing import cast

import pytest

from tertulia.api.settings import (
    ServerSettings,
    Settings,
    WrongSetting,
    address_of,
    check_nodes,
    settings_from,
    shown,
    variables,
)


def test_without_variables_the_defaults_hold() -> None:
    assert settings_from({"PATH": "/bin"}) == Settings()


def test_a_variable_sets_the_field_of_its_section_in_the_fields_type() -> None:
    settings = settings_from({"TERTULIA_CHAT_VISITOR_RATE": "0.5", "TERTULIA_MAILBOX_COMMANDS": "7"})
    assert settings.chat.visitor_rate == 0.5
    assert settings.mailbox.commands == 7
    assert settings.engine.mailbox.commands == 7


def test_a_list_is_written_with_commas() -> None:
    settings = settings_from({"TERTULIA_ORIGINS": "https://a.example, https://b.example"})
    assert settings.server.origins == ("https://a.example", "https://b.example")


def test_a_list_of_numbers_is_written_with_commas_too() -> None:
    assert settings_from({"TERTULIA_WEBHOOK_DELAYS": "1, 2.5,60"}).webhook.delays == (1.0, 2.5, 60.0)


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"TERTULIA_BIND": "127.0.0.1:1"}
    assert settings_from(environment, bind="127.0.0.1:2").server.bind == "127.0.0.1:2"
    assert settings_from(environment, bind=None).server.bind == "127.0.0.1:1"


def test_variables_of_the_test_suite_are_left_alone() -> None:
    assert settings_from({"TERTULIA_TEST_POSTGRES": "postgresql://x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("TERTULIA_CHAT_VISITOR_RAET", "2", "There is no setting TERTULIA_CHAT_VISITOR_RAET"),
        ("TERTULIA_CHAT_CONTENT", "lots", "TERTULIA_CHAT_CONTENT is 'lots'"),
        ("TERTULIA_SOCKETS_OUTBOX", "-1", "SocketLimits.outbox is -1"),
        ("TERTULIA_WEBHOOK_DELAYS", "5,soon", "TERTULIA_WEBHOOK_DELAYS is '5,soon'; it must be values of type float"),
        ("TERTULIA_WEBHOOK_DELAYS", "5,0", "WebhookLimits.delays must be greater than zero"),
        ("TERTULIA_WEBHOOK_PAGE", "0", "WebhookLimits.page must be greater than zero"),
        ("TERTULIA_JOBS_RUN", "maybe", "TERTULIA_JOBS_RUN is 'maybe'; it must be true or false"),
        ("TERTULIA_JOBS_LEASE", "5", "JobLimits.lease must be at least twice the heartbeat"),
        ("TERTULIA_JOBS_POOL", "0", "JobLimits.pool must be greater than zero"),
        ("TERTULIA_WEBHOOK_SENDER_TIMEOUT", "0", "WebhookSenderLimits.timeout must be greater than zero"),
        ("TERTULIA_WEBHOOK_SENDER_ALLOWED_NETWORKS", "10.0.0.1/8", "'10.0.0.1/8' is no network to allow"),
        ("TERTULIA_BIND", "8000", "'8000' is no address"),
        ("TERTULIA_BIND", "localhost:99999", "no address to bind to"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(name: str, value: str, complaint: str) -> None:
    with pytest.raises(WrongSetting, match=complaint):
        settings_from({name: value})


@pytest.mark.parametrize(
    ("bind", "address"),
    [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:80", ("::1", 80)), ("0.0.0.0:0", ("0.0.0.0", 0))],
)
def test_an_address_is_a_host_and_a_port(bind: str, address: tuple[str, int]) -> None:
    assert address_of(bind) == address


def test_every_variable_can_be_set_to_the_value_that_it_has() -> None:
    settings = Settings()
    for name, (section, item) in variables().items():
        value: object = getattr(getattr(settings, section), item)
        text = ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)
        assert settings_from({name: text}) == settings, name


def test_nodes_and_their_parts_are_set_like_everything_else() -> None:
    environment = {
        "TERTULIA_REDIS": "redis://r",
        "TERTULIA_WORKERS": "3",
        "TERTULIA_CLUSTER_NODE_TTL": "7.5",
        "TERTULIA_POSTGRES_CONNECTIONS": "4",
        "TERTULIA_BUS_MAX_BACKOFF": "9",
        "TERTULIA_WORKER_STEADY": "1.5",
    }
    settings = settings_from(environment)
    assert (settings.server.redis, settings.server.workers) == ("redis://r", 3)
    assert settings.cluster.node_ttl == 7.5
    assert settings.postgres.connections == 4
    assert settings.bus.max_backoff == 9.0
    assert settings.worker.steady == 1.5


def test_a_node_that_is_silent_between_two_heartbeats_is_not_given_up() -> None:
    with pytest.raises(WrongSetting, match="node_ttl must be greater than heartbeat"):
        settings_from({"TERTULIA_CLUSTER_HEARTBEAT": "6"})


@pytest.mark.parametrize(
    ("database", "redis", "workers"),
    [
        ("sqlite:///tertulia.db", "", 1),
        ("memory:", "", 1),
        ("postgresql://db/chat", "", 1),
        ("postgres://db/chat", "redis://r:6379/0", 1),
        ("postgresql://db/chat", "rediss://r", 4),
        ("postgresql://db/chat", "unix:///run/redis.sock", 2),
    ],
)
def test_nodes_that_share_a_database_and_a_bus_are_accepted(database: str, redis: str, workers: int) -> None:
    check_nodes(ServerSettings(database=database, redis=redis, workers=workers))


@pytest.mark.parametrize(
    ("database", "redis", "workers", "complaint"),
    [
        ("sqlite:///tertulia.db", "", 2, "can serve one process only; 2 workers need --database postgresql"),
        ("memory:", "redis://r", 2, "can serve one process only; 2 workers need"),
        ("sqlite:///tertulia.db", "redis://r", 1, "can serve one process only; --redis needs --database postgresql"),
        ("postgresql://db/chat", "", 2, "2 workers need --redis"),
        ("postgresql://db/chat", "http://:secret@r", 1, "begins with redis://, rediss:// or unix://"),
        ("postgresql://db/chat", "", 0, "must be 1 or more"),
    ],
)
def test_nodes_that_could_not_share_their_work_are_refused(
    database: str, redis: str, workers: int, complaint: str
) -> None:
    with pytest.raises(WrongSetting, match=complaint) as refused:
        check_nodes(ServerSettings(database=database, redis=redis, workers=workers))
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://chat:secret@db:5432/chat", "postgresql://***@db:5432/chat"),
        ("redis://:s/e@cret@r/0", "redis://***@r/0"),
        ("postgresql:///chat?host=db&password=secret&user=u", "postgresql:///chat?host=db&password=***&user=u"),
        ("sqlite:///tertulia.db", "sqlite:///tertulia.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, expected: str) -> None:
    assert shown(url) == expected
