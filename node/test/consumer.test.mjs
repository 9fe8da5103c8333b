// Consumers and the workers on them: locks that hold, failures, and an end that adds up.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { CancelledError, connect, Failure, LockLostError, ThrottledError } from "queue-runtime";

import { emptied, fresh, ready, SOAK, texts, until, withResolvers } from "./engine.mjs";

const LOCK = 10_000;

/** Moves the clock by half a lock, again and again; each time the locks are renewed. */
async function passTime(engine, messages, halves) {
  for (let half = 0; half < halves; half++) {
    await engine.advance(LOCK / 2);
    const end = engine.now.getTime() + LOCK;
    await until(() => messages.every((message) => message.lockedUntil.getTime() === end));
  }
}

test("locks are kept in hand and in the buffer", async (t) => {
  const { engine, queue } = await fresh(t, { lock: LOCK });
  await queue.sendMany(["a", "b"]);
  const consumer = queue.consume({ prefetch: 2 });
  await until(() => consumer.status.prefetched === 2);
  const { value: first } = await consumer.next();
  await passTime(engine, [first], 6);
  assert.equal((await queue.statistics()).inFlight, 2);
  await first.ack();
  const { value: second } = await consumer.next();
  assert.deepEqual([second.text(), second.attempt], ["b", 1]);
  await second.ack();
  await consumer.return();
});

test("a receive keeps locks when it is asked to", async (t) => {
  const { engine, queue } = await fresh(t, { lock: LOCK });
  await queue.sendMany(["a", "b"]);
  const [kept] = await queue.receive({ wait: 0, keepLock: true });
  const [lost] = await queue.receive({ wait: 0 });
  await passTime(engine, [kept], 4);
  await kept.ack();
  await assert.rejects(lost.ack(), LockLostError);
  assert.equal(lost.cancelled, undefined);
});

test("a loop ends when it was idle for as long as it may", async (t) => {
  const { engine, queue } = await fresh(t);
  await queue.sendMany(["a", "b"]);
  const seen = [];
  for await (const message of queue.consume({ idle: 0 })) {
    seen.push(message.text());
    await message.ack();
  }
  assert.deepEqual(seen, ["a", "b"]);
  const waiting = queue.consume({ idle: 5000 }).next();
  await engine.advance(4999);
  await queue.send("c");
  assert.equal((await waiting).value.text(), "c");
});

test("a failing receive is seen and tried again", async (t) => {
  const { engine, client } = await fresh(t);
  const errors = [];
  const handled = [];
  const worker = client
    .queue("nowhere", { create: "never" })
    .process((message) => handled.push(message.text()), {
      reconnect: "fixed:1s",
      onError: (error) => errors.push(error.code),
    });
  await until(() => errors.length > 0);
  assert.equal(worker.status.ready, false);
  assert.equal(worker.status.failure.code, "queue_not_found");
  await client.queue("nowhere").send("x");
  while (handled.length === 0) await engine.advance(1000);
  assert.deepEqual([handled, errors], [["x"], ["queue_not_found"]]);
  assert.equal(worker.status.ready, true);
  await worker.drain();
});

test("a lost lock aborts the handler's signal with a reason", async (t) => {
  const { engine, queue } = await fresh(t, { lock: LOCK });
  const alarms = [];
  const errors = [];
  const reasons = [];
  const started = withResolvers();
  const worker = queue.process(
    async (message, context) => {
      if (message.attempt === 2) return;
      const { signal } = context;
      started.resolve();
      await once(signal, "abort");
      reasons.push([signal.reason, message.cancelled]);
      throw signal.reason;
    },
    {
      concurrency: 1,
      onCancel: (message, cause) => alarms.push([message.text(), cause]),
      onError: (error) => errors.push(error),
    },
  );
  await queue.send("x");
  await started.promise;
  // So far that nobody could renew it in time.
  await engine.advance(3 * LOCK);
  await emptied(queue);
  const [[reason, cancelled]] = reasons;
  assert.ok(reason instanceof LockLostError);
  assert.deepEqual([reason.code, reason.queue, cancelled], ["lock_lost", "jobs", "lock_lost"]);
  assert.deepEqual(alarms, [["x", "lock_lost"]]);
  assert.deepEqual(errors, [reason]);
  await worker.drain();
});

