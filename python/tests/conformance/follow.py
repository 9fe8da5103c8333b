"""Being the second process of a scenario: takes the steps of every client but the first, as the
standard input says. tests/conformance/README.md describes what is said."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import queue_runtime

from .scenarios import Scenario, Table, expand, read_step
from .steps import patiently, take, why
from .target import Target
from .world import TooLate, World


async def follow() -> None:
    (begin,) = (await told() or {}).values()
    options = expand(begin["options"])
    scenario = Scenario("", "", [], [], [], runtime={}, options=options, steps=[])
    target = Target("", begin["url"])
    world = World(queue_runtime, target, scenario, virtual_clock=begin["virtual_clock"])
    started: dict[str, Table] = {}
    try:
        if world.virtual_clock:
            world.runtime.advance(begin["now_ms"] / 1000)
        say(world)
        while order := await told():
            outcome = await obey(world, order, started)
            # What was let go, or is due, is done before the other process goes on.
            await world.turn()
            say(world, **outcome)
    finally:
        await world.close()


async def told() -> Any:
    """The next order; `None` at the end. What goes on in the background goes on."""
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


async def obey(world: World, order: Table, started: dict[str, Table]) -> Table:
    """Does as it is told. Gives what came of it, if that is not well."""
    if "advance" in order:
        world.runtime.advance(order["advance"] / 1000)
        return {}
    orders = order["take"]
    forget(world, orders["forget"])
    learn(world, orders["known"])
    try:
        await patiently(take(world, read_step(orders["step"], started), None))
    except TooLate:
        return {"error": "the cancel came too late", "too_late": True}
    except Exception as error:
        return {"error": why(error)}
    return {}


def say(world: World, error: str | None = None, too_late: bool = False) -> None:
    answer = {"error": error, "too_late": too_late, "names": names(world), "known": known(world)}
    print(json.dumps(answer), flush=True)


def names(world: World) -> Table:
    """What later steps may name."""
    return {
        "deliveries": list(world.deliveries),
        "sessions": list(world.sessions),
        "consumers": list(world.consumers),
        "background": list(world.background),
    }


def forget(world: World, named: Table) -> None:
    for name in named["deliveries"]:
        world.deliveries.pop(name, None)
    for name in named["sessions"]:
        world.sessions.pop(name, None)


def known(world: World) -> Table:
    """What the other process may speak of."""
    return {
        "ids": list(world.context.ids.items()),
        "made": list(world.made),
        "cursors": [
            (body.decode(), cursor) for body, cursor in world.cursors.items() if is_text(body)
        ],
    }


def is_text(body: bytes) -> bool:
    return body.decode(errors="ignore").encode() == body


def learn(world: World, known: Table) -> None:
    world.context.ids.update(known["ids"])
    world.made.update(known["made"])
    world.cursors.update((body.encode(), cursor) for body, cursor in known["cursors"])


if __name__ == "__main__":
    asyncio.run(follow())
