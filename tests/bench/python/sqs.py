"""The loops of the area `sqs` in Python: ours and boto3's, in turns, in threads. Prints the
processor's time for a message in microseconds, round by round, as JSON.

    python sqs.py ADDRESS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from queue_runtime import Settlement, sync

ADDRESS = sys.argv[1]
BODY = "x" * 1024
ROUNDS, THREADS, BATCH, MESSAGES = 5, 8, 10, 2000


def ours(queue: sync.Queue) -> None:
    queue.send_many([BODY] * BATCH).raise_for_errors()
    left = BATCH
    while left > 0:
        deliveries = queue.receive(BATCH, 2)
        if not deliveries:
            break
        queue.settle([Settlement.ack(delivery) for delivery in deliveries])
        left -= len(deliveries)


def theirs(sqs: object, url: str) -> None:
    entries = [{"Id": str(number), "MessageBody": BODY} for number in range(BATCH)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
    left = BATCH
    while left > 0:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=2)
        messages = got.get("Messages", [])
        if not messages:
            break
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
            for number, message in enumerate(messages)
        ]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        left -= len(messages)


def cost(work: Callable[[], None]) -> float:
    """Microseconds of the processor for a message."""
    before = time.process_time()
    with ThreadPoolExecutor(THREADS) as threads:
        ended = [threads.submit(work) for _ in range(MESSAGES // BATCH)]
        for each in ended:
            each.result()
    return (time.process_time() - before) * 1e6 / MESSAGES


def main() -> None:
    keys = "access_key_id=test&secret_access_key=test"
    sqs = boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=ADDRESS,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=THREADS),
    )
    url = sqs.create_queue(QueueName="python-theirs")["QueueUrl"]
    with sync.connect(f"sqs://us-east-1?endpoint={ADDRESS}&{keys}") as client:
        queue = client.queue("python-ours")
        queue.create()
        sides = {"ours": lambda: ours(queue), "theirs": lambda: theirs(sqs, url)}
        samples: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(ROUNDS + 1):
            for name in sorted(sides, reverse=number % 2 == 1):
                samples[name].append(cost(sides[name]))
    # The first round was to warm up.
    print(json.dumps({name: rounds[1:] for name, rounds in samples.items()}))


main()
