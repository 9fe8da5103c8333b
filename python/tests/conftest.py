"""What the tests have in common."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest

#: Nothing here waits this long in real time, unless it hangs.
PATIENCE = 30.0

#: How many times the usual work to do.
SOAK = int(os.environ.get("QRT_SOAK", "1"))


async def until(condition: Callable[[], object]) -> None:
    """Gives the loop turns, and the engine's threads time, until this, or what it gives to be
    awaited, holds."""

    async def poll() -> None:
        while True:
            holds = condition()
            if inspect.isawaitable(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), PATIENCE)


def until_in_threads(condition: Callable[[], object]) -> None:
    """`until`, for threads."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Program:
    """Runs Python programs."""

    def __init__(self, folder: os.PathLike[str]) -> None:
        self._folder = folder

    def start(self, source: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self._folder, stdout=pipe, stderr=pipe, text=True)

    def run(self, source: str, *arguments: str) -> str:
        """Its output. It must end by itself, with nothing on stderr."""
        with self.start(source, *arguments) as process:
            try:
                output, errors = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert (process.returncode, errors) == (0, ""), output
        return output


@pytest.fixture
def program(tmp_path) -> Program:
    return Program(tmp_path)
