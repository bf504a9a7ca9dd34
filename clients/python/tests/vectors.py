"""The golden vectors of ``tests/vectors``, as this client's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from warren_client import Message, Value

_FOLDER = Path(__file__).resolve().parents[3] / "tests" / "vectors"


def vectors(file: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((_FOLDER / file).read_text(encoding="utf-8"))
    return loaded


def message(listed: list[Any]) -> Message:
    """The message that a vector's ``[method, [name, type, value], …]`` stands for."""
    method, *fields = listed
    return {"msg": method} | {name: _value(*typed) for name, *typed in fields}


def _value(kind: str, text: Any = None) -> Value:
    match kind:
        case "null":
            return None
        case "boolean":
            return bool(text == "true")
        case "integer":
            return int(text)
        case "float":
            return float(text)
        case "bytes":
            return bytes.fromhex(text)
        case "text" | "object":
            return str(text)
        case "list":
            return list(text)
    raise ValueError(f"no such type: {kind}")
