"""A small combat: wolves have hit points, and die. Clients ask, the server's worker decides."""

import warren

__version__ = "1.0.0"

DAMAGE = 7
HEALING = 5
HP_MAX = 20


@warren.method("combat.spawn")
def spawn(ctx, msg):
    """A wolf comes into the room. Its members hear of it, as of every object that comes there."""
    ctx.create("wolf", room=msg["room"], hp=HP_MAX)


@warren.method("combat.attack", priority=2)
def attack(ctx, msg):
    """Takes hit points from the target. With none left it is dead, and gone."""
    target = wolf(ctx, msg)
    hp = max(0, target["hp"] - DAMAGE)
    arena = ctx.room(target["room"])
    arena.send("combat.hit", target=target.id, hp=hp, by=ctx.user)
    if hp > 0:
        ctx.set(target, hp=hp)
    else:
        ctx.delete(target)
        arena.send("combat.death", target=target.id, by=ctx.user)
    return {"hp": hp}


@warren.method("combat.heal", priority=2)
def heal(ctx, msg):
    """Gives hit points back, up to as many as a wolf has."""
    target = wolf(ctx, msg)
    hp = min(HP_MAX, target["hp"] + HEALING)
    ctx.set(target, hp=hp)
    return {"hp": hp}


def wolf(ctx, msg):
    """The target, if it is one."""
    target = ctx.read(msg["target"])
    if target.kind != "wolf":
        raise warren.Fail(f"{ctx.user} cannot fight a {target.kind}", retry=False)
    return target
