// Sessions: one holder, in order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionLockedError, SessionLockLostError, UnsupportedError } from "queue-runtime";

import { fresh, texts, until } from "./engine.mjs";

test("a session has one holder, its messages come in order", async (t) => {
  const { queue } = await fresh(t);
  for (const text of ["1", "2", "3"]) await queue.send(text, { session: "s" });
  await queue.send("other", { session: "t" });
  const session = await queue.acceptSession("s");
  assert.equal(session.id, "s");
  await assert.rejects(queue.acceptSession("s"), (error) => {
    assert.ok(error instanceof SessionLockedError);
    assert.deepEqual([error.retryable, error.retryAfter], [true, 30_000]);
    return true;
  });
  const next = await queue.acceptNextSession({ wait: 0 });
  assert.equal(next.id, "t");
  assert.equal(await queue.acceptNextSession({ wait: 0 }), undefined);

  const seen = [];
  for await (const message of session.consume({ prefetch: 2 })) {
    seen.push(message.text());
    await message.ack();
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, ["1", "2", "3"]);
  await session.close();
  await session.close().catch(() => {});
});

test("a session keeps its state across holders, and its lock as long as it is renewed", async (t) => {
  const { engine, queue } = await fresh(t, { lock: 1000 });
  const session = await queue.acceptSession("s");
  assert.equal(await session.state(), undefined);
  await session.setState("halfway");
  await session.renew(5000);
  assert.equal(session.lockedUntil - engine.now, 5000);
  await engine.advance(5000);
  await assert.rejects(session.receive({ wait: 0 }), SessionLockLostError);

  const second = await queue.acceptSession("s", { lock: 60_000 });
  assert.equal((await second.state()).toString(), "halfway");
  await second.setState(Uint8Array.of(1, 2));
  assert.deepEqual([...(await second.state())], [1, 2]);
  await second.setState(undefined);
  assert.equal(await second.state(), undefined);
  await assert.rejects(second.setState(7), { name: "TypeError", message: /"state"/ });
});

test("a session that leaves its scope is let go", async (t) => {
  const { queue } = await fresh(t);
  await queue.send("x", { session: "s" });
  const session = await queue.acceptNextSession();
  assert.deepEqual(texts(await session.receive()), ["x"]);
  await session[Symbol.asyncDispose]();
  const [again] = await queue.receive({ wait: 0 });
  assert.equal(again.attempt, 2);
});

test("a wait for a session is woken by a send", async (t) => {
  const { queue } = await fresh(t);
  const next = queue.acceptNextSession();
  await queue.send("x", { session: "s" });
  assert.equal((await next).id, "s");
});

test("the consumer of a session keeps its lock, and tells of its loss", async (t) => {
  const { engine, queue } = await fresh(t, { lock: 10_000 });
  for (const text of ["1", "2"]) await queue.send(text, { session: "s" });
  const session = await queue.acceptSession("s");
  const consumer = session.consume();
  const { value: first } = await consumer.next();
  for (let half = 0; half < 4; half++) {
    const before = session.lockedUntil;
    await engine.advance(5000);
    await until(() => session.lockedUntil > before);
  }
  await first.ack();
  const { value: second } = await consumer.next();
  assert.equal(second.text(), "2");
  await second.ack();
  await engine.advance(20_000);
  await assert.rejects(consumer.next(), SessionLockLostError);
});

test("a consumer works through held sessions", async (t) => {
  const { queue } = await fresh(t);
  for (const session of ["a", "b", "c"]) {
    for (const text of ["1", "2"]) await queue.send(text, { session });
  }
  const consumer = queue.consume({ maxSessions: 1, sessionIdle: 60_000, prefetch: 1 });
  const seen = [];
  for await (const message of consumer) {
    seen.push(message.text());
    assert.ok([1, 2].includes(consumer.status.sessions));
    await message.ack();
    if (seen.length === 6) break;
  }
  assert.deepEqual(seen, ["1", "2", "1", "2", "1", "2"]);
  const refused = (options, name) =>
    assert.throws(
      () => queue.consume(options),
      (error) => error.message.includes(name),
    );
  refused({ sessionIdle: 1 }, "max_sessions");
  refused({ maxSessions: 0 }, "maxSessions");
  refused({ maxSessions: 1, sessionMaxMessages: 0 }, "sessionMaxMessages");
});

test("a group has a maximum in hand", async (t) => {
  const { client, queue } = await fresh(t, { fairGroups: true });
  for (const text of ["a1", "a2", "a3"]) await queue.send(text, { session: "a" });
  await queue.send("b1", { session: "b" });
  const consumer = queue.consume({ maxInFlightPerGroup: 2, prefetch: 0 });
  const hands = [];
  while (hands.length < 3) hands.push((await consumer.next()).value);
  assert.deepEqual(texts(hands), ["a1", "b1", "a2"]);
  let third;
  const asked = consumer.next().then(({ value }) => (third = value));
  await hands[1].ack();
  assert.equal(third, undefined);
  await hands[0].ack();
  await asked;
  assert.equal(third.text(), "a3");
  await consumer.return();
  await assert.rejects(queue.acceptSession("a"), UnsupportedError);
  assert.throws(() => queue.consume({ maxInFlightPerGroup: 0 }), /maxInFlightPerGroup/);
  const ordered = client.queue("ordered");
  assert.throws(() => ordered.consume({ maxInFlightPerGroup: 1 }), UnsupportedError);
});
