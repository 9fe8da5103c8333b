// A handler that holds the event loop for three times the lock keeps its message: nobody else gets
// it, in another process neither. In real time, since it is about threads.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { connect } from "queue-runtime";

/** Handles one message, says "at work" when it has begun, and at its end the attempts and report. */
const HOLDS = `
  import { connect } from "queue-runtime";
  const client = await connect(process.argv[1], { lock: 1000 });
  const attempts = [];
  let done;
  const worked = new Promise((resolve) => { done = resolve; });
  const worker = client.queue("jobs").process((message) => {
    attempts.push(message.attempt);
    console.log("at work");
    const end = performance.now() + 3000;
    while (performance.now() < end);
    setImmediate(done);
  }, { concurrency: 2 });
  await worked;
  const { abandoned } = await worker.drain();
  console.log(JSON.stringify({ attempts, abandoned }));
  await client.close();
`;

test("another process gets nothing meanwhile", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "queue-runtime-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const url = `file://${folder}/queues?segment_bytes=4194304`;
  const client = await connect(url, { lock: 1000 });
  t.after(() => client.close());
  const queue = client.queue("jobs");
  await queue.send("x");

  const args = ["--input-type=module", "--eval", HOLDS, url];
  const child = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (data) => (said += data));
  const ended = once(child, "close");
  await Promise.race([once(child.stdout, "data"), ended]);
  while (child.exitCode === null) {
    assert.deepEqual(await queue.receive({ wait: 50 }), []);
  }
  await ended;
  assert.deepEqual([child.exitCode, said], [0, 'at work\n{"attempts":[1],"abandoned":0}\n']);
  assert.equal((await queue.statistics()).depth, 0);
});
