"""The verbs of a provider: begun here, and what came of them compared with what must."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from queue_runtime import Settlement

from . import check, consumers, producers, workers
from .scenarios import Step, Table, Wrong
from .values import body, some_span, span
from .world import World, awaited

#: A verb of an object, to be begun.
Verb = Callable[[], Any]


async def prepare(world: World, step: Step) -> Verb:
    """The call that a step makes. An error of the library is the step's."""
    match step.verb:
        case "connect":
            return lambda: world.connect(step)
        case "close_client":
            client = await world.client(step.argument)
            return lambda: client.close()
        case "ack" | "nack" | "release" | "dead_letter" if "client" in step.table or (
            "queue" in step.table
        ):
            # Through a queue that the step names, instead of the delivery's own.
            queue, settlement = await world.queue(step), _settlement(world, step.table)
            return lambda: _settle_one(queue, settlement)
        case "ack" | "nack" | "release" | "dead_letter" | "extend":
            return _of_delivery(world, step)
        case "receive" if "from" in step.table:
            return _receive(world.named(world.sessions, step.table["from"]), step)
        case "consume" if "from" in step.table:
            session = world.named(world.sessions, step.table["from"])
            return lambda: consumers.consume(session, step)
        case "renew" | "state" | "set_state" | "close_session":
            return _of_session(world, step)
        case verb if verb in consumers.VERBS:
            return consumers.prepare(world, step)
        case "call" | "return":
            return workers.prepare(world, step)
        case "flush" | "close_producer":
            return producers.prepare(world, step)
        case "send" if "by" in step.table:
            producer = world.named(world.producers, step.table["by"])
            return lambda: producer.send(body(step.argument), **_outgoing(step.table))
    return _of_queue(world, await world.queue(step), step)


async def _settle_one(queue: Any, settlement: Any) -> None:
    (result,) = await awaited(queue.settle([settlement]))
    if result.error is not None:
        raise result.error


def _of_delivery(world: World, step: Step) -> Verb:
    delivery = world.named(world.deliveries, step.argument)
    match step.verb:
        case "ack":
            return lambda: delivery.ack()
        case "nack":
            delay = some_span(step.get("delay"))
            return lambda: delivery.nack(step.get("reason"), delay=delay)
        case "release":
            delay = some_span(step.get("delay"))
            return lambda: delivery.release(delay=delay)
        case "dead_letter":
            return lambda: delivery.dead_letter(step.table["reason"], step.get("description"))
    return lambda: delivery.extend(span(step.table["lock"]))


def _settlement(world: World, entry: Table) -> Any:
    verbs = [verb for verb in ("ack", "nack", "release", "dead_letter") if verb in entry]
    if len(verbs) != 1:
        raise Wrong("exactly one of ack, nack, release, dead_letter")
    delivery = world.named(world.deliveries, entry[verbs[0]])
    delay = some_span(entry.get("delay"))
    match verbs[0]:
        case "ack":
            return Settlement.ack(delivery)
        case "nack":
            return Settlement.nack(delivery, entry.get("reason"), delay=delay)
        case "release":
            return Settlement.release(delivery, delay=delay)
    return Settlement.dead_letter(delivery, entry["reason"], entry.get("description"))


def _receive(source: Any, step: Step) -> Verb:
    wait = some_span(step.get("wait")) or 0.0
    # A receive of one has its own way through the library; it is to be seen, too.
    if step.argument == 1 and "lock" not in step.table:
        return lambda: source.receive_one(wait)
    options = {"lock": span(step.table["lock"])} if "lock" in step.table else {}
    return lambda: source.receive(step.argument, wait, **options)


async def _collect(world: World, queue: Any, step: Step) -> list[Any]:
    """Receives, and goes on with what is still missing from a server that may be late."""
    came = _list(await awaited(_receive(queue, step)()))
    wanted = step.table.get("count", len(step.table.get("expect", [])))
    end = time.monotonic() + world.target.slack
    options = {"lock": span(step.table["lock"])} if "lock" in step.table else {}
    while len(came) < wanted and time.monotonic() < end:
        came += await awaited(queue.receive(wanted - len(came), 1.0, **options))
    return came


def _list(came: Any) -> list[Any]:
    """Of a receive of one, a list like that of many."""
    return came if isinstance(came, list) else [came] if came else []


