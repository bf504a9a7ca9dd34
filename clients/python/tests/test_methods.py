"""What methods say, without a server."""

from __future__ import annotations

import unittest
from typing import Any

import warren
from warren import Context, Fail, WarrenError, connserver, record
from warren.context import Object
from warren.methods import Method
from warren.testing import World


@warren.method("combat.attack", priority=2)
def attack(ctx: Context, msg: dict[str, Any]) -> dict[str, Any]:
    target = ctx.read(msg["target"])
    hp = target["hp"] - 7
    ctx.set(target, hp=hp)
    ctx.room(msg["room"]).send("combat.hit", target=target.id, hp=hp)
    return {"hp": hp}


class MethodsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.world = World()
        self.wolf = self.world.create("wolf", owner="ann", hp=20, room="arena")

    def refused(self, reason: str, function: Any, **fields: Any) -> None:
        with self.assertRaises(WarrenError) as caught:
            self.world.call(function, **fields)
        self.assertEqual(caught.exception.reason, reason)
        self.assertEqual(self.world[self.wolf].version, 1)

    def test_what_a_method_says_happens_when_it_has_returned(self) -> None:
        outcome = self.world.call(attack, target=self.wolf, room="arena")
        self.assertEqual(outcome.reply, {"hp": 13})
        self.assertEqual(outcome.sent, [("arena", "combat.hit", {"target": self.wolf, "hp": 13})])
        self.assertEqual(outcome.events("arena"), [("combat.hit", {"target": self.wolf, "hp": 13})])
        self.assertEqual(outcome.events("plaza"), [])
        wolf = self.world[self.wolf]
        self.assertEqual((wolf["hp"], wolf.version, wolf.owner), (13, 2, "ann"))

    def test_nothing_happens_when_it_raises(self) -> None:
        def fails(ctx: Context, msg: dict[str, Any]) -> None:
            ctx.set(self.wolf, hp=0)
            raise Fail("no")

        with self.assertRaises(Fail):
            self.world.call(fails)
        self.assertEqual(self.world[self.wolf]["hp"], 20)

    def test_a_method_is_asked_for_later(self) -> None:
        def howls(ctx: Context, msg: dict[str, Any]) -> None:
            ctx.schedule("wolf.howl", delay_ms=500, target=self.wolf, key="howl")
            ctx.schedule("wolf.sleep", at_ms=1_700_000_000_000, event_number=7)

        self.assertEqual(
            self.world.call(howls).scheduled,
            [
                ("wolf.howl", {"delay_ms": 500, "target": self.wolf, "key": "howl"}),
                ("wolf.sleep", {"at_ms": 1_700_000_000_000, "event_number": 7}),
            ],
        )
        for when in ({}, {"delay_ms": 1, "at_ms": 1}):
            self.refused("field-invalid", lambda ctx, msg, when=when: ctx.schedule("x", **when))
        for name in ("time", "event", "token"):
            self.refused(
                "reserved-field",
                lambda ctx, msg, name=name: ctx.schedule("x", delay_ms=1, **{name: 5}),
            )

    def test_objects_are_made_changed_and_deleted(self) -> None:
        def metamorphosis(ctx: Context, msg: dict[str, Any]) -> None:
            ctx.create("fang", sharp=True, data=b"\0")
            wolf = ctx.read(self.wolf)
            ctx.set(wolf, hp=1, room=None, name="x")
            self.assertEqual(dict(wolf), {"hp": 1, "name": "x"})
            ctx.set(wolf, hp=2, owner="bob")
            self.assertIs(ctx.read(self.wolf), wolf)
            # Of an object the last word counts, and it is one change.
            self.assertEqual(len(ctx.effects), 2)

        made = self.world.call(metamorphosis).created
        self.assertEqual(dict(self.world[made[0]]), {"sharp": True, "data": b"\0"})
        wolf = self.world[self.wolf]
        self.assertEqual((dict(wolf), wolf.owner), ({"hp": 2, "name": "x"}, "bob"))

        def kill(ctx: Context, msg: dict[str, Any]) -> None:
            wolf = ctx.read(self.wolf)
            ctx.set(wolf, hp=0)
            ctx.delete(wolf)
            with self.assertRaises(WarrenError):
                ctx.set(wolf, hp=1)

        self.world.call(kill)
        self.assertNotIn(self.wolf, self.world)

    def changed_meanwhile(self, end: Any) -> Any:
        """A method that reads the wolf, and then somebody changes it, and then it does that."""

        def method(ctx: Context, msg: dict[str, Any]) -> None:
            wolf = ctx.read(self.wolf)
            if self.world[self.wolf].version == 1:
                self.world.call(lambda ctx, msg: ctx.set(self.wolf, hp=5))
            end(ctx, wolf)

        return method

    def test_a_version_that_was_read_holds_for_all_that_is_said_of_the_object(self) -> None:
        def by_number_at_last(ctx: Context, wolf: Object) -> None:
            ctx.set(wolf, hp=wolf["hp"] - 1)
            ctx.set(self.wolf, seen=1)

        def by_number_at_first(ctx: Context, wolf: Object) -> None:
            ctx.set(self.wolf, seen=1)
            ctx.set(wolf, hp=wolf["hp"] - 1)

        def deletes_at_last(ctx: Context, wolf: Object) -> None:
            ctx.set(wolf, hp=0)
            ctx.delete(self.wolf)

        for end in (by_number_at_last, by_number_at_first, deletes_at_last, Context.delete):
            with self.subTest(end.__name__):
                self.setUp()
                method = self.changed_meanwhile(end)
                with self.assertRaises(WarrenError) as caught:
                    self.world.call(method)
                self.assertEqual(caught.exception.reason, "version-conflict")
                self.assertEqual(dict(self.world[self.wolf]), {"hp": 5, "room": "arena"})
                self.world.call(method)
        self.assertNotIn(self.wolf, self.world)

        # By its number alone it is changed as it is.
        self.setUp()
        self.world.call(self.changed_meanwhile(lambda ctx, wolf: ctx.delete(self.wolf)))
        self.assertNotIn(self.wolf, self.world)

    def test_a_version_may_be_named_beside_one_that_was_read(self) -> None:
        def named(*versions: int) -> Any:
            def method(ctx: Context, msg: dict[str, Any]) -> None:
                for version in versions:
                    ctx.set(self.wolf, version=version, seen=1)
                ctx.set(ctx.read(self.wolf), hp=3)
                ctx.set(self.wolf, heard=1)

            return method

        for versions in ((2,), (2, 1), (1, 0), (0, 1)):
            with self.subTest(versions):
                self.refused("version-conflict", named(*versions))
        self.world.call(named(1))
        wolf = self.world[self.wolf]
        self.assertEqual((dict(wolf)["hp"], wolf["seen"], wolf["heard"]), (3, 1, 1))
        self.assertEqual(wolf.version, 2)

    def test_what_no_server_would_take_is_refused_where_it_is_said(self) -> None:
        def sets(**fields: Any) -> Any:
            return lambda ctx, msg: ctx.set(self.wolf, **fields)

        def many(ctx: Context, msg: dict[str, Any]) -> None:
            for _ in range(4001):
                ctx.create("fang")

        wide = {f"field{number}": 0 for number in range(44)}
        for reason, function in (
            ("bad-name", sets(**{"no name": 1})),
            ("field-invalid", sets(hp={"a": 1})),
            ("field-invalid", sets(hp=float("nan"))),
            ("control-character", sets(text="\0")),
            ("reserved-field", sets(token=1)),
            ("reserved-field", lambda ctx, msg: ctx.set(ctx.read(self.wolf), version=1)),
            ("version-conflict", sets(version=2)),
            ("field-invalid", sets(version="1")),
            ("too-many-fields", sets(**wide)),
            ("frame-too-large", sets(text="x" * 65_400)),
            ("frame-too-large", sets(text="é" * 32_800)),
            ("effects-too-large", many),
            ("other-partition", lambda ctx, msg: ctx.set("172.1", hp=1)),
            ("unknown-object", lambda ctx, msg: ctx.read("171.99")),
            ("reserved-field", lambda ctx, msg: {"effects": 1}),
            ("too-many-fields", lambda ctx, msg: {**wide, "one": 1}),
        ):
            with self.subTest(reason):
                self.refused(reason, function)
        self.world.call(sets(text="é" * 32_600))

    def test_a_function_may_have_several_names_and_is_itself_still(self) -> None:
        @warren.method("a", ordered=True)
        @warren.method("b", limit_ms=1)
        def both(ctx: Context, msg: dict[str, Any]) -> dict[str, Any]:
            return {"user": ctx.user, "attempt": ctx.attempt, **msg}

        outcome = self.world.call(both, user="bob", attempt=3, n=1)
        self.assertEqual(outcome.reply, {"user": "bob", "attempt": 3, "n": 1})
        for option, value in (
            ("priority", 8),
            ("limit_ms", 0),
            ("attempts_max", 0),
            ("deadline_ms", -1),
        ):
            with self.subTest(option), self.assertRaises(ValueError):
                warren.method("c", **{option: value})  # type: ignore[arg-type]

    def test_a_connserver_module_is_called_by_its_method(self) -> None:
        def process(server: Any, socket: Any, msg: dict[str, str]) -> bool:
            self.assertEqual(msg["n"], "3")
            server.room("plaza").broadcast(msg)
            socket.send({"msg": "wave", "status": "0", "by": socket.uid()})
            return True

        class Module:
            message = "wave"

        Module.process = staticmethod(process)  # type: ignore[attr-defined]
        (method,) = connserver.methods_of(Module)  # type: ignore[arg-type]
        self.assertIsInstance(method, Method)
        outcome = self.world.call(method, user="bob", n=3)
        self.assertEqual(outcome.reply, {"by": "bob"})
        self.assertEqual(outcome.events("plaza"), [("wave", {"n": "3"})])


