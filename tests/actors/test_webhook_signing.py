"""A receiver can tell what a holder of the secret sent just now from everything else, with anybody's verifier."""

from __future__ import annotations

from base64 import b64encode

import pytest

from tertulia.actors.webhooks.signing import headers, key_of, new_secret, verify
from tertulia.engine.errors import Invalid

# The example of Standard Webhooks' own libraries: test_sign_function in libraries/python/tests/test_webhooks.py.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

OTHER_SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
SIGNED = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": SIGNATURE}


def test_a_signature_is_the_one_that_the_standard_publishes() -> None:
    assert headers(ID, TIMESTAMP, BODY, [SECRET]) == SIGNED


def test_the_published_example_is_verified() -> None:
    verify(SIGNED, BODY, [SECRET], now=TIMESTAMP)


def test_while_secrets_rotate_each_signs_and_the_newest_comes_first() -> None:
    old, new = SECRET, OTHER_SECRET
    signed = headers(ID, TIMESTAMP, BODY, [new, old])
    first, second = signed["webhook-signature"].split(" ")
    assert (first, second) == (headers(ID, TIMESTAMP, BODY, [new])["webhook-signature"], SIGNATURE)


def test_a_receiver_that_knows_one_of_the_secrets_accepts_a_delivery() -> None:
    signed = headers(ID, TIMESTAMP, BODY, [OTHER_SECRET, SECRET])
    verify(signed, BODY, [SECRET], now=TIMESTAMP)
    verify(signed, BODY, [OTHER_SECRET], now=TIMESTAMP)
    verify(headers(ID, TIMESTAMP, BODY, [SECRET]), BODY, [OTHER_SECRET, SECRET], now=TIMESTAMP)


def test_names_of_headers_are_found_in_any_case() -> None:
    verify({name.title(): value for name, value in SIGNED.items()}, BODY, [SECRET], now=TIMESTAMP)


def test_signatures_of_other_versions_are_passed_over() -> None:
    verify(SIGNED | {"webhook-signature": f"v1a,abcd v2 {SIGNATURE}"}, BODY, [SECRET], now=TIMESTAMP)


@pytest.mark.parametrize(
    ("change", "body", "secrets"),
    [
        ({}, b'{"test": 2432232315}', [SECRET]),
        ({}, BODY, [OTHER_SECRET]),
        ({}, BODY, []),
        ({"webhook-id": "msg_other"}, BODY, [SECRET]),
        ({"webhook-timestamp": str(TIMESTAMP + 1)}, BODY, [SECRET]),
        ({"webhook-signature": SIGNATURE.removeprefix("v1,")}, BODY, [SECRET]),
        ({"webhook-signature": SIGNATURE.replace("v1,", "v1a,")}, BODY, [SECRET]),
        ({"webhook-signature": "v1,"}, BODY, [SECRET]),
        ({"webhook-signature": ""}, BODY, [SECRET]),
        ({"webhook-signature": "v1,\udcffé"}, BODY, [SECRET]),
    ],
)
def test_what_was_changed_or_signed_by_others_is_refused(
    change: dict[str, str], body: bytes, secrets: list[str]
) -> None:
    with pytest.raises(Invalid, match="No signature"):
        verify(SIGNED | change, body, secrets, now=TIMESTAMP)


@pytest.mark.parametrize("missing", SIGNED)
def test_without_one_of_its_headers_a_delivery_is_refused(missing: str) -> None:
    with pytest.raises(Invalid, match=missing):
        verify({name: value for name, value in SIGNED.items() if name != missing}, BODY, [SECRET], now=TIMESTAMP)


@pytest.mark.parametrize(
    "timestamp", ["", "soon", "1614265330.5", "-1", "+1614265330", "1" * 5000, "\N{FULLWIDTH DIGIT ONE}"]
)
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    with pytest.raises(Invalid):
        verify(SIGNED | {"webhook-timestamp": timestamp}, BODY, [SECRET], now=TIMESTAMP)


def test_a_recorded_delivery_is_refused_once_it_is_too_old() -> None:
    verify(SIGNED, BODY, [SECRET], now=TIMESTAMP + 300)
    verify(SIGNED, BODY, [SECRET], now=TIMESTAMP - 300)
    for now in (TIMESTAMP + 301, TIMESTAMP - 301):
        with pytest.raises(Invalid, match="clocks"):
            verify(SIGNED, BODY, [SECRET], now=now)


def test_parts_of_what_is_signed_cannot_be_moved_across_a_full_stop() -> None:
    """`a.1` at 2 and `a` at 1 with a body that begins with `2.` would be signed alike."""
    with pytest.raises(ValueError, match="cannot be signed"):
        headers("a.1", 2, BODY, [SECRET])
    moved = headers("a", TIMESTAMP, b"%d.{}" % TIMESTAMP, [SECRET]) | {"webhook-id": f"a.{TIMESTAMP}"}
    with pytest.raises(Invalid):
        verify(moved, b"{}", [SECRET], now=TIMESTAMP)


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError, match="0 secrets"):
        headers(ID, TIMESTAMP, BODY, [])


def test_a_new_secret_is_long_enough_and_never_the_same() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert len(key_of(one)) == 32
    verify(headers(ID, TIMESTAMP, BODY, [one]), BODY, [one], now=TIMESTAMP)


@pytest.mark.parametrize("size", [24, 64])
def test_a_secret_has_from_24_to_64_bytes(size: int) -> None:
    assert key_of("whsec_" + b64encode(bytes(size)).decode()) == bytes(size)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        "whsec_" + b64encode(bytes(23)).decode(),
        "whsec_" + b64encode(bytes(65)).decode(),
        "whsec_" + "!" * 32,
        "whsec_" + "é" * 32,
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(Invalid) as refused:
        key_of(secret)
    assert refused.value.detail == "A webhook secret is whsec_ followed by the base64 of 24 to 64 bytes."