def _of_session(world: World, step: Step) -> Verb:
    session = world.named(world.sessions, step.argument)
    match step.verb:
        case "renew":
            return lambda: session.renew(some_span(step.get("lock")))
        case "state":
            return lambda: session.state()
        case "set_state":
            state = body(step.table["to"]) if "to" in step.table else None
            return lambda: session.set_state(state)
    del world.sessions[step.argument]
    return lambda: session.close()


def _of_queue(world: World, queue: Any, step: Step) -> Verb:
    match step.verb:
        case "send":
            arguments = _outgoing(step.table)
            return lambda: queue.send(body(step.argument), **arguments)
        case "send_many":
            entries = [_entry(entry) for entry in step.argument]
            message = world.api.Message
            # An entry that cannot be a message is an error of the whole, as in every language.
            return lambda: queue.send_many(
                [message(body(entry["body"]), **_outgoing(entry)) for entry in entries]
            )
        case "receive" if world.target.slack and step.table.keys().isdisjoint({"start", "join"}):
            return lambda: _collect(world, queue, step)
        case "receive":
            return _receive(queue, step)
        case "settle_many":
            settlements = [_settlement(world, entry) for entry in step.argument]
            return lambda: queue.settle(settlements)
        case "extend_many":
            names = [entry["extend"] for entry in step.argument]
            deliveries = [world.named(world.deliveries, name) for name in names]
            return lambda: queue.extend_many(deliveries, span(step.table["lock"]))
        case "accept":
            return lambda: queue.session(step.argument, lock=some_span(step.get("lock")))
        case "accept_next":
            lock = some_span(step.get("lock"))
            return lambda: queue.next_session(span(step.argument), lock=lock)
        case "peek":
            after = world.cursor(step.get("after"))
            return lambda: queue.peek(step.argument, after=after)
        case "dead_letters":
            after, where = world.cursor(step.get("after")), _filter(world, step)
            return lambda: queue.dead_letters(step.argument, after=after, **where)
        case "redrive":
            options = {
                "max_messages": step.get("max"),
                "per_second": step.get("per_second"),
                "dry_run": step.table.get("dry_run", False),
                "after": world.cursor(step.get("after")),
                **_filter(world, step),
            }
            return lambda: queue.redrive(**options)
        case "purge":
            where = _filter(world, step)
            return lambda: queue.purge_dead_letters(**where)
        case "statistics":
            return lambda: queue.statistics()
        case "dead_letter_statistics":
            where = _filter(world, step)
            return lambda: queue.dead_letter_statistics(**where)
        case "explain":
            id_ = world.context.id_of(step.argument)
            return lambda: queue.explain_message(id_)
        case "create":
            return lambda: queue.create()
        case "consume":
            return lambda: consumers.consume(queue, step)
        case "work":
            return lambda: workers.work(world, queue, step)
        case "produce":
            return lambda: producers.produce(queue, step)
    raise Wrong(f"{step.verb} is listed and not begun")


def _entry(entry: str | Table) -> Table:
    return entry if isinstance(entry, dict) else {"body": entry}


def _outgoing(table: Table) -> Table:
    names = ("id", "headers", "session", "correlation_id", "content_type", "dedup_id")
    arguments = {name: table[name] for name in names if name in table}
    return arguments | {name: span(table[name]) for name in ("ttl", "delay") if name in table}


def _filter(world: World, step: Step) -> Table:
    where = dict(step.get("where") or {})
    if "ids_of" in where:
        where["ids"] = [world.context.id_of(name) for name in where.pop("ids_of")]
    if "header" in where:
        where["header"] = tuple(where["header"])
    for name in {"since", "until"} & where.keys():
        where[name] = world.context.moment(where[name])
    return where


