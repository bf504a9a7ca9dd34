"""Wolves that hunt: each goes for the nearest member in sight, as long as that is within the circle in which
the wolves live; with nobody there it walks around that circle.
"""

import math

import warren

__version__ = "1.0.0"

# How far a wolf sees, in units.
SIGHT = 30.0
# Where it walks when it hunts nobody, as a part of the circle's radius.
ROUND = 0.5
# How far it goes around in one tick, in degrees.
ROUND_STEP = 5


@warren.behaviour("hunt")
def hunt(world, batch):
    for at in range(len(batch)):
        batch.go_to(at, prey(batch, at) or round_place(batch, at))


def prey(batch, at):
    """Where the nearest member is whom the wolf sees, and may follow."""
    place = batch.nearest_member(at)
    if place is None or math.dist(batch.position(at), place) > SIGHT:
        return None
    return place if math.dist(batch.home, place) <= batch.radius else None


def round_place(batch, at):
    """The next place on its way around. What it keeps is where it is on that way, in degrees."""
    degrees = batch.states[at] % 360
    x, y, z = batch.home
    reach = batch.radius * ROUND
    angle = math.radians(degrees)
    place = (x + reach * math.cos(angle), y + reach * math.sin(angle), z)
    if math.dist(batch.position(at), place) <= batch.speed * batch.seconds[at]:
        batch.states[at] = degrees + ROUND_STEP
    return place
