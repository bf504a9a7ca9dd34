"""The server's `wander` once more, for the profile `ai-python` of `warren-bench`."""

import math

import warren

_TURN_S = 4.0
_WORD = (1 << 64) - 1


def _mixed(word):
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _WORD
    return word ^ (word >> 31)


def _share(batch, at):
    """From 0 to 1, evenly: the state of each is that of its random numbers."""
    state = batch.states[at] = batch.states[at] + 0x9E3779B97F4A7C15 & _WORD
    return (_mixed(state) >> 40) / (1 << 24)


def _turn(batch, at, x, y, z):
    """It goes in this direction, which may be of any length, from here on."""
    length = math.sqrt(x * x + y * y + z * z)
    factor = batch.speed / length if length > 0 else 0.0
    batch.velocities[3 * at] = x * factor
    batch.velocities[3 * at + 1] = y * factor
    batch.velocities[3 * at + 2] = z * factor
    batch.headings[at] = math.degrees(math.atan2(y, x))


@warren.behaviour("python.wander")
def wander(_world, batch):
    home_x, home_y, home_z = batch.home
    for at in range(len(batch)):
        x, y, z = batch.position(at)
        x, y, z = home_x - x, home_y - y, home_z - z
        if x * x + y * y + z * z > batch.radius**2:
            _turn(batch, at, x, y, z)
        elif _share(batch, at) * _TURN_S < batch.seconds[at] or not any(batch.velocity(at)):
            turn = _share(batch, at) * 2 * math.pi
            up = 0.0 if batch.dims == 2 else 2 * _share(batch, at) - 1
            flat = math.sqrt(1 - up * up)
            _turn(batch, at, math.cos(turn) * flat, math.sin(turn) * flat, up)
        batch.go_on(at)
