from __future__ import annotations

from typing import cast

import pytest

from tertulia.api.settings import Settings, WrongSetting, address_of, settings_from, variables


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
        text = ",".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
        assert settings_from({name: text}) == settings, name
