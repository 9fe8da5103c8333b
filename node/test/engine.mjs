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
