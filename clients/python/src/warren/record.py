"""An object's record, as it comes with a task: a field list (``docs/protocol.md``)."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from warren_client.message import Value

_LENGTH = Struct("<I")
_INTEGER = Struct("<q")
_FLOAT = Struct("<d")
_ID = Struct("<Q")
_COUNT = Struct("<H")
_ADDRESS_BITS = 48


def decode(record: bytes) -> tuple[str, dict[str, Value]]:
    """The object's kind, and its fields, ``owner`` among them. Raises ``ValueError`` for no record."""
    try:
        at = 1 + record[0]
        kind = record[1:at].decode("ascii")
        fields: dict[str, Value] = {}
        while at < len(record):
            value_at = at + 2 + record[at]
            name = record[at + 1 : value_at - 1].decode("ascii")
            fields[name], at = _value(record, record[value_at - 1], value_at)
    except (IndexError, StructError) as error:
        raise ValueError("the record ends too early") from error
    if at != len(record):
        raise ValueError("the record ends too early")
    return kind, fields


def _value(record: bytes, kind: int, at: int) -> tuple[Value, int]:
    """The value that begins there, and where it ends."""
    if kind == 1:
        return _text(record, at)
    if kind == 2:
        return _INTEGER.unpack_from(record, at)[0], at + 8
    if kind == 3:
        return _FLOAT.unpack_from(record, at)[0], at + 8
    if kind == 4:
        return record[at] != 0, at + 1
    if kind == 0:
        return None, at
    if kind == 5:
        end = at + 4 + _LENGTH.unpack_from(record, at)[0]
        return record[at + 4 : end], end
    if kind == 6:
        number = _ID.unpack_from(record, at)[0]
        return f"{number >> _ADDRESS_BITS}.{number & ((1 << _ADDRESS_BITS) - 1)}", at + 8
    if kind == 7:
        count, at = _COUNT.unpack_from(record, at)[0], at + 2
        texts = []
        for _ in range(count):
            text, at = _text(record, at)
            texts.append(text)
        return texts, at
    raise ValueError(f"no value has the type {kind}")


def _text(record: bytes, at: int) -> tuple[str, int]:
    end = at + 4 + _LENGTH.unpack_from(record, at)[0]
    return record[at + 4 : end].decode(), end
