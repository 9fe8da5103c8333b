"""A PostgreSQL server of a test's own, through the script that starts one for all languages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tests" / "services" / "postgres"


class Server:
    """A server while it runs."""

    def __init__(self, script: subprocess.Popen[str]) -> None:
        self._script = script
        said, _, self.url = self._answer().partition(" ")
        if said == "missing":
            pytest.skip("PostgreSQL is missing: scripts/setup installs it")

    def ask(self, query: str) -> str:
        """The rows of a query, or of statements, as text."""
        psql = shutil.which("psql")
        assert psql is not None
        command = [psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", query, self.url]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._tell("kill")

    def restart(self) -> None:
        """Starts it again, at the same URL."""
        self._tell("start")

    def _tell(self, command: str) -> None:
        assert self._script.stdin is not None
        print(command, file=self._script.stdin, flush=True)
        assert self._answer()

    def _answer(self) -> str:
        assert self._script.stdout is not None
        return self._script.stdout.readline().strip()


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    """Starts one, which ends with this process, however that ends."""
    pipe = subprocess.PIPE
    command = [sys.executable, str(SCRIPT), *settings]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as script:
        yield Server(script)
        assert script.stdin is not None
        script.stdin.close()
