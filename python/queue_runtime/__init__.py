"""A message-queue engine inside your program, for asyncio. The same for threads, under the same
names, is `queue_runtime.sync`.

    import queue_runtime as qr

    async with qr.connect("memory:") as client:
        orders = client.queue("orders")
        await orders.send("two lattes", session="table-7")
        async for order in orders.consume():
            async with order:               # ack when the block ends, nack when it raises
                print(order.text())

Durations are seconds, or a `timedelta`; moments are `datetime`s in UTC. Everything may be used by
several event loops and threads. Every error is a `QueueError` (`queue_runtime.errors`).
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
    AsyncClient as Client,
    AsyncConsumer as Consumer,
    AsyncDelivery as Delivery,
    AsyncProducer as Producer,
    AsyncQueue as Queue,
    AsyncSession as Session,
    Message,
    Runtime,
    SendResult,
    SendResults,
    SettleResult,
    SettleResults,
    __version__,
    open_async as _open,
)
from queue_runtime._opening import Opening
from queue_runtime._options import ConsumerOptions, QueueOptions, RuntimeOptions, to_json
from queue_runtime._session_key import SessionKey
from queue_runtime._worker import Worker
from queue_runtime._write_behind import WriteBehind
from queue_runtime._write_behind_data import (
    CloseReport,
    Entry,
    RejectedEntry,
    WriteBehindMetrics,
    WriteBehindOptions,
)
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
    "Opening",
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
) -> Opening[Client]:
    """Opens a client of the provider that the URL names, such as `memory:`. Creates no queue.

    Await it, or use it as a context that closes the client: `async with connect(...) as client:`.

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
    return Opening(_open(url, config, runtime))
