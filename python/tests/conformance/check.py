"""What a step expects, beside what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from queue_runtime import QueueError

from .scenarios import Table, Wrong
from .values import body, span

#: Fields that are moments.
_MOMENTS = {"enqueued_at", "locked_until", "first_delivered_at", "dead_lettered_at"}
#: Fields that are empty for none.
_TEXTS = {"session", "correlation_id", "content_type", "description"}


class Context:
    """What the names and moments of a scenario stand for."""

    def __init__(self, start: datetime, queue_name: Callable[[str], str]) -> None:
        self.start = start
        #: The name that a queue of the scenario has in the store.
        self.queue_name = queue_name
        #: Ids of sent messages, by their bodies.
        self.ids: dict[str, str] = {}

    def moment(self, text: str) -> datetime | None:
        """A duration since the start of the scenario."""
        return None if text == "none" else self.start + timedelta(seconds=span(text))

    def id_of(self, name: str) -> str:
        if name not in self.ids:
            raise Wrong(f"nothing was sent with the body {name!r}")
        return self.ids[name]


def equal(name: str, wanted: object, got: object) -> None:
    """Fails unless these are equal."""
    if wanted != got:
        raise Wrong(f"{name} is {_shown(got)}, expected {_shown(wanted)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}... of {len(text)}"


def ended(wanted: str | Table | None, error: QueueError | None, context: Context) -> bool:
    """Whether it succeeded. Fails unless it ended as it must."""
    if wanted is None:
        if error is not None:
            raise Wrong(f"failed: {error.kind}: {error}")
        return True
    table = wanted if isinstance(wanted, dict) else {"kind": wanted}
    if error is None:
        raise Wrong(f"succeeded, expected {table['kind']}")
    lost = error.kind in ("lock_lost", "session_lock_lost")
    # A lost lock also makes a receipt invalid, and says more.
    if not (lost and table["kind"] == "invalid_receipt"):
        equal("the error", table["kind"], error.kind)
    for name in table.keys() - {"kind"}:
        value = context.queue_name(table[name]) if name == "queue" else table[name]
        equal(f"its {name}", value, getattr(error, name))
    return False


def seen(
    wanted: Sequence[str | Table], got: Sequence[Any], any_order: bool, context: Context
) -> None:
    """Fails unless these came, in this order or in any."""
    if len(wanted) != len(got):
        raise Wrong(f"got {_shown([m.body for m in got])}, expected {_shown(list(wanted))}")
    left = list(got)
    for number, entry in enumerate(wanted, 1):
        table = entry if isinstance(entry, dict) else {"body": entry}
        if any_order:
            found = (i for i, m in enumerate(left) if _difference(table, m, context) is None)
            place = next(found, None)
            if place is None:
                raise Wrong(f"{_shown(entry)} is not among {_shown([m.body for m in got])}")
            del left[place]
        elif (difference := _difference(table, left.pop(0), context)) is not None:
            raise Wrong(f"message {number}: {difference}")


def _difference(wanted: Table, got: Any, context: Context) -> str | None:
    try:
        for name, value in wanted.items():
            _field(name, value, got, context)
    except Wrong as error:
        return str(error)
    return None


def _field(name: str, wanted: Any, got: Any, context: Context) -> None:
    if name == "body":
        equal(name, body(wanted), got.body)
    elif name == "id_of":
        equal("id", context.id_of(wanted), got.id)
    elif name == "headers":
        for header, value in wanted.items():
            equal(f"header {header!r}", value, got.headers.get(header))
    elif name == "source":
        equal(name, context.queue_name(wanted), got.source)
    elif name in _MOMENTS:
        equal(name, context.moment(wanted), getattr(got, name))
    elif name in _TEXTS:
        equal(name, wanted or None, getattr(got, name))
    else:
        equal(name, wanted, getattr(got, name))
