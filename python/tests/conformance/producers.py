"""Producers: their verbs, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import check
from .consumers import options, same
from .scenarios import Step
from .values import body, span
from .world import World

_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "batch_size": same,
    "batch_bytes": same,
    "linger": span,
    "max_pending": same,
    "max_pending_bytes": same,
    "on_full": same,
}


def produce(queue: Any, step: Step) -> Any:
    """Makes a producer."""
    return queue.producer(**options(step, _OPTIONS))


def prepare(world: World, step: Step) -> Callable[[], Any]:
    """The call that a step makes."""
    producer = world.named(world.producers, step.argument)
    if step.verb == "flush":
        return lambda: producer.flush()
    return lambda: producer.close(span(step.table["deadline"]))


def closed(step: Step, report: Any) -> None:
    """Fails unless a producer's report is as expected."""
    wanted = {"unsent": [], **step.table["expect"]}
    check.equal("sent", wanted["sent"], report.sent)
    check.equal("failed", wanted["failed"], report.failed)
    unsent = [message.body for message in report.unsent]
    check.equal("unsent", [body(text) for text in wanted["unsent"]], unsent)
