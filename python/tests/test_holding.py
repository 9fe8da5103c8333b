"""A handler that holds the interpreter, or its event loop, for three times the lock keeps its
message: nobody else gets it, in another process neither. In real time, as it is about threads."""

from __future__ import annotations

import json

import pytest

from queue_runtime import sync

#: Handles one message, prints "at work" when it has begun, and at its end the attempts and report.
HOLDS = """
import asyncio, ctypes, json, sys
import queue_runtime as qr
from queue_runtime import sync

url, attempts = sys.argv[1], []

def work(delivery):
    attempts.append(delivery.attempt)
    print("at work", flush=True)
    # As no well-behaved function does: nobody else runs Python meanwhile.
    ctypes.PyDLL(None).usleep(3_000_000)

def tell(report):
    print(json.dumps({"attempts": attempts, **report.__dict__}))
"""

FACES = {
    "asyncio": """
async def main():
    async with qr.connect(url, lock=1) as client:
        worker = qr.Worker(client, concurrency=2)

        @worker.handler("jobs")
        async def handle(delivery):
            work(delivery)
            await asyncio.sleep(0)
            worker.stop()

        tell(await worker.run())

asyncio.run(main())
""",
    "threads": """
with sync.connect(url, lock=1) as client:
    worker = sync.Worker(client, concurrency=2)

    @worker.handler("jobs")
    def handle(delivery):
        work(delivery)
        worker.stop()

    tell(worker.run())
""",
}


@pytest.mark.parametrize("face", FACES)
def test_another_process_gets_nothing_meanwhile(face, program, tmp_path):
    url = f"file://{tmp_path}/queues?segment_bytes=4194304"
    with sync.connect(url, lock=1) as client:
        queue = client.queue("jobs")
        queue.send("x")
        with program.start(HOLDS + FACES[face], url) as process:
            assert process.stdout.readline() == "at work\n", process.communicate()
            while process.poll() is None:
                assert queue.receive_one(0.05) is None
            output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        assert json.loads(output)["attempts"] == [1]
        assert json.loads(output)["abandoned"] == 0
        assert queue.statistics().depth == 0