test("a stalled handler raises an alarm, also for who never looked at the signal", async (t) => {
  const { engine, queue } = await fresh(t, { lock: LOCK });
  const alarms = [];
  const started = withResolvers();
  const finish = withResolvers();
  let late;
  const worker = queue.process(
    async (message, context) => {
      if (message.attempt === 2) return;
      started.resolve();
      await finish.promise;
      late = context.signal;
    },
    { maxLockRenewal: LOCK / 2, onCancel: (_, cause) => alarms.push(cause) },
  );
  await queue.send("x");
  await started.promise;
  await engine.advance(LOCK / 2);
  await until(() => alarms.length > 0);
  finish.resolve();
  await until(() => late !== undefined);
  assert.deepEqual(alarms, ["stalled"]);
  assert.ok(late.aborted && late.reason instanceof CancelledError);
  await emptied(queue);
  await worker.drain();
});

test("what a handler says becomes of the message", async (t) => {
  const { engine, queue } = await fresh(t, { retry: "none", budget: 2 });
  const failures = {
    retry: Failure.retry("why"),
    "retry after": Failure.retryAfter("why", 3000),
    release: Failure.release(7000),
    permanent: Failure.permanent("bad", "no such street"),
    classified: new RangeError("classified"),
    other: new Error("other"),
    "too early": Object.assign(new TypeError("early"), { retryAfter: 5000 }),
    throttled: new ThrottledError("throttled", "slow down"),
  };
  const seen = [];
  const worker = queue.process(
    (message) => {
      seen.push(`${message.text()} ${message.attempt}`);
      throw failures[message.text()];
    },
    {
      classify: (error) => {
        if (error instanceof RangeError) return "permanent";
        if (error instanceof TypeError) return "throttled";
      },
    },
  );
  await queue.sendMany(Object.keys(failures));
  const delayed = ["release 1", "retry after 2", "throttled 1", "too early 1"];
  await until(async () => {
    const left = await queue.statistics();
    return left.dead === 4 && left.delayed === delayed.length;
  });
  const letters = (await queue.deadLetters()).map((l) => [l.text(), l.reason, l.description]);
  assert.deepEqual(letters.sort(), [
    ["classified", "permanent", "classified"],
    ["other", "max_attempts", "other"],
    ["permanent", "bad", "no such street"],
    ["retry", "max_attempts", "why"],
  ]);
  assert.ok(seen.includes("retry 2") && seen.includes("other 2"));
  seen.length = 0;
  for (let second = 0; second < 7; second++) await engine.advance(1000);
  await until(() => new Set(seen).size === delayed.length);
  assert.deepEqual([...new Set(seen)].sort(), delayed);
  await worker.drain();
});

test("a drain adds up", async (t) => {
  const { engine, queue } = await fresh(t, { lock: "1h" });
  const started = [];
  const finish = withResolvers();
  const worker = queue.process(
    async (message, { signal }) => {
      started.push(message.text());
      if (message.text() === "0") return finish.promise;
      await once(signal, "abort");
      throw signal.reason;
    },
    { concurrency: 3, prefetch: 2 },
  );
  // So that all lanes ask, and what is fetched is fetched for them and ahead of them.
  await engine.settled();
  await queue.sendMany(["0", "1", "2", "3", "4", "5"]);
  await until(() => started.length === 3 && worker.status.prefetched === 2);
  const draining = worker.drain(60_000);
  // What was fetched ahead goes back at once.
  await until(async () => (await queue.statistics()).ready === 3);
  finish.resolve();
  await until(async () => (await queue.statistics()).depth === 5);
  await engine.advance(60_000);
  const report = { finished: 1, released: 4, abandoned: 0 };
  assert.deepEqual(await draining, report);
  assert.deepEqual(await worker.done, report);
  const left = await ready(queue);
  assert.deepEqual(
    left.map((message) => message.attempt),
    [1, 1, 1, 1, 1],
  );
});

test("a drain does not wait for a handler that goes on", async (t) => {
  const { queue } = await fresh(t);
  const started = withResolvers();
  const worker = queue.process(() => {
    started.resolve();
    return new Promise(() => {});
  });
  await queue.send("x");
  await started.promise;
  // The engine's clock stands still; a second of grace is a real one.
  assert.deepEqual(await worker.drain(0), { finished: 0, released: 1, abandoned: 0 });
  assert.deepEqual(texts(await ready(queue)), ["x"]);
});

test("a handler that blocks the event loop keeps its message", async (t) => {
  // In real time, since it is about threads.
  const client = await connect("memory:", { lock: 200 });
  t.after(() => client.close());
  const queue = client.queue("jobs");
  const attempts = [];
  const worker = queue.process(
    async (message) => {
      attempts.push(message.attempt);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700);
      await new Promise((resolve) => setTimeout(resolve, 10));
    },
    { concurrency: 2 },
  );
  await queue.send("x");
  await emptied(queue);
  await worker.drain();
  assert.deepEqual(attempts, [1]);
});

