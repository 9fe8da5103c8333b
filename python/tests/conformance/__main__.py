"""Runs every scenario on each target, by the asyncio API and by that of threads: without a server
all in virtual time, those that make sense there in real time as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from types import ModuleType

import queue_runtime
from queue_runtime import sync

from .report import Row, merge, print_table
from .scenarios import Scenario, load
from .steps import patiently, take, why
from .target import Target, targets
from .world import TooLate, World

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
                return f"step {number} {json.dumps(step.table)[:400]}: {why(error)}"
        return None
    finally:
        await world.close()


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
