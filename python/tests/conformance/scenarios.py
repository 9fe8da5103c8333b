"""The scenarios, read from their files: short forms written out, unknown keys refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

Table = dict[str, Any]


class Wrong(Exception):
    """A scenario that cannot be read, or that failed. Says which step, and how."""


@dataclass(frozen=True)
class Scenario:
    """A promise, and the steps that show it."""

    theme: str
    name: str
    needs: list[str]
    lacks: list[str]
    tags: list[str]
    #: Options of the runtime.
    runtime: Table
    options: Table
    steps: list[Step]


@dataclass(frozen=True)
class Step:
    """A verb, its arguments, and what must come of it."""

    verb: str
    table: Table = field(repr=False)

    def get(self, key: str) -> Any:
        return self.table.get(key)

    @property
    def argument(self) -> Any:
        return self.table[self.verb]


def load(folder: Path) -> list[Scenario]:
    """Every scenario, in the order of the files."""
    found = [scenario for file in sorted(folder.glob("*.toml")) for scenario in _file(file)]
    names = [scenario.name for scenario in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice or not found:
        raise Wrong(f"{folder}: {len(found)} scenarios, of one name: {sorted(twice)}")
    return found


def _file(path: Path) -> Iterator[Scenario]:
    for written in tomllib.loads(path.read_text())["scenario"]:
        try:
            yield _scenario(path.stem, written)
        except Wrong as error:
            raise Wrong(f"{path.name}: {written.get('name')}: {error}") from None


def _scenario(theme: str, written: Table) -> Scenario:
    _only(written.get("runtime"), "memory_limit")
    _only(written, "name about needs lacks tags runtime options steps")
    started: dict[str, Table] = {}
    steps = [read_step(table, started) for table in written["steps"]]
    if started:
        raise Wrong(f"{', '.join(started)}: started and neither joined nor cancelled")
    lists = (written.get(key, []) for key in ("needs", "lacks", "tags"))
    options = expand(written.get("options", {}))
    return Scenario(theme, written["name"], *lists, written.get("runtime", {}), options, steps)


def read_step(written: Table, started: dict[str, Table]) -> Step:
    """A step as it stands in the file; `started` keeps the started ones for their join."""
    table = expand(written)
    if "join" in table:
        # The started step with the keys of the join put over its own.
        table = {**_taken(started, table["join"]), **table}
        del table["start"]
    step = Step(_verb(table), table)
    _check(step)
    if "start" in table:
        started[table["start"]] = table
    if step.verb == "cancel":
        _taken(started, step.argument)
    return step


def _taken(started: dict[str, Table], name: str) -> Table:
    if name not in started:
        raise Wrong(f"{name} was not started")
    return started.pop(name)


# The keys of the verbs, beside those of every step.
_MESSAGE = "id headers session correlation_id content_type ttl delay dedup_id duplicate_of"
_STATUS = "ready in_hand prefetched concurrency sessions paused over_memory breaker"
_FILTER = "ids_of reason session header since until"
_SEEN = (
    "body id id_of session attempt attempts headers correlation_id content_type state reason "
    "description source enqueued_at locked_until first_delivered_at dead_lettered_at"
)
_CONSUMER = (
    "concurrency min_concurrency scale_cooldown prefetch prefetch_bytes max_messages wait lock "
    "max_lock_renewal reconnect idle breaker max_sessions session_idle session_max_messages "
    "session_max_time max_in_flight_per_group"
)
_BATCHES = (
    "batch_size batch_bytes batch_linger batch_concurrency min_batch_size target_batch_duration"
)
_VERBS = {
    "send": f"{_MESSAGE} by",
    "send_many": "",
    "receive": "wait lock from as expect count any_order",
    "ack": "",
    "nack": "reason delay",
    "release": "delay",
    "dead_letter": "reason description",
    "settle_many": "",
    "extend": "lock locked_until",
    "extend_many": "lock",
    "drop": "",
    "accept": "lock as locked_until",
    "accept_next": "lock as expect",
    "renew": "lock locked_until",
    "close_session": "",
    "drop_session": "",
    "state": "expect",
    "set_state": "to",
    "peek": "after expect",
    "dead_letters": "where after expect",
    "redrive": "where max per_second dry_run after expect",
    "purge": "where expect",
    "statistics": "",
    "dead_letter_statistics": "where expect",
    "explain": "expect",
    "create": "",
    "consume": f"from {_CONSUMER}",
    "next": "as expect count",
    "consumer_status": "expect",
    "cancelled": "cause",
    "drain": "deadline expect",
    "stop": "",
    "pause": "",
    "resume": "",
    "reset_breaker": "",
    "drop_consumer": "",
    "work": f"{_CONSUMER} {_BATCHES}",
    "call": "expect count",
    "return": "failed",
    "produce": "batch_size batch_bytes linger max_pending max_pending_bytes on_full",
    "flush": "",
    "close_producer": "deadline expect",
    "advance": "times",
    "pending": "",
    "cancel": "",
    "connect": "url url_options require",
    "configure": "options",
    "close_client": "",
}
_IN_BACKGROUND = {"send", "receive", "accept_next", "redrive", "next", "drain", "call"}
_SEEING = {"receive", "next", "call", "peek", "dead_letters"}
_SAY_WHAT_COMES = _SEEING | {
    "accept_next",
    "consumer_status",
    "close_producer",
    "explain",
    "dead_letter_statistics",
}


def _verb(table: Table) -> str:
    verbs = [verb for verb in _VERBS if verb in table]
    if len(verbs) != 1:
        raise Wrong(f"one verb is wanted, not {verbs}: {table}")
    return verbs[0]


def _check(step: Step) -> None:
    table, verb = step.table, step.verb
    _only(table, f"client queue start error join {verb} {_VERBS[verb]}")
    _only(table.get("error"), "kind field capability queue size limit")
    _only(table.get("where"), _FILTER)
    _only(table.get("statistics"), "ready in_flight delayed dead depth bytes sessions oldest_age")
    _only(table.get("send_many"), f"body error {_MESSAGE}")
    _only(table.get("settle_many"), "ack nack release dead_letter reason description delay error")
    _only(table.get("extend_many"), "extend error")
    if verb in _SEEING:
        _only(table.get("expect"), _SEEN)
    if verb == "redrive":
        _only(table.get("expect"), "matched redriven failed")
    if verb == "dead_letter_statistics":
        expect = table.get("expect", {})
        _only(expect, "count bytes oldest newest by_reason by_source by_age")
        _only(expect.get("by_reason"), "name count oldest newest")
        _only(expect.get("by_source"), "name count oldest newest")
    if verb == "drain":
        _only(table.get("expect"), "finished released abandoned")
    if verb == "consumer_status":
        _only(table.get("expect"), _STATUS)
    if verb == "close_producer":
        _only(table.get("expect"), "sent failed unsent")
    if verb == "explain":
        _only(table.get("expect"), "standing attempts behind parked earliest latest")
    if verb == "cancelled" and "cause" not in table:
        raise Wrong("it must say the cause")
    if "start" in table and verb not in _IN_BACKGROUND:
        raise Wrong(f"{verb} cannot be started")
    says = {"expect", "count", "start", "error"} & table.keys()
    if verb in _SAY_WHAT_COMES and not says:
        raise Wrong(f"{verb} must say what comes")


def _only(value: Any, keys: str) -> None:
    """Refuses other keys, of a table or of every table in a list."""
    for table in value if isinstance(value, list) else [value]:
        unknown = table.keys() - keys.split() if isinstance(table, dict) else None
        if unknown:
            raise Wrong(f"unknown keys: {', '.join(sorted(unknown))}")


def expand(value: Any) -> Any:
    """Writes the short forms out: `{x*3}` is `xxx`, and a list's entry with `{1..3}` is three."""
    if isinstance(value, str):
        if _RANGE.search(value):
            raise Wrong(f"the range in {value!r} stands outside of a list")
        return _REPEAT.sub(lambda found: found[1] * int(found[2]), value)
    if isinstance(value, list):
        return [expand(entry) for written in value for entry in _entries(written)]
    if isinstance(value, dict):
        return {expand(key): expand(inner) for key, inner in value.items()}
    return value


_REPEAT = re.compile(r"\{([^{}*]*)\*(\d+)\}")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def _entries(entry: Any) -> list[Any]:
    """What an entry of a list stands for."""
    lengths = set(_lengths(entry))
    if not lengths:
        return [entry]
    if len(lengths) > 1:
        raise Wrong(f"the ranges of {entry} differ in length")
    return [_picked(entry, number) for number in range(lengths.pop())]


def _lengths(entry: Any) -> Iterator[int]:
    if isinstance(entry, str):
        for first, last in _RANGE.findall(entry):
            yield int(last) + 1 - int(first)
    elif isinstance(entry, dict):
        for value in entry.values():
            yield from _lengths(value)


def _picked(entry: Any, number: int) -> Any:
    if isinstance(entry, str):
        return _RANGE.sub(lambda found: str(int(found[1]) + number), entry)
    if isinstance(entry, dict):
        return {key: _picked(value, number) for key, value in entry.items()}
    return entry
