"""Signatures of webhooks. In: the bytes of a delivery and the secrets. Out: its headers, or the verdict on them.

The rules are those of Standard Webhooks 1.0.0
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), so that its libraries
verify what is sent here. The signed content is `{id}.{timestamp}.{body}`: with the id in it, nobody can send a recorded
delivery again under another id. The signature is HMAC-SHA256 in base64 after `v1,`. A secret is `whsec_` and the base64
of 24 to 64 random bytes. While secrets rotate, the header holds one signature for each, with a space between, and one
that matches is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping, Sequence

from ...engine.errors import Invalid

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
VERSION = "v1"
#: Bytes in a secret: fewer can be guessed, more are hashed down by HMAC anyway.
SHORTEST, LONGEST = 24, 64
NEW_SECRET = 32  # bytes, as long as the hash
#: Seconds between the sender's clock and the receiver's, and that a recorded delivery can be sent again.
TOLERANCE = 300

#: Without a full stop, which separates the parts of what is signed.
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def new_secret() -> str:
    """A secret that nobody has seen yet."""
    return PREFIX + b64encode(os.urandom(NEW_SECRET)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for.

    Raises:
        Invalid: it is no secret; the message does not repeat it.
    """
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except (Error, ValueError):
        key = b""
    if not SHORTEST <= len(key) <= LONGEST:
        raise Invalid(f"A webhook secret is {PREFIX} followed by the base64 of {SHORTEST} to {LONGEST} bytes.")
    return key


def headers(delivery_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that go with one attempt.

    Args:
        delivery_id: the same at every attempt, so that a receiver can tell that it has seen it. ASCII letters, digits,
            `_` and `-`.
        timestamp: when this attempt is made, in seconds since 1970-01-01 UTC.
        body: the bytes that are sent, not others that mean the same.
        secrets: the newest first.

    Raises:
        Invalid: one of the secrets is none.
        ValueError: the id or the timestamp cannot be signed, or there is no secret.
    """
    if not _ID.fullmatch(delivery_id) or not _TIMESTAMP.fullmatch(str(timestamp)) or not secrets:
        raise ValueError(f"Delivery {delivery_id!r} at {timestamp} with {len(secrets)} secrets cannot be signed.")
    signatures = (f"{VERSION},{_sign(secret, delivery_id, str(timestamp), body)}" for secret in secrets)
    return {ID: delivery_id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def verify(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float, tolerance: float = TOLERANCE
) -> None:
    """Make sure that a delivery comes from who holds a secret, and was sent just now. For receivers of webhooks.

    A receiver also has to remember the ids it has seen for `tolerance` seconds, and to take each only once.

    Args:
        headers: of the request; the case of their names does not matter.
        body: the bytes as they were received, before anything decoded them.
        secrets: those that are valid.
        now: the receiver's time, in seconds since 1970-01-01 UTC.
        tolerance: seconds that the sender's time may differ from it.

    Raises:
        Invalid: a header is missing or malformed, the time is not within the tolerance, or no signature matches.
    """
    given = {name.lower(): value for name, value in headers.items()}
    delivery_id, timestamp = given.get(ID, ""), given.get(TIMESTAMP, "")
    if not _ID.fullmatch(delivery_id) or not _TIMESTAMP.fullmatch(timestamp) or SIGNATURE not in given:
        raise Invalid(f"A signed webhook has the headers {ID}, {TIMESTAMP} and {SIGNATURE}.")
    if abs(now - int(timestamp)) > tolerance:
        raise Invalid(f"The webhook was sent more than {tolerance:g} s ago or ahead; compare the clocks.")
    expected = [_sign(secret, delivery_id, timestamp, body) for secret in secrets]
    # Every pair is compared, in constant time: how long it takes tells nothing about a signature.
    matches = [
        hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "replace"))
        for ours in expected
        for theirs in _signatures(given[SIGNATURE])
    ]
    if not any(matches):
        raise Invalid("No signature of the webhook matches; check the secret, and verify the bytes as received.")


def _signatures(header: str) -> list[str]:
    """Those of the version that is known here; others may stand beside them."""
    parts = (part.partition(",") for part in header.split(" "))
    return [signature for version, _, signature in parts if version == VERSION]


def _sign(secret: str, delivery_id: str, timestamp: str, body: bytes) -> str:
    content = b".".join((delivery_id.encode(), timestamp.encode(), body))
    return b64encode(hmac.digest(key_of(secret), content, hashlib.sha256)).decode()
