// Messages go out and come back whole; what cannot be sent is refused by name.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { InvalidMessageError, MessageTooLargeError, QueueError } from "queue-runtime";

import { fresh, ready, texts } from "./engine.mjs";

test("a message comes back with everything it carried", async (t) => {
  const { engine, queue } = await fresh(t);
  const before = engine.now;
  const sent = await queue.send("two lattes", {
    id: "order-1",
    session: "table-7",
    correlationId: "visit-3",
    contentType: "text/plain",
    dedupId: "d",
    ttl: 60_000,
    headers: { kind: "drink", größe: "groß", __proto__x: "y" },
  });
  assert.equal(sent.id, "order-1");
  assert.equal(sent.isDuplicate, false);

  const [delivery] = await queue.receive();
  assert.equal(delivery.text(), "two lattes");
  assert.deepEqual(delivery.body, Buffer.from("two lattes"));
  assert.equal(delivery.id, "order-1");
  assert.equal(delivery.session, "table-7");
  assert.equal(delivery.correlationId, "visit-3");
  assert.equal(delivery.contentType, "text/plain");
  assert.equal(delivery.dedupId, "d");
  assert.equal(delivery.ttl, 60_000);
  assert.deepEqual(delivery.headers, { kind: "drink", größe: "groß", __proto__x: "y" });
  assert.equal(delivery.attempt, 1);
  assert.equal(delivery.sequence, 1);
  assert.deepEqual(delivery.enqueuedAt, before);
  assert.equal(delivery.lockedUntil - before, 30_000);
  await delivery.ack();
  assert.equal(delivery.settled, true);
  assert.equal(delivery.text(), "two lattes", "a message outlives its settlement");
});

test("a header may have any name", async (t) => {
  const { queue } = await fresh(t);
  const headers = Object.fromEntries([
    ["__proto__", "a"],
    ["constructor", "b"],
  ]);
  Object.defineProperty(headers, "__proto__", { value: "a", enumerable: true });
  await queue.send("x", { headers });
  const [delivery] = await queue.receive();
  assert.equal(Object.getOwnPropertyDescriptor(delivery.headers, "__proto__").value, "a");
  assert.equal(delivery.headers.constructor, "b");
});

test("bytes of every kind go as they are, and are the sender's again at once", async (t) => {
  const { queue } = await fresh(t);
  const bytes = Uint8Array.from([0, 1, 2, 255]);
  const kinds = [
    bytes,
    Buffer.from(bytes),
    bytes.buffer,
    new DataView(bytes.buffer),
    bytes.subarray(1),
  ];
  for (const body of kinds) await queue.send(body);
  bytes.fill(9);
  const bodies = (await ready(queue)).map((delivery) => [...delivery.body]);
  assert.deepEqual(bodies, [...Array(4).fill([0, 1, 2, 255]), [1, 2, 255]]);
});

test("what is no bytes and no string goes as JSON", async (t) => {
  const { queue } = await fresh(t);
  const values = [{ id: 1, text: "ü" }, [1, 2], 7, true, null];
  for (const value of values) await queue.send(value);
  const deliveries = await ready(queue);
  assert.deepEqual(
    deliveries.map((delivery) => delivery.json()),
    values,
  );
  assert.ok(deliveries.every((delivery) => delivery.contentType === "application/json"));

  await queue.send({ a: 1 }, { contentType: "application/vnd.order+json" });
  assert.equal((await ready(queue))[0].contentType, "application/vnd.order+json");
  await queue.send("{");
  const [broken] = await ready(queue);
  assert.equal(broken.contentType, undefined);
  assert.throws(() => broken.json(), SyntaxError);
});

test("bodies of every size pass, alone and together", async (t) => {
  const { queue } = await fresh(t);
  const sizes = [0, 1, 7, 8, 9, 1023, 65_536, 131_072, 131_073, 3_000_000];
  const bodies = sizes.map((size) => Buffer.alloc(size, size % 251));
  for (const body of bodies) await queue.send(body);
  await queue.sendMany(bodies);
  const text = "ü€😀".repeat(50_000);
  await queue.send(text);
  const deliveries = await ready(queue);
  for (const [index, body] of [...bodies, ...bodies].entries()) {
    assert.ok(deliveries[index].body.equals(body), `${sizes[index % sizes.length]} bytes`);
  }
  assert.equal(deliveries.at(-1).text(), text);
});

test("a body that was kept stays as it was", async (t) => {
  const { queue } = await fresh(t);
  await queue.send("first");
  const [kept] = await queue.receive();
  await kept.ack();
  for (let round = 0; round < 200; round++) {
    await queue.send(Buffer.alloc(5000, round));
    const [delivery] = await queue.receive();
    await delivery.ack();
  }
  assert.equal(kept.text(), "first");
  assert.equal(kept.body.toString(), "first");
});

test("a body cannot be taken away from its neighbours", async (t) => {
  const { queue } = await fresh(t);
  await queue.sendMany(["a", "b"]);
  const [a, b] = await ready(queue);
  try {
    structuredClone(a.body, { transfer: [a.body.buffer] });
  } catch (error) {
    // Node refuses it, or, before version 21, copies instead.
    assert.equal(error.name, "DataCloneError");
  }
  assert.deepEqual(texts([a, b]), ["a", "b"]);
});

// Node can take memory away from a buffer, whatever it is marked as, from version 21 on.
if ("transfer" in ArrayBuffer.prototype) {
  test("a body whose memory was taken away takes nothing else with it", async (t) => {
    const { queue } = await fresh(t);
    await queue.sendMany(["a", "b"]);
    const [a] = await ready(queue);
    a.body.buffer.transfer();
    await queue.send("c");
    assert.deepEqual(texts(await ready(queue)), ["c"]);
  });
}

