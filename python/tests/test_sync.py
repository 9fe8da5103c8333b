"""The API of threads."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from conftest import PATIENCE, until_in_threads
from typing_extensions import Self

from queue_runtime import errors, sync


def test_verbs_wait_for_their_end(qrt_sync):
    queue = qrt_sync.queue("jobs", max_messages=1)
    assert queue.receive_one(0) is None
    received = []
    thread = threading.Thread(target=lambda: received.append(queue.receive_one(PATIENCE)))
    thread.start()
    queue.send("a")
    thread.join()
    assert received[0].text() == "a"
    # The queue is full: the next one waits until there is room.
    thread = threading.Thread(target=queue.send, args=("b",))
    thread.start()
    received[0].ack()
    thread.join()
    with queue.receive_one(0) as delivery:
        assert delivery.text() == "b"
    assert delivery.settled


def test_a_block_settles_its_message(qrt_sync):
    queue = qrt_sync.queue("jobs", retry="none")
    queue.send("x")
    with pytest.raises(ValueError, match="why"), queue.receive_one(0):
        raise ValueError("why")
    with pytest.raises(KeyboardInterrupt), queue.receive_one(0) as delivery:
        raise KeyboardInterrupt
    # That attempt was given back.
    assert (delivery.attempt, queue.receive_one(0).attempt) == (2, 2)


def test_an_iterator_that_is_left_gives_back_what_it_fetched(qrt_sync):
    queue = qrt_sync.queue("jobs")
    queue.send_many([str(n) for n in range(10)])
    for delivery in queue.consume(prefetch=4):
        delivery.ack()
        break
    until_in_threads(lambda: queue.statistics().ready == 9)
    with queue.consume(prefetch=4) as consumer:
        next(consumer).ack()
        until_in_threads(lambda: consumer.status().prefetched >= 3)
    assert queue.statistics().ready == 8
    assert [delivery.text() for delivery in queue.consume(idle=0)] == list("23456789")


def test_a_closed_consumer_tells_who_waits_for_it(qrt_sync):
    queue = qrt_sync.queue("jobs")
    consumer, seen = queue.consume(), []
    began = threading.Event()

    def consume() -> None:
        began.set()
        seen.extend(consumer)
        seen.append("end")

    thread = threading.Thread(target=consume)
    thread.start()
    began.wait()
    consumer.close()
    thread.join(PATIENCE)
    assert seen == ["end"]


def test_sessions(qrt_sync):
    queue = qrt_sync.queue("jobs")
    queue.send("x", session="s")
    with queue.session("s") as session:
        assert session.receive_one(0).text() == "x"
        with pytest.raises(errors.SessionLockedError):
            queue.session("s")
    with queue.next_session(0) as session:
        assert session.id == "s"


class Spinner:
    """A thread that runs Python all the time."""

    def __enter__(self) -> Self:
        self.turns = 0
        self._stop = False
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()
        return self

    def _spin(self) -> None:
        while not self._stop:
            self.turns += 1

    def __exit__(self, *exc_info: object) -> None:
        self._stop = True
        self._thread.join()


@pytest.mark.parametrize("wait", ["receive", "send", "session", "consume"])
def test_another_thread_goes_on_during_every_wait(wait):
    # In real time: the waits have to last.
    client = sync.connect("memory:")
    queue = client.queue("jobs", max_messages=1)
    timer = None
    with Spinner() as spinner:
        before = spinner.turns
        if wait == "receive":
            assert queue.receive_one(0.2) is None
        elif wait == "session":
            assert queue.next_session(0.2) is None
        elif wait == "consume":
            assert list(queue.consume(idle=0.2)) == []
        else:
            queue.send("x")
            delivery = queue.receive_one(0)
            timer = threading.Timer(0.2, delivery.ack)
            timer.start()
            queue.send("y")
        # It had the interpreter while this thread waited, not only between two waits.
        assert spinner.turns > before
    if timer is not None:
        timer.join()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals for threads here")
@pytest.mark.parametrize("wait", ["receive", "receive_one", "send", "session", "consume"])
def test_a_signal_ends_every_wait(wait, qrt_sync):
    """As Ctrl-C does. Nothing is lost by it."""
    queue = qrt_sync.queue("jobs", max_messages=1)

    def consume() -> None:
        with queue.consume() as consumer:
            next(consumer)

    waits = {
        "receive": lambda: queue.receive(5, PATIENCE),
        "receive_one": lambda: queue.receive_one(PATIENCE),
        "send": lambda: queue.send("more"),
        "session": lambda: queue.next_session(PATIENCE),
        "consume": consume,
    }
    if wait == "send":
        queue.send("x")
    main = threading.main_thread().ident
    timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        waits[wait]()
    timer.join()
    if wait != "send":
        queue.send("x", session="s")
    assert queue.receive_one(0).attempt == 1
    assert queue.statistics().depth == 1


def test_a_handler_of_a_signal_that_returns_does_not_end_a_wait(qrt_sync):
    queue = qrt_sync.queue("jobs")
    seen = []

    def handle(number: int, frame: object) -> None:
        seen.append(number)
        queue.send("from the handler")

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert queue.receive_one(PATIENCE).text() == "from the handler"
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_many_threads_share_a_client(qrt_sync):
    queue = qrt_sync.queue("jobs", max_messages=10)
    count, threads = 500, 4
    seen: list[str] = []

    def send(number: int) -> None:
        for index in range(count):
            queue.send(f"{number}-{index}")

    def receive() -> None:
        for delivery in queue.consume(prefetch=3):
            if delivery.text() == "end":
                delivery.release()
                return
            seen.append(delivery.text())
            delivery.ack()

    senders = [threading.Thread(target=send, args=(n,)) for n in range(threads)]
    receivers = [threading.Thread(target=receive) for _ in range(threads)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders:
        thread.join()
    queue.send("end")
    for thread in receivers:
        thread.join()
    assert sorted(seen) == sorted(f"{n}-{i}" for n in range(threads) for i in range(count))
