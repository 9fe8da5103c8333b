// Consumers: their verbs, and what must come of them.

import { checkValue } from "./check.mjs";
import { named } from "./names.mjs";
import { eventually } from "./patience.mjs";
import { camel, span } from "./text.mjs";

const same = (value) => value;

/** How the value of each option is read: one line for each. */
export const OPTIONS = {
  concurrency: same,
  prefetch: same,
  prefetch_bytes: same,
  max_messages: same,
  wait: span,
  lock: span,
  max_lock_renewal: span,
  reconnect: same,
  idle: span,
};

/** Begins a consumer. */
export async function consume(_, queue, step) {
  const options = Object.keys(OPTIONS)
    .filter((name) => step[name] !== undefined)
    .map((name) => [camel(name), OPTIONS[name](step[name])]);
  return queue.consume(Object.fromEntries(options));
}

/** The verbs that are no queue's. */
export const BEGIN = {
  next: async (world, step, signal) => {
    const consumer = named(world.consumers, step.next);
    // Who asks can only be given up with all who ask.
    signal?.addEventListener("abort", () => consumer.return());
    return (await consumer.next()).value;
  },
  consumer_status: async (world, step) => {
    const consumer = named(world.consumers, step.consumer_status);
    const { ready, in_hand: inHand, prefetched } = step.expect;
    // It gets there in the background; what it must not be is seen by who asks.
    await world.turn();
    await eventually(() => {
      const { status } = consumer;
      checkValue("ready", ready, status.ready);
      checkValue("in_hand", inHand, status.inHand);
      checkValue("prefetched", prefetched, status.prefetched);
    });
  },
  cancelled: async (world, { cancelled, cause }) => {
    const delivery = named(world.deliveries, cancelled);
    const look = () => checkValue("the cause", cause, delivery.cancelled ?? "none");
    await world.turn();
    if (cause === "none") look();
    else await eventually(look);
  },
  drain: (world, step) => named(world.consumers, step.drain).drain(span(step.deadline)),
  stop: (world, step) => named(world.consumers, step.stop).return(),
};

/** What became of a drain. */
export function finishDrain(_, { expect = {} }, report) {
  for (const [name, count] of Object.entries(expect)) checkValue(name, count, report[name]);
}
