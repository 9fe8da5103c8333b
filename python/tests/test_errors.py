"""Errors say what is wrong, by kinds under one root."""

from __future__ import annotations

import builtins
import pickle
from datetime import timedelta

import pytest

import queue_runtime as qr
from queue_runtime import errors


def test_every_kind_has_a_class_under_the_root():
    # The kinds of the C ABI, which are permanent.
    kinds = {
        *("invalid_argument", "invalid_config", "invalid_message", "message_too_large"),
        *("closed", "forked", "cancelled", "would_deadlock", "unsupported"),
        *("queue_not_found", "already_exists", "unauthenticated", "permission_denied"),
        *("invalid_receipt", "lock_lost", "session_locked", "session_lock_lost"),
        *("timeout", "throttled", "unavailable", "circuit_open", "full"),
        *("io", "corrupt", "provider", "panic"),
    }
    assert errors._KINDS.keys() == kinds
    for kind, cls in errors._KINDS.items():
        assert issubclass(cls, qr.QueueError)
        assert cls.__name__ == "".join(map(str.capitalize, kind.split("_"))) + "Error"
    assert issubclass(errors.TimeoutError, builtins.TimeoutError)
    assert issubclass(errors.LockLostError, errors.InvalidReceiptError)
    assert issubclass(errors.InvalidConfigError, ValueError)


async def test_an_error_knows_its_place(qrt):
    queue = qrt.queue("jobs", on_full="error", max_messages=1)
    await queue.send("x")
    with pytest.raises(errors.FullError, match="jobs") as raised:
        await queue.send("y")
    error = raised.value
    assert (error.kind, error.queue, error.operation) == ("full", "jobs", "send")
    assert error.retryable
    assert error.retry_after == 0.1
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.queue) == (errors.FullError, str(error), "jobs")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda q: q.send(5), TypeError, "a body must be bytes or str, not int"),
        (lambda q: q.send(None), TypeError, "needs a body"),
        (lambda q: q.send(), TypeError, "needs a body"),
        (lambda q: q.send("x", json=1), TypeError, "not both"),
        (lambda q: q.send("x", headers={"a": 1}), TypeError, "a header must be str, not int"),
        (lambda q: q.send("x", headers={1: "a"}), TypeError, "header's name must be str"),
        (lambda q: q.send("x", session=5), TypeError, "session"),
        (lambda q: q.send("x", delay="1s"), TypeError, "delay must be a number of seconds"),
        (lambda q: q.send("x", delay=-1), errors.InvalidArgumentError, "delay must not be neg"),
        (lambda q: q.send("x", ttl=float("nan")), errors.InvalidArgumentError, "ttl must be fin"),
        (lambda q: q.send("x", ttl=timedelta(-1)), errors.InvalidArgumentError, "ttl must not"),
        (lambda q: q.send(json=object()), TypeError, "not JSON serializable"),
        (lambda q: q.send("\ud800"), UnicodeEncodeError, "surrogates"),
        (lambda q: q.send_many("abc"), TypeError, "iterable of messages, not str"),
        (lambda q: q.send_many([1]), TypeError, "a body must be bytes or str, not int"),
        (lambda q: q.send_many(5), TypeError, "not iterable"),
        (lambda q: q.receive(-1), OverflowError, "can't convert|out of range"),
        (lambda q: q.receive(1, -1), errors.InvalidArgumentError, "wait must not be negative"),
        (lambda q: q.receive(1, 0, lock="x"), TypeError, "lock must be a number of seconds"),
        (lambda q: q.ack_many([1]), TypeError, "deliveries are wanted, not <class 'int'>"),
        (lambda q: q.settle(["ack"]), TypeError, "settlements are wanted, not str"),
        (lambda q: q.redrive(max_messages=0), errors.InvalidArgumentError, "max_messages must be"),
        (lambda q: q.dead_letters(since=5), TypeError, "since must be a datetime, not int"),
        (lambda q: q.dead_letter_statistics(until=5), TypeError, "until must be a datetime"),
    ],
)
def test_bad_arguments_are_refused_by_name(qrt, call, error, says):
    # At the call: no await is needed to find a bug of the caller's.
    with pytest.raises(error, match=says):
        call(qrt.queue("jobs"))


async def test_what_the_engine_refuses_is_raised_when_awaited(qrt):
    queue = qrt.queue("jobs")
    for call, error, field in [
        (queue.receive(0), errors.InvalidArgumentError, "max_messages"),
        (queue.send("x", session=""), errors.InvalidMessageError, "session"),
        (queue.next_session(lock=0), errors.InvalidArgumentError, "lock"),
    ]:
        with pytest.raises(error) as raised:
            await call
        assert raised.value.field == field


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lokc": 5}, "lokc: there is no such option"),
        ({"budget": 0}, "budget"),
        ({"lock": timedelta(hours=13)}, "lock"),
        ({"lock": "30"}, "lock"),
        ({"retry": "often"}, "retry"),
        ({"on_full": "explode"}, "on_full"),
    ],
)
def test_bad_options_are_refused_by_name(qrt, options, says):
    with pytest.raises(errors.InvalidConfigError, match=says):
        qrt.queue("jobs", **options)
    with pytest.raises(errors.InvalidConfigError, match=says):
        qr.connect("memory:", **options).__await__().__next__()


def test_a_duration_is_no_other_thing(qrt):
    with pytest.raises(TypeError, match="lock must be a number of seconds, a timedelta or text"):
        qrt.queue("jobs", lock=[1])
    with pytest.raises(errors.InvalidConfigError, match="worker_threads"):
        qr.Runtime(worker_threads=0)
    with pytest.raises(errors.InvalidConfigError, match="threads"):
        qr.Runtime(threads=1)
    with pytest.raises(errors.InvalidConfigError, match="carrier-pigeon"):
        qr.connect("carrier-pigeon:loft").__await__().__next__()


def test_only_a_virtual_clock_can_be_moved():
    with pytest.raises(errors.InvalidArgumentError):
        qr.Runtime().advance(1)
