"""Methods of the game: functions that do what clients ask the server for."""

import warren

DAMAGE = 7


@warren.method("combat.attack", priority=2)
def attack(ctx, msg):
    """Takes hit points from the target, and tells the room."""
    target = ctx.read(msg["target"])
    hp = max(0, target["hp"] - DAMAGE)
    ctx.set(target, hp=hp)
    ctx.room(msg["room"]).send("combat.hit", target=target.id, hp=hp, by=ctx.user)
    return {"hp": hp}
