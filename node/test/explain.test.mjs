// When messages are tried again, as it is explained.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fresh } from "./engine.mjs";

test("a schedule", async (t) => {
  const retry = "exponential:100ms,2,30s,jitter";
  const { queue } = await fresh(t, { budget: 3, retry, lock: 10_000 });
  const { text, failures, ...said } = await queue.explain();
  assert.deepEqual(said, {
    queue: "jobs",
    provider: "memory",
    budget: 3,
    budgetFrom: "queue",
    maxReceives: undefined,
    lock: 10_000,
    retry,
    waits: [
      { least: 0, most: 100 },
      { least: 0, most: 200 },
    ],
    longestWait: undefined,
    deadLetters: "jobs",
    onFailure: "block",
  });
  assert.deepEqual(
    failures.filter(({ usesAttempt }) => !usesAttempt).map(({ failure }) => failure),
    ["throttled", "release"],
  );
  assert.match(text, /after attempt 2: 0s to 200ms later/);
  assert.equal(`${await queue.explain()}`, text);
});

test("where a message stands", async (t) => {
  const { engine, queue } = await fresh(t, { budget: 2, retry: "fixed:4s", lock: 10_000 });
  await queue.send("x", { id: "m", session: "s" });
  await queue.send("y", { id: "n", session: "s" });
  const [delivery] = await queue.receive({ wait: 0 });
  let said = await queue.explainMessage("m");
  assert.deepEqual([said.standing, said.attempts, said.budget], ["in_flight", 1, 2]);
  assert.deepEqual(said.now, engine.now);
  assert.deepEqual(
    [said.until, said.earliest, said.latest].map((moment) => moment - said.now),
    [10_000, 4000, 14_000],
  );
  await delivery.nack();
  said = await queue.explainMessage("n");
  const { until, ...behind } = said.behind;
  assert.deepEqual(behind, { id: "m", standing: "delayed" });
  assert.deepEqual([until - said.now, said.earliest - said.now], [4000, 4000]);
  assert.match(String(said), /behind m, which comes back in 4s/);
  await engine.advance(4000);
  const [last] = await queue.receive({ wait: 0 });
  await last.nack("no milk");
  said = await queue.explainMessage("m");
  assert.deepEqual(said.death, {
    reason: "max_attempts",
    description: "no milk",
    at: engine.now,
  });
  assert.equal((await queue.explainMessage("nobody")).standing, "gone");
  await assert.rejects(queue.explainMessage(""), { message: /"id"/ });
  await assert.rejects(queue.explainMessage(7), { message: /"id"/ });
});
