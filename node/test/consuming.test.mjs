// Loops over messages, and handlers as workers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { emptied, fresh, ready, texts, until, withResolvers } from "./engine.mjs";

test("a loop goes over what is there and what comes", async (t) => {
  const { queue } = await fresh(t);
  await queue.sendMany(["a", "b"]);
  const seen = [];
  for await (const message of queue.consume()) {
    seen.push(message.text());
    await message.ack();
    if (seen.length === 2) setImmediate(() => queue.send("c"));
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, ["a", "b", "c"]);
});

test("leaving a loop gives back what was fetched ahead, unblamed and in its order", async (t) => {
  for (const leave of ["break", "throw", "abort", "dispose"]) {
    const { queue } = await fresh(t, { retry: "none" });
    await queue.sendMany(["a", "b", "c", "d"]);
    const controller = new AbortController();
    const consumer = queue.consume({ signal: controller.signal });
    const loop = async () => {
      for await (const message of consumer) {
        await until(async () => (await queue.statistics()).inFlight === 4);
        await message.ack();
        if (leave === "break") break;
        if (leave === "throw") throw new Error("in the loop");
        if (leave === "abort") controller.abort();
        if (leave === "dispose") await consumer[Symbol.asyncDispose]();
      }
    };
    if (leave === "throw") await assert.rejects(loop(), /in the loop/);
    else if (leave === "abort") await assert.rejects(loop(), { name: "AbortError" });
    else await loop();
    const back = await ready(queue);
    assert.deepEqual(texts(back), ["b", "c", "d"], leave);
    assert.ok(back.every((message) => message.attempt === 1));
    assert.deepEqual(await consumer.next(), { value: undefined, done: true });
  }
});

test("a loop that waits is given up, and takes nothing", async (t) => {
  const { queue } = await fresh(t);
  const controller = new AbortController();
  const consumer = queue.consume({ signal: controller.signal });
  const next = consumer.next();
  controller.abort(new Error("enough"));
  await assert.rejects(next, /enough/);
  await queue.send("x");
  assert.deepEqual(texts(await ready(queue)), ["x"]);

  const second = queue.consume();
  const waiting = second.next();
  await second.return();
  assert.equal((await waiting).done, true);
});

test("several may take from one loop", async (t) => {
  const { queue } = await fresh(t);
  const consumer = queue.consume({ prefetch: 2 });
  const nexts = Array.from({ length: 5 }, () => consumer.next());
  await queue.sendMany(["a", "b", "c", "d", "e"]);
  const messages = (await Promise.all(nexts)).map(({ value }) => value.text());
  assert.deepEqual(messages.sort(), ["a", "b", "c", "d", "e"]);
  await consumer.return();
});

test("closing the client ends loops and workers", async (t) => {
  const { client, queue } = await fresh(t);
  const worker = queue.process(() => {});
  const loop = (async () => {
    for await (const _ of queue.consume()) assert.fail("there is no message");
  })();
  await new Promise(setImmediate);
  await client.close();
  await Promise.all([loop, worker.done]);
});

test("a worker acks what its handler does and nacks what it does not", async (t) => {
  const { queue } = await fresh(t, { budget: 1 });
  const errors = [];
  const onError = (error, message) => errors.push([error.message, message.text()]);
  const handled = [];
  const worker = queue.process(
    async (message, { signal }) => {
      assert.equal(signal.aborted, false);
      if (message.text() === "throws") throw new Error("no luck");
      if (message.text() === "rejects") await Promise.reject(new Error("nor here"));
      if (message.text() === "settled") await message.deadLetter("by hand");
      handled.push(message.text());
    },
    { onError },
  );
  await queue.sendMany(["a", "throws", "rejects", "settled", "b"]);
  await emptied(queue);
  await worker.drain();
  assert.deepEqual(handled.sort(), ["a", "b", "settled"]);
  assert.deepEqual(errors.sort(), [
    ["no luck", "throws"],
    ["nor here", "rejects"],
  ]);
  const letters = await queue.deadLetters();
  assert.deepEqual(
    letters.map((letter) => [letter.text(), letter.reason, letter.description]).sort(),
    [
      ["rejects", "max_attempts", "nor here"],
      ["settled", "by hand", undefined],
      ["throws", "max_attempts", "no luck"],
    ],
  );
});

test("a worker handles as many at a time as it may, and of a session one", async (t) => {
  const { queue } = await fresh(t);
  for (let number = 0; number < 6; number++) {
    await queue.send(`s${number}`, { session: "s" });
    await queue.send(`free ${number}`);
  }
  let running = 0;
  let most = 0;
  const ofSession = [];
  let inSession = 0;
  const worker = queue.process(
    async (message) => {
      most = Math.max(most, ++running);
      if (message.session) {
        assert.equal(++inSession, 1);
        ofSession.push(message.text());
      }
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      if (message.session) inSession--;
      running--;
    },
    { concurrency: 4 },
  );
  await emptied(queue);
  await worker.drain();
  assert.ok(most > 1 && most <= 4, `${most} at a time`);
  assert.deepEqual(ofSession, ["s0", "s1", "s2", "s3", "s4", "s5"]);
});

test("a message that fails keeps its place in its session", async (t) => {
  const { queue } = await fresh(t, { retry: "none" });
  for (const text of ["1", "2", "3"]) await queue.send(text, { session: "s" });
  const seen = [];
  const worker = queue.process((message) => {
    seen.push([message.text(), message.attempt]);
    if (message.text() === "1" && message.attempt === 1) throw new Error("not yet");
  });
  await emptied(queue);
  await worker.drain();
  assert.deepEqual(seen, [
    ["1", 1],
    ["1", 2],
    ["2", 1],
    ["3", 1],
  ]);
});

test("a worker that is stopped finishes what it has and takes no more", async (t) => {
  const { queue } = await fresh(t);
  const controller = new AbortController();
  const started = withResolvers();
  const finish = withResolvers();
  const worker = queue.process(
    async () => {
      started.resolve();
      await finish.promise;
    },
    { concurrency: 1, signal: controller.signal },
  );
  await queue.sendMany(["a", "b"]);
  await started.promise;
  controller.abort();
  let done = false;
  worker.done.then(() => {
    done = true;
  });
  await new Promise(setImmediate);
  assert.equal(done, false);
  finish.resolve();
  await worker.done;
  const { ready: left, inFlight } = await queue.statistics();
  assert.deepEqual([left, inFlight], [1, 0]);
});

test("handlers are told when the time for stopping is over", async (t) => {
  const { engine, queue } = await fresh(t);
  const started = withResolvers();
  const worker = queue.process((_, { signal }) => {
    started.resolve();
    return new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(new Error("out of time")));
    });
  });
  await queue.send("a");
  await started.promise;
  const report = worker.drain(1);
  await engine.settled();
  await engine.advance(1);
  assert.deepEqual(await report, { finished: 0, released: 1, abandoned: 0 });
  const [back] = await ready(queue);
  assert.equal(back.attempt, 1);
});

test("an onError that throws does not stop its worker", async (t) => {
  const { queue } = await fresh(t, { budget: 1 });
  const thrown = withResolvers();
  // The test runner listens as well: for this one error it must not.
  const listeners = process.rawListeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", thrown.resolve);
  const worker = queue.process(
    () => {
      throw new Error("handler");
    },
    {
      onError: () => {
        throw new Error("listener");
      },
    },
  );
  await queue.send("a");
  assert.equal((await thrown.promise).message, "listener");
  for (const listener of listeners) process.on("uncaughtException", listener);
  await emptied(queue);
  await worker.drain();
});
