"""What the scenarios run against: the entries of targets.toml."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from queue_runtime import Capabilities, sync

from .scenarios import tomllib
from .values import span


@dataclass(frozen=True)
class Store:
    """A store that nobody else uses, for one scenario."""

    url: str
    folder: str | None
    #: Before the names of all queues: on a server they are the scenario's own.
    prefix: str

    def queue_name(self, name: str) -> str:
        """An empty name stays empty: it is a mistake on purpose."""
        return name and self.prefix + name

    def remove(self) -> None:
        # Threads of the store may outlive its last client by the work they are at.
        while self.folder is not None and os.path.exists(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Target:
    provider: str
    url: str
    #: The variable with the address of its server, which is not empty when a scenario starts.
    server: str | None = None
    #: How late its messages may be, in seconds.
    slack: float = 0.0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def store(self) -> Store:
        folder = tempfile.mkdtemp(prefix="queue-runtime-") if "{folder}" in self.url else None
        url = self.url.replace("{folder}", folder or "")
        prefix = f"py{os.getpid()}-{next(self._numbers)}-" if self.server else ""
        return Store(url, folder, prefix)

    @cached_property
    def capabilities(self) -> Capabilities:
        store = self.store()
        try:
            with sync.connect(store.url) as client:
                return client.capabilities()
        finally:
            store.remove()


def targets(path: Path) -> list[Target]:
    """Those without a server, and those whose server is running."""
    entries = tomllib.loads(path.read_text())["target"]
    return [_target(**entry) for entry in entries if entry.get("server", "PATH") in os.environ]


def _target(url: str, slack: str = "0s", server: str | None = None, **others: Any) -> Target:
    if server is not None:
        url = url.replace("{address}", os.environ[server])
    return Target(url=url, slack=span(slack), server=server, **others)
