"""The process: its end in every state, and its children."""

from __future__ import annotations

import os
import signal
import textwrap

import pytest
from conftest import PATIENCE, SOAK

PREAMBLE = """
import asyncio, atexit, os, sys, threading, time
import queue_runtime as qr
from queue_runtime import sync

def opened(**options):
    client = sync.connect("memory:jobs", **options)
    return client, client.queue("jobs")
"""

#: What a program does last.
STATES = {
    "imported": "",
    "idle": "client, queue = opened()",
    "never closed": "client, queue = opened(); queue.send('x'); held = queue.receive_one(0)",
    "consumer left open": """
        client, queue = opened()
        queue.send_many(['a', 'b'])
        consumer = queue.consume(prefetch=2)
        next(consumer)
    """,
    "closed": "with opened()[0]: pass",
    "a daemon thread receives": """
        client, queue = opened()
        for _ in range(4):
            threading.Thread(target=queue.receive_one, args=(60,), daemon=True).start()
        while threading.active_count() < 5: time.sleep(0.001)
    """,
    "a daemon thread sends": """
        client, queue = opened(max_messages=1)
        def send():
            while True:
                queue.send('x')
        for _ in range(4):
            threading.Thread(target=send, daemon=True).start()
        while queue.statistics().depth == 0: time.sleep(0.001)
    """,
    "daemon threads consume": """
        client, queue = opened()
        def consume():
            for delivery in queue.consume(prefetch=4):
                delivery.ack()
        for _ in range(4):
            threading.Thread(target=consume, daemon=True).start()
        for _ in range(500):
            queue.send('x')
    """,
    "a daemon thread's loop receives": """
        async def main():
            async with qr.connect("memory:jobs") as client:
                queue = client.queue("jobs")
                waiting = [asyncio.create_task(queue.receive_one(60)) for _ in range(8)]
                await asyncio.sleep(0)
                started.set()
                await asyncio.gather(*waiting)
        started = threading.Event()
        threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
        started.wait()
        client, queue = opened()
        queue.send('x')
    """,
    "asyncio, with tasks left": """
        async def main():
            client = await qr.connect("memory:jobs")
            queue = client.queue("jobs")
            tasks = [asyncio.create_task(queue.receive_one(60)) for _ in range(8)]
            tasks += [asyncio.create_task(queue.send(str(n))) for n in range(4)]
            await asyncio.sleep(0)
            main.kept = tasks
        asyncio.run(main())
    """,
    "asyncio, consuming": """
        async def main():
            client = await qr.connect("memory:jobs")
            queue = client.queue("jobs")
            await queue.send_many(['a', 'b', 'c'])
            async for delivery in queue.consume(prefetch=2):
                async with delivery:
                    return
        asyncio.run(main())
    """,
    "an exception in a handler": """
        import logging
        logging.disable()
        async def main():
            async with qr.connect("memory:jobs") as client:
                worker = qr.Worker(client)
                queue = client.queue("jobs", budget=1)
                @worker.handler(queue)
                async def handle(delivery):
                    worker.stop()
                    raise ValueError
                await queue.send('x')
                await worker.run()
        asyncio.run(main())
    """,
    "in the handler of a worker of threads": """
        client, queue = opened()
        worker = sync.Worker(client, concurrency=2)
        @worker.handler(queue)
        def handle(delivery):
            worker.stop()
        queue.send('x')
        worker.run()
    """,
    "at exit": """
        client, queue = opened()
        held = []
        def late():
            try:
                queue.send('x')
            except qr.errors.ClosedError:
                print("closed")
        # Functions run in the other order: this one before the engine ends, that one after it.
        atexit.register(lambda: queue.send('before'))
    """,
    "os._exit": "client, queue = opened(); os._exit(0)",
    "sys.exit in a block": """
        client, queue = opened()
        queue.send('x')
        with client, queue.receive_one(0):
            sys.exit(0)
    """,
    "several runtimes": """
        kept = [sync.connect("memory:", runtime=qr.Runtime(worker_threads=1)) for _ in range(20)]
        for client in kept:
            threading.Thread(target=client.queue("q").receive_one, args=(60,), daemon=True).start()
    """,
}