class RecordTest(unittest.TestCase):
    def test_every_type_is_read(self) -> None:
        fields = {
            "owner": (b"\1\3\0\0\0ann", "ann"),
            "a": (b"\2\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            "b": (b"\3\0\0\0\0\0\0\xe0\x3f", 0.5),
            "c": (b"\4\1", True),
            "d": (b"\0", None),
            "e": (b"\5\2\0\0\0\0\xff", b"\0\xff"),
            "f": (b"\6\1\0\0\0\0\0\xab\0", "171.1"),
            "g": (b"\7\2\0\1\0\0\0x\0\0\0\0", ["x", ""]),
        }
        packed = b"\4wolf" + b"".join(
            bytes([len(name)]) + name.encode() + value for name, (value, _) in fields.items()
        )
        expected = {name: value for name, (_, value) in fields.items()}
        self.assertEqual(record.decode(packed), ("wolf", expected))

    def test_what_is_cut_off_is_no_record(self) -> None:
        packed = b"\4wolf\5owner\1\3\0\0\0ann\1g\7\2\0\1\0\0\0x\0\0\0\0"
        for length in range(len(packed)):
            # Without its last fields it is one still.
            if length not in (5, 19):
                with self.subTest(length), self.assertRaises(ValueError):
                    record.decode(packed[:length])
        with self.assertRaises(ValueError):
            record.decode(b"\4wolf\1a\x09")
