"""Runs every scenario on `memory:`, by the asyncio API and by that of threads: all in virtual time,
those that make sense there in real time as well."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import queue_runtime
from queue_runtime import Capabilities, QueueError, sync

from . import check, verbs
from .report import Row, merge, print_table
from .scenarios import Scenario, Step, Wrong, load
from .values import span
from .world import PATIENCE, URL, Background, World, awaited

#: In real time scenarios wait most of the time, so they wait together.
TOGETHER = 16
#: How often a scenario that loses a race is run.
ATTEMPTS = 5


async def run(api: ModuleType, scenario: Scenario, *, virtual_clock: bool) -> str | None:
    """Why a scenario failed; `None` when it passed."""
    if not any(step.verb == "cancel" for step in scenario.steps):
        return await run_once(api, scenario, virtual_clock=virtual_clock)
    # What a step has woken may end before the cancel after it comes: then the scenario has not
    # shown what it is for, and is asked again.
    for _ in range(ATTEMPTS):
        reason = await run_once(api, scenario, virtual_clock=virtual_clock, patience=PATIENCE / 10)
        if reason is None:
            break
    return reason


async def run_once(
    api: ModuleType, scenario: Scenario, *, virtual_clock: bool, patience: float = PATIENCE
) -> str | None:
    """`run`, once."""
    world = World(api, scenario, virtual_clock=virtual_clock)
    try:
        for number, step in enumerate(scenario.steps, 1):
            try:
                await patiently(take(world, step), patience)
            except Exception as error:
                if not isinstance(error, Wrong):
                    error = Wrong(f"{type(error).__name__}: {error}")
                return f"step {number} {json.dumps(step.table)[:400]}: {error}"
        return None
    finally:
        await world.close()


async def patiently(taking: Coroutine[Any, Any, None], patience: float) -> None:
    """Fails what does not end. Takes no turn of the event loop for itself."""
    task = asyncio.current_task()
    assert task is not None
    alarm = asyncio.get_running_loop().call_later(patience, task.cancel)
    try:
        await taking
    except asyncio.CancelledError:
        raise Wrong("it did not end") from None
    finally:
        alarm.cancel()


async def take(world: World, step: Step) -> None:
    """Takes a step."""
    name = step.argument
    match step.verb:
        case "advance" if world.virtual_clock:
            world.runtime.advance(span(name))
        case "advance":
            await asyncio.sleep(span(name))
        case "pending":
            await world.turn()
            if not world.named(world.background, name).is_pending():
                raise Wrong("it has ended")
        case "cancel":
            await world.background.pop(name).cancel()
        case "drop":
            dropped = world.named(world.deliveries, name)
            # Its other names would keep it.
            kept = {name: d for name, d in world.deliveries.items() if d is not dropped}
            world.deliveries = kept
        case "drop_session":
            world.named(world.sessions, name)
            del world.sessions[name]
        case "configure":
            world.configure(step)
        case _ if "start" in step.table:
            verb = await verbs.prepare(world, step)
            world.background[step.table["start"]] = Background(verb())
        case _:
            await take_verb(world, step)


async def take_verb(world: World, step: Step) -> None:
    """Takes a step that is a verb of a provider, to its end."""
    error, came = None, None
    try:
        if "join" in step.table:
            came = await world.background.pop(step.table["join"]).join()
        else:
            verb = await verbs.prepare(world, step)
            came = await awaited(verb())
    except QueueError as failed:
        error = failed
    if check.ended(step.get("error"), error, world.context):
        verbs.finish(world, step, came)


def lacking(scenario: Scenario, capabilities: Capabilities) -> str | None:
    """The capability for which a scenario is skipped."""
    for name in scenario.needs:
        if not capabilities.supports(name):
            return f"{name} is unsupported"
    for name in scenario.lacks:
        if capabilities.supports(name):
            return f"{name} is supported"
    return None


async def run_all(
    api: ModuleType, language: str, scenarios: list[Scenario], *, virtual_clock: bool
) -> list[Row]:
    """A row for each scenario."""
    provider = "memory" if virtual_clock else "memory-real-time"
    with sync.connect(URL) as client:
        capabilities = client.capabilities()
    together = asyncio.Semaphore(1 if virtual_clock else TOGETHER)

    async def row(scenario: Scenario) -> Row:
        reason = lacking(scenario, capabilities)
        if reason is not None:
            return Row(provider, language, scenario, "skip", reason)
        async with together:
            reason = await run(api, scenario, virtual_clock=virtual_clock)
        made = Row(provider, language, scenario, "fail" if reason else "pass", reason)
        print(made.line(), flush=True)
        return made

    return list(await asyncio.gather(*map(row, scenarios)))


def in_threads(scenario: Scenario) -> bool:
    """Whether the API of threads can show a scenario from one thread."""
    return not any("start" in step.table for step in scenario.steps)


async def main(folder: Path, rows_path: Path) -> int:
    scenarios = load(folder)
    in_real_time = [scenario for scenario in scenarios if "real_time" in scenario.tags]
    of_threads = list(filter(in_threads, scenarios))
    rows = await run_all(queue_runtime, "python", scenarios, virtual_clock=True)
    rows += await run_all(queue_runtime, "python", in_real_time, virtual_clock=False)
    rows += await run_all(sync, "python-sync", of_threads, virtual_clock=True)
    print_table(rows)
    merge(rows, rows_path)
    ran = [row for row in rows if row.result != "skip"]
    return 1 if not ran or any(row.result == "fail" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
