// Processes and threads end cleanly in every state: return code 0, nothing on stderr, no hang.

import assert from "node:assert/strict";
import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { connect } from "queue-runtime";

import { SOAK } from "./engine.mjs";

/** How long a process may hang before the test gives it up. */
const PATIENCE = 60_000;
const BEGIN = `
  import { connect } from "queue-runtime";
  const client = await connect("memory:");
  const queue = client.queue("jobs");
`;

/** Runs a program to its end: what it printed, which must not be on stderr. */
function run(program, { code = 0, begin = BEGIN } = {}) {
  return new Promise((resolve, reject) => {
    const args = ["--input-type=module", "--eval", begin + program];
    const options = { cwd: fileURLToPath(new URL(".", import.meta.url)), timeout: PATIENCE };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      try {
        assert.equal(stderr, "", program);
        assert.equal(error?.signal ?? null, null, `${program}: it hung`);
        assert.equal(error?.code ?? 0, code, program);
        resolve(stdout);
      } catch (wrong) {
        reject(wrong);
      }
    });
  });
}

/** What a program may be in the middle of. */
const STATES = {
  "an idle client": "",
  "a closed client": "await client.close();",
  "messages sent": 'await queue.sendMany(["a", "b"]);',
  "deliveries in hand": 'await queue.send("a"); await queue.receive();',
  "a session in hand": 'globalThis.session = await queue.acceptSession("s");',
  "a receive": "queue.receive().catch(() => {});",
  "many receives": "for (let i = 0; i < 100; i++) queue.receive().catch(() => {});",
  "a send that waits":
    'const full = client.queue("full", { maxMessages: 1 }); await full.send("a"); full.send("b").catch(() => {});',
  "a loop that waits": "queue.consume().next().catch(() => {});",
  "a loop that fetched ahead":
    'await queue.sendMany(["a", "b", "c"]); globalThis.loop = queue.consume(); await loop.next();',
  "a worker": "queue.process(() => {});",
  "a worker whose handler works":
    'queue.process(() => new Promise(() => {})); await queue.send("a"); await new Promise(setImmediate);',
  "wake-ups on their way":
    'for (let i = 0; i < 100; i++) queue.receive().catch(() => {}); for (let i = 0; i < 100; i++) queue.send("x");',
};

for (const [state, program] of Object.entries(STATES)) {
  test(`process.exit with ${state}`, async () => {
    await run(`${program} process.exit(0);`);
  });
  test(`the end of a program with ${state} that is not to keep it alive`, async () => {
    await run(`client.unref(); ${program}`);
  });
}

test("an exception that nobody catches ends the program as ever", async () => {
  const program =
    'queue.receive().catch(() => {}); process.on("uncaughtException", (e) => process.exit(7)); setImmediate(() => { throw new Error("x"); });';
  await run(program, { code: 7 });
});

test("a program ends with what does not wait", async () => {
  for (const state of [
    "an idle client",
    "messages sent",
    "deliveries in hand",
    "a session in hand",
    "a loop that fetched ahead",
  ]) {
    await run(STATES[state]);
  }
});

test("what waits keeps a program alive until it has come", async () => {
  const late = "await queue.receive({ wait: 50 }); console.log('waited');";
  assert.equal(await run(late), "waited\n");
  const loop = `
    setTimeout(() => queue.send("x"), 50).unref();
    const other = setInterval(() => {}, 10);
    setTimeout(() => clearInterval(other), 100);
    for await (const message of queue.consume()) { console.log(message.text()); break; }`;
  assert.equal(await run(loop), "x\n");
  const worker = `
    const worker = queue.process((message) => { console.log(message.text()); worker.drain(); });
    await queue.send("y");`;
  assert.equal(await run(worker), "y\n");
});

test("a forked process has an engine of its own", async () => {
  const client = await connect("memory:fork");
  const queue = client.queue("jobs");
  const waiting = queue.receive({ wait: PATIENCE });
  const child = fork(fileURLToPath(new URL("./forked.mjs", import.meta.url)), { stdio: "pipe" });
  const [message] = await once(child, "message");
  assert.deepEqual(message, { ready: 1 });
  const [code] = await once(child, "exit");
  assert.equal(code, 0);
  await queue.send("here");
  const [delivery] = await waiting;
  assert.equal(delivery.text(), "here");
  await client.close();
});

/** What a worker thread does until it is terminated. */
const THREAD = new URL("./thread.cjs", import.meta.url);

test("worker threads that are terminated in flight lose nothing", async () => {
  const client = await connect("memory:threads");
  const queue = client.queue("jobs");
  const rounds = 20 * SOAK;
  for (let round = 0; round < rounds; round++) {
    const threads = Array.from({ length: 4 }, () => new Worker(THREAD));
    await Promise.all(threads.map((thread) => once(thread, "message")));
    // They are taken away in the middle of whatever they do.
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
  // Their waits took nothing with them, or gave it back.
  await queue.send("x");
  const [delivery] = await queue.receive();
  assert.equal(delivery.text(), "x");
  assert.equal(delivery.attempt, 1);
  await delivery.ack();
  await client.close();
});

test("the addon may live in worker threads alone", async () => {
  const program = `
    const { Worker } = await import("node:worker_threads");
    for (let round = 0; round < 3; round++) {
      const thread = new Worker(new URL(${JSON.stringify(THREAD)}));
      await new Promise((resolve) => thread.once("message", resolve));
      if (round < 2) await thread.terminate();
      else process.exit(0);
    }`;
  await run(program, { begin: "" });
});

test("threads of one process share what has a name", async () => {
  const client = await connect("memory:shared");
  const queue = client.queue("jobs");
  const exit = once(new Worker(new URL("./sender.cjs", import.meta.url)), "exit");
  const [delivery] = await queue.receive({ wait: PATIENCE });
  assert.equal(delivery.text(), "from a thread");
  const [code] = await exit;
  assert.equal(code, 0);
  await client.close();
});
