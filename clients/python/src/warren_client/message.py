"""Messages, and how they look in JSON: one flat object a frame."""

from __future__ import annotations

import base64
import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from .errors import WarrenError

Value = None | bool | int | float | str | bytes | list[str]
"""A field's value. An object's id is text, such as ``"171.31"``."""

Message = dict[str, Any]
"""A message: its method under ``msg``, and its fields."""

# More fields beside `msg` are refused by every server.
_FIELDS_MAX = 48
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
# What no text may hold: control characters but tab, LF and CR, and half a surrogate pair.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def encode(method: str, fields: Mapping[str, Value]) -> str:
    """The frame of a request, without its end.

    Raises ``WarrenError`` with the server's reason, when it would refuse the message.
    """
    if "msg" in fields:
        raise WarrenError("duplicate-field")
    if len(fields) > _FIELDS_MAX:
        raise WarrenError("too-many-fields")
    written: dict[str, object] = {"msg": check_name(method)}
    for name, value in fields.items():
        written[check_name(name)] = _writable(value)
    return _encode(written)


@functools.lru_cache(maxsize=1024)
def check_name(name: str) -> str:
    """The name. Raises ``WarrenError`` when it is none of a method or a field."""
    if not _NAME.fullmatch(name):
        raise WarrenError("bad-name")
    return name


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise WarrenError("field-invalid")
    if _NO_TEXT.search(text):
        raise WarrenError("control-character")
    return text


def _writable(value: Value) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, list):
        return [_text(text) for text in value]
    return _text(value)


def decode(frame: str) -> Message:
    """The message of a frame that a server sent. Raises ``ValueError`` when it is none."""
    message = _decode(frame)
    if not isinstance(message, dict) or not isinstance(message.get("msg"), str):
        raise ValueError("the frame is no message")
    for name, value in message.items():
        if isinstance(value, dict):
            if not isinstance(value.get("$bytes"), str):
                raise ValueError("a field is an object")
            text = value["$bytes"]
            padding = "=" * (-len(text) % 4)
            message[name] = base64.b64decode(text + padding, validate=True)
    return message


def _number(digits: str) -> int | float:
    """An integer of 64 bits; beyond them it is a float."""
    integer = int(digits)
    return integer if -(2**63) <= integer < 2**63 else float(digits)


# Made once: `json.dumps` and `json.loads` make one each time.
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_decode = json.JSONDecoder(parse_int=_number).decode
