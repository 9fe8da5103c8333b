"""Workers on `sqs:`. Needs a server: its address is in QRT_TEST_MINISTACK (`services ministack --
pytest python/tests/test_sqs.py`)."""

from __future__ import annotations

import json
import os
import signal

import pytest
from conftest import until_in_threads

from queue_runtime import sync

address = os.environ.get("QRT_TEST_MINISTACK")
pytestmark = pytest.mark.skipif(address is None, reason="no server is running")

OPTIONS = {"lock": 5, "budget": 3, "retry": "fixed:1s"}

#: Works until it is told to end. Prints each message as it begins, and at its end the report.
WORKER = f"""
import asyncio, json, logging, sys
import queue_runtime as qr

logging.disable()

async def main(url, name):
    async with qr.connect(url) as client:
        worker = qr.Worker(client, concurrency=4, drain=1)

        @worker.handler(client.queue(name, **{OPTIONS}))
        async def handle(delivery):
            print(json.dumps([delivery.text(), delivery.attempt]), flush=True)
            if delivery.text() == "fails":
                raise ValueError("no table")
            if delivery.text() == "broken":
                raise qr.Failure.permanent("broken", "for good")
            if delivery.text() == "hangs":
                await asyncio.sleep(60)

        report = await worker.run()
        print(json.dumps(report.__dict__))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_worker_handles_fails_and_drains(program):
    url = f"sqs://us-east-1?endpoint={address}&access_key_id=test&secret_access_key=test&fifo=false"
    with sync.connect(url) as client:
        queue = client.queue(f"py{os.getpid()}-worker", **OPTIONS)
        queue.create()
        good = [f"good {number}" for number in range(20)]
        queue.send_many([*good, "fails", "broken"]).raise_for_errors()
        with program.start(WORKER, url, queue.name) as process:
            try:
                until_in_threads(lambda: len(queue.dead_letters()) == 2)
                reasons = {letter.text(): letter.reason for letter in queue.dead_letters()}
                assert reasons == {"fails": "max_attempts", "broken": "broken"}
                queue.send("hangs")
                seen = []
                while not seen or seen[-1][0] != "hangs":
                    seen.append(json.loads(process.stdout.readline()))
                process.send_signal(signal.SIGTERM)
                output, errors = process.communicate(timeout=20)
            finally:
                process.kill()
        assert (process.returncode, errors) == (0, "")
        # Each once, but the one that failed as often as it may.
        once = [[text, 1] for text in [*good, "broken", "hangs"]]
        assert sorted(seen) == sorted([*once, ["fails", 1], ["fails", 2], ["fails", 3]])
        assert json.loads(output) == {"finished": 0, "released": 1, "abandoned": 0}
        # It was given back. A poll that the worker left behind at the server may have taken it once
        # more; then it comes when that lock ends.
        back = queue.receive_one(15)
        assert back is not None
        assert back.text() == "hangs"
        back.ack()
        assert queue.receive_one(0) is None
