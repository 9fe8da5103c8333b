// A worker of the demo that crosses processes, in Node: it shares the webhooks of a `file:` store with
// workers in other languages, and reports each one it handled in another queue of the store.
//
//     node webhook-worker.mjs URL [HANG]
//
// With HANG it gets stuck in the handler of its HANG-th webhook, for somebody to kill it there.

import { setTimeout as sleep } from "node:timers/promises";

import { connect } from "queue-runtime";

/** It ends when nothing came for so long. */
const IDLE = 2000;
/** What the work on a webhook takes. */
const WORK = 5;

const [url, hang] = process.argv.slice(2);
if (url === undefined) throw new Error("usage: node webhook-worker.mjs URL [HANG]");

const client = await connect(url);
const webhooks = client.queue("webhooks");
const handled = client.queue("handled");

for (let count = 1; ; count++) {
  const [delivery] = await webhooks.receive({ wait: IDLE });
  if (delivery === undefined) break;
  if (count === Number(hang)) {
    console.log(`stuck with ${delivery.id}`);
    await sleep(2 ** 31 - 1);
  }
  await handle(delivery);
}
await client.close();

async function handle(delivery) {
  const { sender } = delivery.json();
  await sleep(WORK);
  const { id, attempt } = delivery;
  const report = { worker: "Node", id, attempt, sender: sender?.login ?? null };
  // Reported before it is acked: a crash between the two shows as a second report.
  await handled.send(JSON.stringify(report));
  await delivery.ack();
}
