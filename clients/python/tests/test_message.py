"""What messages look like in JSON."""

from __future__ import annotations

import unittest
from typing import Any

from vectors import message, vectors

from warren_client import WarrenError
from warren_client.message import decode, encode


class MessageTest(unittest.TestCase):
    def test_vectors_are_read(self) -> None:
        for vector in vectors("json.json"):
            with self.subTest(vector["name"]):
                read = decode(vector["wire"].rstrip("\n\0"))
                expected = message(vector["message"])
                self.assertEqual(read, expected)
                # `7 == 7.0`, so equality does not tell.
                kinds = [type(value) for value in read.values()]
                self.assertEqual(kinds, [type(expected[name]) for name in read])

    def test_vectors_are_written(self) -> None:
        written = [vector for vector in vectors("json.json") if vector["direction"] == "both"]
        self.assertGreaterEqual(len(written), 10)
        for vector in written:
            with self.subTest(vector["name"]):
                fields = message(vector["message"])
                method = fields.pop("msg")
                self.assertEqual(encode(method, fields) + "\n", vector["wire"])

    def test_what_a_server_would_refuse_is_refused_before_it_is_sent(self) -> None:
        many = {f"f{index}": 1 for index in range(49)}
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("bad name", {}, "bad-name"),
            ("m\n", {}, "bad-name"),
            ("m", {"1": 1}, "bad-name"),
            ("m", {"ñ": 1}, "bad-name"),
            ("m", {"n" * 65: 1}, "bad-name"),
            ("m", {"msg": "n"}, "duplicate-field"),
            ("m", {"a": "\x07"}, "control-character"),
            ("m", {"a": "\ud800"}, "control-character"),
            ("m", {"a": ["b", "\0"]}, "control-character"),
            ("m", {"a": [1]}, "field-invalid"),
            ("m", {"a": {}}, "field-invalid"),
            ("m", {"a": float("nan")}, "field-invalid"),
            ("m", {"a": 2**63}, "field-invalid"),
            ("m", many, "too-many-fields"),
        ]
        for method, fields, reason in cases:
            with self.subTest(reason=reason, method=method, fields=fields):
                with self.assertRaises(WarrenError) as caught:
                    encode(method, fields)
                self.assertEqual(caught.exception.reason, reason)

    def test_what_is_no_message_is_not_taken_for_one(self) -> None:
        for frame in ["", "{", "[]", "1", "null", "{}", '{"msg":1}', '{"msg":"m","a":{"b":1}}']:
            with self.subTest(frame), self.assertRaises(ValueError):
                decode(frame)
