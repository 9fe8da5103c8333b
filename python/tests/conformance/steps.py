"""Taking the steps of a scenario."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from queue_runtime import QueueError

from . import check, consumers, verbs
from .scenarios import Step, Wrong
from .values import span
from .world import PATIENCE, Background, World, awaited


def why(error: Exception) -> str:
    """What a step failed with."""
    return str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"


async def patiently(taking: Coroutine[Any, Any, None]) -> None:
    """Fails what does not end. Takes no turn of the event loop for itself."""
    task = asyncio.current_task()
    assert task is not None
    alarm = asyncio.get_running_loop().call_later(PATIENCE, task.cancel)
    try:
        await taking
    except asyncio.CancelledError:
        raise Wrong("it did not end") from None
    finally:
        alarm.cancel()


async def take(world: World, step: Step, then: Step | None) -> None:
    """Takes a step, with a view to the one after it."""
    name = step.argument
    match step.verb:
        case "advance":
            for _ in range(step.table.get("times", 1)):
                await advance(world, span(name))
        case "pending":
            await world.turn()
            if not world.named(world.background, name).is_pending():
                raise Wrong("it has ended")
        case "cancel":
            background = world.background.pop(name)
            await background.cancel()
            await world.check_unsent(background.step)
        case "drop":
            dropped = world.named(world.deliveries, name)
            # Its other names would keep it.
            kept = {name: d for name, d in world.deliveries.items() if d is not dropped}
            world.deliveries = kept
        case "drop_consumer":
            consumers.drop(world, name)
        case "drop_session":
            world.named(world.sessions, name)
            del world.sessions[name]
        case "configure":
            world.configure(step)
        case _ if "start" in step.table:
            verb = await verbs.prepare(world, step)
            world.background[step.table["start"]] = Background(step, verb())
        case _:
            await take_verb(world, step, then)


async def advance(world: World, by: float) -> None:
    """Lets time pass."""
    if not world.virtual_clock:
        await asyncio.sleep(by)
        return
    world.runtime.advance(by)
    if world.consumers:
        # Locks that are due are renewed before more time passes.
        await world.turn()


async def take_verb(world: World, step: Step, then: Step | None) -> None:
    """Takes a step that is a verb of a provider, to its end."""
    error, came = None, None
    try:
        if "join" in step.table:
            came = await world.background.pop(step.table["join"]).join()
        else:
            verb = await verbs.prepare(world, step)
            came = await begin(world, verb, then)
    except QueueError as failed:
        error = failed
    if check.ended(step.get("error"), error, world.context):
        verbs.finish(world, step, came)


async def begin(world: World, verb: verbs.Verb, then: Step | None) -> Any:
    """What comes of a verb. What is cancelled next is cancelled before what this one woke has its
    turn."""
    if then is None or then.verb != "cancel" or then.argument not in world.background:
        return await awaited(verb())
    background = Background(then, verb())
    await world.background[then.argument].cancel()
    return await background.join()
