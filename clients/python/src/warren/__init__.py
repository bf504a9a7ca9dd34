"""Game code for Warren in Python: methods that workers do. See ``docs/workers.md``.

::

    import warren

    @warren.method("combat.attack", priority=2)
    def attack(ctx, msg):
        target = ctx.read(msg["target"])
        hp = target["hp"] - 7
        ctx.set(target, hp=hp)
        ctx.room(msg["room"]).send("combat.hit", target=target.id, hp=hp)
        return {"hp": hp}

``python3 -m warren.worker game.py`` does these tasks; ``warren.testing`` calls them without a server.
"""

from warren_client.errors import WarrenError
from warren_client.message import Message, Value

from .context import Context, Object, Room
from .methods import Fail, Function, Method, Reply, method

__all__ = [
    "Context",
    "Fail",
    "Function",
    "Message",
    "Method",
    "Object",
    "Reply",
    "Room",
    "Value",
    "WarrenError",
    "method",
]