test("result i belongs to message i, and one that fails does not keep the others", async (t) => {
  const { queue } = await fresh(t, { maxMessageBytes: 10 });
  const results = await queue.sendMany([
    "a",
    { body: "too large for this", id: "large" },
    { body: "b", id: "given", dedupId: "once" },
    { body: "c", dedupId: "once" },
    { body: "d", headers: { "": "" } },
  ]);
  assert.equal(results.length, 5);
  assert.deepEqual(
    results.map(({ error }) => error?.code),
    [undefined, "message_too_large", undefined, undefined, "invalid_message"],
  );
  assert.equal(results[2].id, "given");
  assert.equal(results[3].id, "given");
  assert.deepEqual(
    [results[0], results[2], results[3]].map(({ isDuplicate }) => isDuplicate),
    [false, false, true],
  );
  const tooLarge = results[1].error;
  assert.ok(tooLarge instanceof MessageTooLargeError && tooLarge instanceof QueueError);
  assert.deepEqual([tooLarge.limit, tooLarge.retryable, tooLarge.queue], [10, false, "jobs"]);
  assert.throws(() => results.throwForErrors(), MessageTooLargeError);
  assert.deepEqual(texts(await ready(queue)), ["a", "b"]);
  assert.equal((await queue.sendMany([])).throwForErrors().length, 0);
});

test("one message that cannot be stored fails its send", async (t) => {
  const { queue } = await fresh(t);
  await assert.rejects(queue.send("x", { id: "" }), (error) => {
    assert.ok(error instanceof InvalidMessageError && error instanceof Error);
    assert.equal(error.name, "InvalidMessageError");
    assert.equal(error.code, "invalid_message");
    assert.equal(error.field, "id");
    assert.match(error.message, /id/);
    return true;
  });
});

test("bad input is a TypeError that names it, and sends nothing", async (t) => {
  const { client, queue } = await fresh(t);
  const cases = [
    [() => queue.send(undefined), /"body"/],
    [() => queue.send(() => {}), /"body"/],
    [() => queue.send("x", { delayMs: 5 }), /no option "delayMs".*delay/],
    [() => queue.send("x", null), /options of send/],
    [() => queue.send("x", { delay: "5s" }), /"delay" .*milliseconds.*"5s"/],
    [() => queue.send("x", { delay: -1 }), /"delay"/],
    [() => queue.send("x", { delay: Number.NaN }), /"delay"/],
    [() => queue.send("x", { session: 7 }), /"session"/],
    [() => queue.send("x", { headers: { a: 1 } }), /"headers\.a"/],
    [() => queue.send("x", { signal: {} }), /"signal"/],
    [() => queue.sendMany("x", {}), null],
    [() => queue.sendMany([{ text: "x" }]), /"message".*body/],
    [() => queue.sendMany([{ body: "x", priority: 1 }]), /no option "priority"/],
    [() => queue.sendMany([7]), /"message"/],
    [() => queue.receive({ maxMessages: 1.5 }), /"maxMessages"/],
    [() => queue.receive({ maxMessages: -1 }), /"maxMessages"/],
    [() => queue.receive({ max: 1 }), /no option "max"/],
    [() => queue.receive({ wait: "1s" }), /"wait"/],
    [() => queue.ackMany(["x"]), /"delivery"/],
    [() => queue.settle([{ accept: 1 }]), /"settlement"/],
    [() => queue.settle([null]), /"settlement"/],
    [() => queue.peek({ after: -1 }), /"after"/],
    [() => queue.deadLetters({ since: 5 }), /"since"/],
    [() => queue.deadLetters({ ids: "x" }), /"ids"/],
    [() => queue.deadLetterStatistics({ since: 5 }), /"since"/],
    [() => queue.deadLetterStatistics({ max: 5 }), /no option "max"/],
    [() => queue.redrive({ dryRun: "yes" }), /"dryRun"/],
    [() => queue.acceptSession(7), /"id"/],
    [async () => queue.process("x"), /"handler"/],
    [async () => queue.consume({ prefetch: -1 }), /"prefetch"/],
    [async () => queue.consume({ reconnect: 5 }), /"reconnect"/],
    [async () => queue.consume({ drain: 5 }), /no option "drain"/],
    [async () => queue.process(() => {}, { drain: "5s" }), /"deadline"/],
    [async () => queue.process(() => {}, { classify: "permanent" }), /"classify"/],
    [() => queue.receive({ keepLock: 1 }), /"keepLock"/],
    [async () => client.queue(7), /"name"/],
    [async () => client.queue("x", { locks: 5 }), /no option "locks"/],
    [async () => client.queue("x", { lock: 1.5 }), /"lock"/],
  ];
  for (const [call, message] of cases) {
    if (message !== null)
      await assert.rejects(call(), { name: "TypeError", message }, String(call));
  }
  assert.equal((await queue.statistics()).depth, 0);
});

test("a body whose JSON runs other code disturbs nobody", async (t) => {
  const { queue } = await fresh(t);
  const inner = [];
  const body = {
    toJSON() {
      inner.push(queue.send("inner"));
      return "outer";
    },
  };
  await queue.send(body, {
    get session() {
      inner.push(queue.send("in between"));
      return "s";
    },
  });
  await Promise.all(inner);
  assert.deepEqual(texts(await ready(queue)).sort(), ['"outer"', "in between", "inner"]);
});

test("a log shows no body", async (t) => {
  const { queue } = await fresh(t);
  await queue.send("secret", { id: "i" });
  const [delivery] = await queue.receive();
  assert.equal(inspect(delivery), "Delivery { id: 'i', headers: {}, attempt: 1, settled: false }");
  assert.ok(!inspect(queue).includes("secret"));
});