@pytest.mark.parametrize("state", STATES)
def test_a_program_ends_quietly(state, program):
    for _ in range(SOAK):
        program.run(PREAMBLE + textwrap.dedent(STATES[state]))


def test_a_terminated_program_ends(program):
    source = (
        PREAMBLE
        + """
client, queue = opened()
print("waiting", flush=True)
queue.receive_one(60)
"""
    )
    for number, status in [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)]:
        with program.start(source) as process:
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE)
        # Python shows where Ctrl-C struck, and ends by it.
        assert process.returncode in (status, -number), errors
        assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
class TestFork:
    """A child of a process that uses the library."""

    def test_a_child_is_told_and_can_connect_anew(self, program):
        output = program.run(
            PREAMBLE
            + """
client, queue = opened()
queue.send("parent's")
delivery = queue.receive_one(0)
# It fetches ahead, and would take what the loop waits for.
consumer = client.queue("others").consume(prefetch=2)
session = queue.session("s")

async def parent_loop():
    aclient = await qr.connect("memory:jobs")
    aqueue = aclient.queue("jobs")
    waiting = asyncio.create_task(aqueue.receive_one(60))
    await asyncio.sleep(0.01)
    child = os.fork()
    if child == 0:
        in_child(aqueue)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The parent's loop, client and lock are as they were.
    await aqueue.send("after the fork")
    assert (await waiting).text() == "after the fork"
    await asyncio.sleep(0)

def in_child(aqueue):
    begun = time.monotonic()
    verbs = [
        lambda: queue.send("x"), lambda: queue.receive_one(1), lambda: queue.statistics(),
        lambda: delivery.ack(), lambda: next(consumer), lambda: session.renew(),
        lambda: session.close(), lambda: client.close(), lambda: client.queue("other"),
        lambda: queue.send_many(["x"]), lambda: queue.dead_letters(),
        lambda: queue.dead_letter_statistics(),
        lambda: aqueue.send("x").send(None), lambda: aqueue.receive_one(1).send(None),
        lambda: client.runtime.metrics(),
    ]
    for number, verb in enumerate(verbs):
        try:
            verb()
        except qr.errors.ForkedError:
            continue
        print("no ForkedError from", number, flush=True)
    assert time.monotonic() - begun < 1
    import gc
    globals().update(client=None, queue=None, delivery=None, consumer=None, session=None)
    aqueue = None
    gc.collect()
    own, queue2 = opened()
    queue2.send("child's")
    with queue2.receive_one(0) as mine:
        print(mine.text(), flush=True)
    sys.stdout.flush()
    os._exit(0)

asyncio.run(parent_loop())
delivery.ack()
print("parent", queue.statistics().in_flight)
"""
        )
        assert output == "child's\nparent 1\n"

    def test_a_child_that_never_touches_it_ends_as_any(self, program):
        program.run(
            PREAMBLE
            + """
import multiprocessing
client, queue = opened()
threading.Thread(target=queue.receive_one, args=(60,), daemon=True).start()

def work(number):
    return number * 2

if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore")  # Newer versions of Python dislike to fork where threads are.
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        assert pool.map(work, range(100)) == [n * 2 for n in range(100)]
    process = context.Process(target=sys.exit, args=(0,))
    process.start()
    process.join()
    assert process.exitcode == 0
"""
        )

    def test_children_may_work_with_clients_of_their_own(self, program):
        output = program.run(
            PREAMBLE
            + """
import multiprocessing, warnings
warnings.simplefilter("ignore")
client, queue = opened()
queue.send("x")

def work(number):
    async def main():
        async with qr.connect("memory:") as client:
            queue = client.queue("jobs")
            waiting = asyncio.create_task(queue.receive_one(30))
            await asyncio.sleep(0)
            await queue.send(str(number))
            return (await waiting).text()
    return asyncio.run(main())

with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(work, range(4)))
"""
        )
        assert output == "['0', '1', '2', '3']\n"