def finish(world: World, step: Step, came: Any) -> None:
    """Compares what came with what must, and keeps what later steps call by name."""
    table = step.table
    match step.verb:
        case "send":
            _stored(world, {**table, "body": step.argument}, came)
        case "send_many":
            _each(world, [_entry(entry) for entry in step.argument], came, _stored)
        case "receive" | "next":
            _received(world, step, _list(came))
        case "consume" | "work":
            world.consumers[step.argument] = came
        case "call":
            workers.called(world, step, came)
        case "produce":
            world.producers[step.argument] = came
        case "close_producer":
            producers.closed(step, came)
        case "drain":
            consumers.drained(step, came)
        case "settle_many" | "extend_many":
            _each(world, step.argument, came, None)
        case "extend":
            _locked_until(world, step, world.deliveries[step.argument])
        case "renew":
            _locked_until(world, step, world.sessions[step.argument])
        case "accept":
            check.equal("the session", step.argument, came.id)
            _locked_until(world, step, came)
            world.sessions[table.get("as", came.id)] = came
        case "accept_next":
            if "expect" in table:
                check.equal("the session", table["expect"], [came.id] if came else [])
            if came:
                world.sessions[table.get("as", came.id)] = came
        case "state":
            wanted = table.get("expect", [])
            check.equal("the state", body(wanted[0]) if wanted else None, came)
        case "peek":
            world.cursors.update((message.body, message.sequence) for message in came)
            check.seen(table.get("expect", []), came, False, world.context)
        case "dead_letters":
            world.cursors.update((letter.body, letter.number) for letter in came)
            check.seen(table.get("expect", []), came, False, world.context)
        case "redrive" if "expect" in table:
            wanted = {"failed": 0, **table["expect"]}
            got = {"matched": came.matched, "redriven": came.redriven, "failed": len(came.failed)}
            check.equal("the report", wanted, got)
        case "purge" if "expect" in table:
            check.equal("the count", table["expect"], came)
        case "statistics":
            _counts(step.argument, came)
        case "dead_letter_statistics":
            _dead_letters_counted(world, table["expect"], came)
        case "explain":
            _explained(world, step, came)


def _each(
    world: World,
    entries: list[Table],
    results: Any,
    then: Callable[[World, Table, Any], None] | None,
) -> None:
    check.equal("the number of results", len(entries), len(results))
    for number, (entry, result) in enumerate(zip(entries, results, strict=True), 1):
        try:
            if check.ended(entry.get("error"), result.error, world.context) and then:
                then(world, entry, result)
        except Wrong as error:
            raise Wrong(f"entry {number}: {error}") from None


def _stored(world: World, entry: Table, sent: Any) -> None:
    check.equal("duplicate", "duplicate_of" in entry, sent.is_duplicate)
    if "duplicate_of" in entry:
        check.equal("the id", world.context.id_of(entry["duplicate_of"]), sent.id)
        return
    if "id" in entry:
        check.equal("the id", entry["id"], sent.id)
    elif not sent.id or sent.id in world.made:
        raise Wrong(f"the id {sent.id!r} is empty or was given before")
    world.made.add(sent.id)
    world.context.ids[entry["body"]] = sent.id


def _received(world: World, step: Step, deliveries: list[Any]) -> None:
    table = step.table
    if "count" in table:
        check.equal("the number of deliveries", table["count"], len(deliveries))
    if "expect" in table:
        any_order = table.get("any_order", False)
        check.seen(table["expect"], deliveries, any_order, world.context)
    for name, delivery in zip(table.get("as", []), deliveries, strict=False):
        world.deliveries[name] = delivery
    for delivery in deliveries:
        world.deliveries[delivery.body.decode(errors="replace")] = delivery


def _locked_until(world: World, step: Step, held: Any) -> None:
    if "locked_until" in step.table:
        wanted = world.context.moment(step.table["locked_until"])
        check.equal("the end of the lock", wanted, held.locked_until)


def _explained(world: World, step: Step, came: Any) -> None:
    for name, wanted in step.table["expect"].items():
        match name:
            case "behind":
                got = came.behind and came.behind.id
                check.equal(name, world.context.id_of(wanted), got)
            case "earliest" | "latest":
                check.equal(name, world.context.moment(wanted), getattr(came, name))
            case _:
                check.equal(name, wanted, getattr(came, name))


def _dead_letters_counted(world: World, wanted: Table, got: Any) -> None:
    for name, value in wanted.items():
        match name:
            case "by_reason" | "by_source":
                names = str if name == "by_reason" else world.context.queue_name
                groups = getattr(got, name)
                counts = [(names(group["name"]), group["count"]) for group in value]
                check.equal(name, counts, [(group.name, group.count) for group in groups])
                for group, said in zip(value, groups, strict=True):
                    for end in {"oldest", "newest"} & group.keys():
                        moment = world.context.moment(group[end])
                        check.equal(f"{end} of {said.name!r}", moment, getattr(said, end))
            case "by_age":
                check.equal(name, value, [age.count for age in got.by_age])
            case "oldest" | "newest":
                check.equal(name, world.context.moment(value), getattr(got, name))
            case _:
                check.equal(name, value, getattr(got, name))


def _counts(wanted: Table, got: Any) -> None:
    for name, value in wanted.items():
        if name == "oldest_age":
            value = None if value == "none" else span(value)
        check.equal(name, value, getattr(got, name))
