"""Where a list goes on: the key of the last item of a page, opaque to callers."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from ..engine.errors import Invalid

#: What ids of `storage.ids` are made of, with or without a prefix.
ID = re.compile(r"[0-9a-z_]{1,64}")
_decoder = msgspec.json.Decoder(list[int])
_text_decoder = msgspec.json.Decoder(str)


def cursor_of(*key: int) -> str:
    """The key of a page's last item as a cursor."""
    return _encode(key)


def cursor_of_id(key: str) -> str:
    """The same for items whose key is a text, as `storage.ids` gives them."""
    return _encode(key)


def id_of(cursor: str) -> str:
    """The key in a cursor that `cursor_of_id` made.

    Raises:
        Invalid: this list never gave such a cursor.
    """
    try:
        key = _text_decoder.decode(_decode(cursor))
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        key = ""
    if not ID.fullmatch(key):
        raise _no_cursor()
    return key


def key_of(cursor: str, size: int) -> tuple[int, ...]:
    """The key in a cursor that `cursor_of` made of `size` numbers.

    Raises:
        Invalid: this list never gave such a cursor.
    """
    try:
        key = _decoder.decode(_decode(cursor))
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        key = []
    if len(key) != size or any(abs(number) >= 2**63 for number in key):
        raise _no_cursor()
    return tuple(key)


def _encode(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def _decode(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def _no_cursor() -> Invalid:
    return Invalid(fields={"cursor": "This is not a cursor of this list."})
