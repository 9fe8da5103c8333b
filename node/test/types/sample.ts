// What a consumer in strict TypeScript writes; compiled as an ES module and as CommonJS.

import {
  type CancelCause,
  type Client,
  type Consumer,
  connect,
  type Delivery,
  type DrainReport,
  Failure,
  LockLostError,
  type Queue,
  QueueError,
  Runtime,
  type Entry,
  InvalidMessageError,
  type SendResult,
  SessionKey,
  type Sink,
  UnwrittenError,
  type Worker,
  WriteBehind,
} from "queue-runtime";
import { TestEngine } from "queue-runtime/testing";

interface Order {
  id: number;
  drink: string;
}

export async function main(): Promise<void> {
  const client: Client = await connect("memory:", {
    lock: "10s",
    budget: 3,
    require: ["sessions"],
  });
  const orders: Queue<Order> = client.queue<Order>("orders", { onFailure: "park" });
  const sent: SendResult = await orders.send({ id: 1, drink: "latte" }, { session: "table-7" });
  await orders.send("text");
  await orders.send(Buffer.from("bytes"), { delay: 1000, headers: { kind: "x" } });
  // @ts-expect-error: not an order
  await orders.send({ id: "1" });
  // @ts-expect-error: no such option
  await orders.send("x", { delayMs: 5 });

  const key: SessionKey = SessionKey.composite("tenant", "order").perHours(6);
  await orders.send("x", { session: key.of({ tenant: "acme", order: "7" }) });

  const results = await orders.sendMany([{ body: { id: 2, drink: "tea" }, ttl: 5 }, "text"]);
  for (const result of results.throwForErrors()) {
    if (result.error === undefined) result.id satisfies string;
    else result.error satisfies QueueError;
  }

  const deliveries: Delivery<Order>[] = await orders.receive({ maxMessages: 10, wait: 0 });
  for (const delivery of deliveries) {
    const order: Order = delivery.json();
    delivery.body satisfies Buffer;
    delivery.session satisfies string | undefined;
    delivery.enqueuedAt satisfies Date;
    await delivery.nack(`${order.drink} is out`, { delay: 100 });
  }
  await orders.settle([{ ack: deliveries[0]! }, { deadLetter: deliveries[1]!, reason: "bad" }]);

  const controller = new AbortController();
  const consumer: Consumer<Order> = orders.consume({ prefetch: 8, signal: controller.signal });
  for await (const message of consumer) {
    message.cancelled satisfies CancelCause | undefined;
    if (message.attempt > 3) throw Failure.permanent("late", "no more attempts");
    await using scoped = message;
    scoped.json().drink.toUpperCase();
    await scoped.ack();
  }

  await using worker: Worker<Order> = orders.process(
    async (message, { signal }) => {
      signal.throwIfAborted();
      message.json().id.toFixed();
    },
    {
      concurrency: 4,
      maxLockRenewal: 60_000,
      drain: 5_000,
      classify: (error) => (error instanceof TypeError ? "permanent" : undefined),
      onCancel: (message, cause) => `${message.json().id} ${cause satisfies CancelCause}`,
      onError: (_error, message) => message?.json().id,
    },
  );
  worker.status.failure satisfies QueueError | undefined;
  (await worker.drain(1000)) satisfies DrainReport;
  (await worker.run({ signals: false })).released satisfies number;
  // @ts-expect-error: no such class
  orders.process(() => {}, { classify: () => "fatal" });

  try {
    await using session = await orders.acceptSession("table-7");
    (await session.state()) satisfies Buffer | undefined;
  } catch (error) {
    if (error instanceof LockLostError) error.code satisfies string;
    if (error instanceof QueueError && error.retryable)
      error.retryAfter satisfies number | undefined;
  }

  await using engine = new TestEngine();
  await engine.advance(1000);
  new Runtime({ workerThreads: 2 }).now satisfies Date;
  sent.id satisfies string;
}

interface Price {
  item: string;
  cents: number;
}

const write: Sink<Price> = async (entries: Entry<Price>[], { signal }) => {
  signal.throwIfAborted();
  return entries.map((entry) =>
    entry.json().cents > 0 ? null : new InvalidMessageError("has no price"),
  );
};

export async function writing(queue: Queue<Price>): Promise<void> {
  await using prices = await WriteBehind.open<Price>("sqlite:x.db", {
    table: "prices",
    key: "item",
    flushInterval: "1s",
  });
  await prices.enqueue({ item: "latte", cents: 420 }, { key: "latte" });
  await prices.tryEnqueue(Buffer.from("bytes"));
  // @ts-expect-error: not a price
  await prices.enqueue({ item: 1 });
  // @ts-expect-error: no such option
  await WriteBehind.open("sqlite:x.db", { tabel: "prices" });
  const accepted = await prices.enqueueMany([{ item: "tea", cents: 300 }, "text"]);
  accepted.throwForErrors();
  await Promise.all([prices.flush(), prices.feed(queue, { signal: AbortSignal.timeout(1) })]);
  prices.metrics().totalEnqueued satisfies number;
  prices.takeRejected()[0]?.entry.json().item satisfies string | undefined;
  const asked: WriteBehind<Price> = await WriteBehind.open(write, { writers: 2 });
  const report = await asked.close({ deadline: 1000 });
  report.unwritten.map((entry) => entry.key satisfies Buffer | undefined);
  try {
    await WriteBehind.open(() => {});
  } catch (error) {
    if (error instanceof UnwrittenError) error.report.rejected satisfies readonly unknown[];
  }
}
