// Objects that are lost.

import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { connect } from "queue-runtime";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");

/** More than there is room for in what deliveries are read from together. */
const LARGE = 1024 * 1024;

/** Resolves when a delivery that nobody holds any more is collected, and its consumer was told. */
export async function collected(lost) {
  // Young ones are only watched when others take their place.
  const client = await connect("memory:");
  const queue = client.queue("large");
  await queue.send(Buffer.alloc(LARGE));
  await (await queue.receive())[0].ack();
  await client.close();
  while (isThere(lost)) {
    await turn();
    gc();
  }
  await turn();
  await turn();
}

/** On its own, so that nothing of it is left in what waits. */
function isThere(lost) {
  return lost.deref() !== undefined;
}
