"""Where a list goes on: the key of the last item of a page, opaque to callers."""

from __future__ import annotations

import base64
import binascii

import msgspec

from ..engine.errors import Invalid

_decoder = msgspec.json.Decoder(list[int])


def cursor_of(*key: int) -> str:
    """The key of a page's last item as a cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def key_of(cursor: str, size: int) -> tuple[int, ...]:
    """The key in a cursor that `cursor_of` made of `size` numbers.

    Raises:
        Invalid: this list never gave such a cursor.
    """
    try:
        key = _decoder.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        key = []
    if len(key) != size or any(abs(number) >= 2**63 for number in key):
        raise Invalid(fields={"cursor": "This is not a cursor of this list."})
    return tuple(key)
