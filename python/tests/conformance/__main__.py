"""Runs every scenario on each target, by the asyncio API and by that of threads: without a server
all in virtual time, those that make sense there in real time as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import queue_runtime
from queue_runtime import QueueError, sync

from . import check, consumers, verbs
from .report import Row, merge, print_table
from .scenarios import Scenario, Step, Wrong, load
from .target import Target, targets
from .values import span
from .world import PATIENCE, Background, TooLate, World, awaited

#: In real time scenarios wait most of the time, so they wait together.
TOGETHER = 16
#: How often a scenario is begun anew when the engine's thread was quicker than a cancel.
ATTEMPTS = 1000


async def run(
    api: ModuleType, target: Target, scenario: Scenario, *, virtual_clock: bool
) -> str | None:
    """Why a scenario failed; `None` when it passed."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(TooLate):
            return await run_once(api, target, scenario, virtual_clock=virtual_clock)
    return "every cancel came too late"


async def run_once(
    api: ModuleType, target: Target, scenario: Scenario, *, virtual_clock: bool
) -> str | None:
    """`run`, once."""
    world = World(api, target, scenario, virtual_clock=virtual_clock)
    following = [*scenario.steps[1:], None]
    try:
        for number, (step, then) in enumerate(zip(scenario.steps, following, strict=True), 1):
            try:
                await patiently(take(world, step, then))
            except TooLate:
                raise
            except Exception as error:
                if not isinstance(error, Wrong):
                    error = Wrong(f"{type(error).__name__}: {error}")
                return f"step {number} {json.dumps(step.table)[:400]}: {error}"
        return None
    finally:
        await world.close()


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


def lacking(scenario: Scenario, target: Target) -> str | None:
    """The capability for which a scenario is skipped."""
    capabilities = target.capabilities
    for name in scenario.needs:
        if not capabilities.supports(name):
            return f"{name} is unsupported"
    for name in scenario.lacks:
        if capabilities.supports(name):
            return f"{name} is supported"
    return None


async def run_all(
    api: ModuleType, target: Target, scenarios: list[Scenario], *, virtual_clock: bool
) -> list[Row]:
    """A row for each scenario."""
    language = "python" if api is queue_runtime else "python-sync"
    in_virtual_time = virtual_clock or target.server is not None
    provider = target.provider if in_virtual_time else f"{target.provider}-real-time"
    together = asyncio.Semaphore(1 if virtual_clock else TOGETHER)

    async def row(scenario: Scenario) -> Row:
        reason = lacking(scenario, target)
        if reason is not None:
            return Row(provider, language, scenario, "skip", reason)
        async with together:
            reason = await run(api, target, scenario, virtual_clock=virtual_clock)
        made = Row(provider, language, scenario, "fail" if reason else "pass", reason)
        print(made.line(), flush=True)
        return made

    return list(await asyncio.gather(*map(row, scenarios)))


def in_threads(scenario: Scenario) -> bool:
    """Whether the API of threads can show a scenario from one thread."""
    return not any("start" in step.table for step in scenario.steps)


async def run_target(target: Target, scenarios: list[Scenario]) -> list[Row]:
    in_real_time = [scenario for scenario in scenarios if "real_time" in scenario.tags]
    rows = await run_all(queue_runtime, target, in_real_time, virtual_clock=False)
    if target.server is None:
        of_threads = list(filter(in_threads, scenarios))
        rows += await run_all(queue_runtime, target, scenarios, virtual_clock=True)
        rows += await run_all(sync, target, of_threads, virtual_clock=True)
    return rows


async def main(folder: Path, rows_path: Path) -> int:
    scenarios = load(folder)
    rows = []
    for target in targets(folder.parent / "targets.toml"):
        rows += await run_target(target, scenarios)
    print_table(rows)
    merge(rows, rows_path)
    ran = [row for row in rows if row.result != "skip"]
    return 1 if not ran or any(row.result == "fail" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
