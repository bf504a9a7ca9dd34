"""Game code for Warren in Python: methods and behaviours that workers do. See ``docs/workers.md``.

::

    import warren

    @warren.method("combat.attack", priority=2)
    def attack(ctx, msg):
        target = ctx.read(msg["target"])
        hp = target["hp"] - 7
        ctx.set(target, hp=hp)
        ctx.room(msg["room"]).send("combat.hit", target=target.id, hp=hp)
        return {"hp": hp}

    @warren.behaviour("wolf")
    def wolves(world, batch):
        for at in range(len(batch)):
            batch.go_to(at, batch.nearest_member(at) or batch.home)

``python3 -m warren.worker game.py`` does these tasks, and moves NPCs that are wolves; ``warren.testing``
calls both without a server.
"""

from warren_client.errors import WarrenError
from warren_client.message import Message, Value

from .behaviours import Batch, Behaviour, behaviour
from .context import Context, Object, Room
from .methods import Fail, Function, Method, Reply, method

__all__ = [
    "Batch",
    "Behaviour",
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
    "behaviour",
    "method",
]
