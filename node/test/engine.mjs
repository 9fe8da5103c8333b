// What most tests begin with.

import { TestEngine } from "queue-runtime/testing";

/** How many times its usual work a searching test does. */
export const SOAK = Number(process.env.QRT_SOAK ?? 1);

/** A fresh engine with one queue, closed when the test has ended. */
export async function fresh(test, options) {
  const engine = new TestEngine();
  test.after(() => engine.close());
  const client = await engine.connect();
  return { engine, client, queue: client.queue("jobs", options) };
}

/** Deliveries that are there now. */
export function ready(queue, maxMessages = 100) {
  return queue.receive({ maxMessages, wait: 0 });
}

export function texts(messages) {
  return messages.map((message) => message.text());
}

/** Gives the loop turns, and the engine's threads time, until this holds. */
export async function until(condition) {
  while (!(await condition())) await new Promise(setImmediate);
}

/** Until a worker has left nothing but dead letters. */
export function emptied(queue) {
  return until(async () => (await queue.statistics()).depth === 0);
}

export function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}
