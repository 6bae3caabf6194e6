"""The opening handshake as values: what is asked for, what is answered, and that nothing a client writes breaks it."""

from __future__ import annotations

import base64

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.utilities import LocalProtocolError

from tertulia.engine.handshake import FULL_SEGMENT, BadHandshake, Handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = {
    "Host": "chat.example",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def head(target: str = "/cable", **changes: str) -> bytes:
    """`Sec_WebSocket_Key="x"` sets a header; an empty value leaves it out."""
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def response(data: bytes) -> h11.Response | h11.InformationalResponse:
    """What an HTTP client makes of the answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/cable", headers=[*HEADERS.items()]))
    client.receive_data(data)
    answer = client.next_event()
    assert isinstance(answer, h11.Response | h11.InformationalResponse)
    return answer


def refusal_of(data: bytes) -> h11.Response | h11.InformationalResponse:
    with pytest.raises(BadHandshake) as bad:
        Handshake(data)
    return response(bad.value.answer)


def test_the_request_is_read_as_values() -> None:
    offer = "anycable-token.secret, actioncable-v1-json"
    request = Handshake(
        head("/cable?token=a%20b&empty=", Sec_WebSocket_Protocol=offer, X_Account_Id="7"), "::1"
    ).request
    assert request.path == "/cable"
    assert request.query == {"token": "a b", "empty": ""}
    assert request.subprotocols == ("anycable-token.secret", "actioncable-v1-json")
    assert (request.headers["host"], request.headers["x-account-id"], request.client) == ("chat.example", "7", "::1")


@pytest.mark.parametrize("subprotocol", [None, "actioncable-v1-json"])
def test_the_answer_fills_a_segment_so_that_small_frames_are_not_each_acknowledged(subprotocol: str | None) -> None:
    answer = Handshake(head(Sec_WebSocket_Protocol=subprotocol or "")).accept(subprotocol)
    assert len(answer) == FULL_SEGMENT
    assert response(answer).status_code == 101


def test_the_answer_proves_that_the_key_was_read() -> None:
    """The example of RFC 6455, section 1.3."""
    answer = response(Handshake(head()).accept(None))
    assert answer.status_code == 101
    assert dict(answer.headers)[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert b"sec-websocket-protocol" not in dict(answer.headers)


def test_connection_is_a_list_in_which_upgrade_is_one_token_in_any_case() -> None:
    assert Handshake(head(Connection="keep-alive, uPGRADE")).request.path == "/cable"
    assert refusal_of(head(Connection="keep-alive, upgraded")).status_code == 400


@pytest.mark.parametrize("version", ["", "8", "0", "14", "13, 8"])
def test_another_version_is_told_ours(version: str) -> None:
    answer = refusal_of(head(Sec_WebSocket_Version=version))
    assert answer.status_code == 426
    assert dict(answer.headers)[b"sec-websocket-version"] == b"13"


@given(st.binary(max_size=40).map(lambda raw: (raw, base64.b64encode(raw).decode())))
def test_a_key_is_sixteen_bytes(pair: tuple[bytes, str]) -> None:
    raw, key = pair
    if len(raw) == 16:
        assert Handshake(head(Sec_WebSocket_Key=key)).accept(None)
    else:
        assert refusal_of(head(Sec_WebSocket_Key=key)).status_code == 400


def test_only_what_was_offered_can_be_selected_so_that_nothing_is_injected() -> None:
    with pytest.raises(LocalProtocolError):
        Handshake(head(Sec_WebSocket_Protocol="a")).accept("a\r\nSet-Cookie: x=1")


@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=b"\r\n\r\n")
def test_any_bytes_get_an_answer_that_is_http(data: bytes) -> None:
    assert 400 <= refusal_of(data + b"\r\n\r\n").status_code < 500


names = st.sampled_from([*HEADERS, "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Content-Length", "X"])
values = st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=20)


@given(target=values, changes=st.dictionaries(names, values, max_size=3))
@example(target="/cable", changes={"Host": "xn--\xff"})
@example(target="//[", changes={})
def test_any_values_in_an_upgrade_get_an_upgrade_or_an_answer_that_is_http(
    target: str, changes: dict[str, str]
) -> None:
    data = head(target, **{name.replace("-", "_"): value for name, value in changes.items()})
    try:
        answer = Handshake(data).accept(None)
    except BadHandshake as bad:
        answer = bad.answer
    assert response(answer).status_code in {101, 400, 426}