test("random cancellations of those who ask lose nothing", async (t) => {
  const { queue } = await fresh(t, { lock: "12h" });
  const count = 2000 * SOAK;
  const acked = new Map();
  let settled = 0;
  const take = async () => {
    while (settled < count) {
      const giveUp = new AbortController();
      const consumer = queue.consume({
        concurrency: 1 + Math.floor(Math.random() * 4),
        prefetch: Math.floor(Math.random() * 4),
        signal: giveUp.signal,
      });
      const patience = Math.floor(Math.random() * 30);
      for (let turn = 0; turn < patience; turn++) {
        const asking = consumer.next();
        const late = new Promise((resolve) => setTimeout(resolve, 10, "late"));
        let message;
        try {
          if ((await Promise.race([asking, late])) === "late" || Math.random() < 0.1)
            giveUp.abort();
          message = (await asking).value;
        } catch {
          break;
        }
        if (message === undefined) break;
        assert.equal(message.attempt, 1);
        acked.set(message.id, (acked.get(message.id) ?? 0) + 1);
        settled++;
        await message.ack();
      }
      if (Math.random() < 0.5) giveUp.abort();
      await consumer.return();
    }
  };
  const send = async () => {
    for (let number = 0; number < count; number++) {
      await queue.send(String(number));
      if (Math.random() < 0.1) await new Promise(setImmediate);
    }
  };
  await Promise.all([send(), take(), take(), take(), take()]);
  assert.equal((await queue.statistics()).depth, 0);
  assert.equal(acked.size, count);
  assert.ok([...acked.values()].every((times) => times === 1));
});

const COUNT = 5000;

/** Works through more than it can; the handlers of some messages hang. */
const UNDER_LOAD = `
  import { connect } from "queue-runtime";
  const client = await connect("memory:");
  const queue = client.queue("jobs");
  await queue.sendMany(Array.from({ length: ${COUNT} }, (_, number) => String(number)));
  let done = 0;
  const worker = queue.process(async (message) => {
    if (Number(message.text()) % 100 === 99) await new Promise(() => {});
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
    if (++done === 200) console.log("at work");
  }, { concurrency: 8, drain: 200 });
  const report = await worker.run();
  const { ready, inFlight } = await queue.statistics();
  const peeked = await queue.peek({ max: ${COUNT} });
  const attempts = [...new Set(peeked.map((message) => message.attempts))];
  console.log(JSON.stringify({ done, ready, inFlight, attempts, ...report }));
  process.exit(0);
`;

/** Starts a program, and waits for the first thing it says. */
async function start(program) {
  const args = ["--input-type=module", "--eval", program];
  const child = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
  });
  child.said = "";
  child.complaints = "";
  child.stdout.on("data", (data) => (child.said += data));
  child.stderr.on("data", (data) => (child.complaints += data));
  child.ended = once(child, "close");
  await Promise.race([once(child.stdout, "data"), child.ended]);
  return child;
}

for (const signal of ["SIGTERM", "SIGINT"]) {
  test(`${signal} under load drains, and the report adds up`, async () => {
    const child = await start(UNDER_LOAD);
    child.kill(signal);
    const [code] = await child.ended;
    assert.deepEqual([code, child.complaints], [0, ""]);
    const said = JSON.parse(child.said.split("\n")[1]);
    assert.equal(said.done + said.ready, COUNT);
    assert.deepEqual([said.inFlight, said.abandoned], [0, 0]);
    // Eight in hand, and as many fetched ahead, at most.
    assert.ok(said.finished <= 8 && said.released > 0, child.said);
    assert.ok(said.finished + said.released <= 16, child.said);
    // What is left was never begun, as far as anybody can tell.
    assert.deepEqual(said.attempts, [0]);
  });
}

test("the second signal ends the process, and signals may be left alone", async () => {
  for (const [options, listeners] of [
    ["", "1\n"],
    ["{ signals: false }", "0\n"],
  ]) {
    const child = await start(`
      import { connect } from "queue-runtime";
      const queue = (await connect("memory:")).queue("jobs");
      await queue.send("x");
      const worker = queue.process(() => {
        console.log(process.listenerCount("SIGTERM"));
        return new Promise(() => {});
      });
      await worker.run(${options});
    `);
    assert.equal(child.said, listeners);
    const again = setInterval(() => child.kill("SIGTERM"), 10);
    const [code, signal] = await child.ended;
    clearInterval(again);
    assert.deepEqual([code, signal], [null, "SIGTERM"]);
  }
});
