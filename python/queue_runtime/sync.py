"""A message-queue engine inside your program, for threads: the names of `queue_runtime`, waited for
instead of awaited.

    from queue_runtime import sync as qr

    with qr.connect("memory:") as client:
        orders = client.queue("orders")
        orders.send("two lattes", session="table-7")
        for order in orders.consume():
            with order:                     # ack when the block ends, nack when it raises
                print(order.text())

A call that waits lets other threads run, and Ctrl-C ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from queue_runtime import errors
from queue_runtime._data import (
    Capabilities,
    ConsumerStatus,
    DeadLetter,
    DrainReport,
    PeekedMessage,
    ProducerReport,
    RedriveReport,
    Settlement,
    Statistics,
)
from queue_runtime._dead_letter_statistics import (
    DeadLetterAge,
    DeadLetterGroup,
    DeadLetterStatistics,
)
from queue_runtime._explain import Explanation, MessageExplanation
from queue_runtime._failure import Failure
from queue_runtime._native import (
    Message,
    Runtime,
    SendResult,
    SendResults,
    SettleResult,
    SettleResults,
    SyncClient as Client,
    SyncConsumer as Consumer,
    SyncDelivery as Delivery,
    SyncProducer as Producer,
    SyncQueue as Queue,
    SyncSession as Session,
    __version__,
    open_sync as _open,
)
from queue_runtime._options import ConsumerOptions, QueueOptions, RuntimeOptions, to_json
from queue_runtime._session_key import SessionKey
from queue_runtime._sync_worker import Worker
from queue_runtime._write_behind_data import (
    CloseReport,
    Entry,
    RejectedEntry,
    WriteBehindMetrics,
    WriteBehindOptions,
)
from queue_runtime._write_behind_sync import WriteBehind
from queue_runtime.errors import QueueError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Capabilities",
    "Client",
    "CloseReport",
    "Consumer",
    "ConsumerOptions",
    "ConsumerStatus",
    "DeadLetter",
    "DeadLetterAge",
    "DeadLetterGroup",
    "DeadLetterStatistics",
    "Delivery",
    "DrainReport",
    "Entry",
    "Explanation",
    "Failure",
    "Message",
    "MessageExplanation",
    "PeekedMessage",
    "Producer",
    "ProducerReport",
    "Queue",
    "QueueError",
    "QueueOptions",
    "RedriveReport",
    "RejectedEntry",
    "Runtime",
    "RuntimeOptions",
    "SendResult",
    "SendResults",
    "Session",
    "SessionKey",
    "SettleResult",
    "SettleResults",
    "Settlement",
    "Statistics",
    "Worker",
    "WriteBehind",
    "WriteBehindMetrics",
    "WriteBehindOptions",
    "__version__",
    "connect",
    "errors",
]


def connect(
    url: str = "",
    *,
    require: Sequence[str] = (),
    client_breaker: str | None = None,
    runtime: Runtime | None = None,
    **options: Unpack[QueueOptions],
) -> Client:
    """Opens a client of the provider that the URL names, such as `memory:`. Creates no queue.

    Close it, or use it as a context that does: `with connect(...) as client:`.

    Args:
        url: which engine, and where; without it what `QUEUE_RUNTIME_URL` says.
        require: capabilities without which the client does not open.
        client_breaker: when all queues of the client leave the provider alone since it is away:
            failures in a row, pause, and successes in a row, like `5,30s,3`. Off by default.
        runtime: threads and time to stand on; without it those that all clients share.
        options: options of the client's queues, before those of the URL.
    """
    of_client = {"require": list(require) or None, "client_breaker": client_breaker}
    config = to_json({**options, **of_client})
    return _open(url, config, runtime)
