"""Consumers: their verbs, and what must come of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from . import check
from .scenarios import Step, Table, Wrong
from .values import span
from .world import PATIENCE, World

#: How often one looks whether something has come to be.
_LOOK = 0.001

VERBS = {
    "next",
    "consumer_status",
    "cancelled",
    "drain",
    "stop",
    "pause",
    "resume",
    "reset_breaker",
}


def consume(source: Any, step: Step) -> Any:
    """Begins a consumer, of a queue or of a held session."""
    return source.consume(**options(step, OPTIONS))


def options(step: Step, known: dict[str, Callable[[Any], Any]]) -> Table:
    """The options of a step that are of these."""
    return {name: known[name](value) for name, value in step.table.items() if name in known}


def same(value: Any) -> Any:
    return value


#: How the value of each option is read: one line for each.
OPTIONS: dict[str, Callable[[Any], Any]] = {
    "concurrency": same,
    "min_concurrency": same,
    "scale_cooldown": span,
    "prefetch": same,
    "prefetch_bytes": same,
    "max_messages": same,
    "wait": span,
    "lock": span,
    "max_lock_renewal": span,
    "reconnect": same,
    "idle": span,
    "breaker": same,
    "max_sessions": same,
    "session_idle": span,
    "session_max_messages": same,
    "session_max_time": span,
    "max_in_flight_per_group": same,
}


def prepare(world: World, step: Step) -> Callable[[], Any]:
    """The call that a step makes."""
    if step.verb == "cancelled":
        delivery = world.named(world.deliveries, step.argument)
        return lambda: _cancelled(world, delivery, step.table["cause"])
    consumer = world.named(world.consumers, step.argument)
    match step.verb:
        case "next":
            return lambda: _next(consumer)
        case "consumer_status":
            return lambda: _status(world, consumer, step.table["expect"])
        case "drain":
            return lambda: consumer.drain(span(step.table["deadline"]))
        case "pause" | "resume" | "reset_breaker":
            return lambda: getattr(consumer, step.verb)()
    return lambda: consumer.close()


def _next(consumer: Any) -> Any:
    if hasattr(consumer, "__anext__"):
        return consumer.__anext__()
    return next(consumer, None)


async def _status(world: World, consumer: Any, expect: Table) -> None:
    # It gets there in the background; what it must not be is seen by who asks.
    await world.turn()
    await eventually(lambda: _check_status(expect, consumer.status()))


def _check_status(expect: Table, status: Any) -> None:
    for name, value in expect.items():
        check.equal(name, value, getattr(status, name))


async def _cancelled(world: World, delivery: Any, cause: str) -> None:
    def look() -> None:
        check.equal("the cause", cause, delivery.cancelled or "none")

    await world.turn()
    if cause == "none":
        look()
    else:
        await eventually(look)


async def eventually(look: Callable[[], None]) -> None:
    """Looks until this holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE / 2
    while loop.time() < end:
        with contextlib.suppress(Wrong):
            look()
            return
        await asyncio.sleep(_LOOK)
    look()


def drop(world: World, name: str) -> None:
    """Forgets a consumer, as a program does that loses it."""
    world.named(world.consumers, name)
    del world.consumers[name]


def drained(step: Step, report: Any) -> None:
    """Fails unless a drain's report is as expected."""
    for name, value in step.table.get("expect", {}).items():
        check.equal(name, value, getattr(report, name))
