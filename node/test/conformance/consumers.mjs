// Consumers: their verbs, and what must come of them.

import { checkValue } from "./check.mjs";
import { named } from "./names.mjs";
import { eventually } from "./patience.mjs";
import { camel, span } from "./text.mjs";

export const same = (value) => value;

/** How the value of each option is read: one line for each. */
export const OPTIONS = {
  concurrency: same,
  min_concurrency: same,
  scale_cooldown: span,
  prefetch: same,
  prefetch_bytes: same,
  max_messages: same,
  wait: span,
  lock: span,
  max_lock_renewal: span,
  reconnect: same,
  idle: span,
  breaker: same,
  max_sessions: same,
  session_idle: span,
  session_max_messages: same,
  session_max_time: span,
  max_in_flight_per_group: same,
};

/** The options of a step that are of these. */
export function options(step, known) {
  const said = Object.keys(known).filter((name) => step[name] !== undefined);
  return Object.fromEntries(said.map((name) => [camel(name), known[name](step[name])]));
}

/** Begins a consumer, of a queue or of a held session. */
export async function consume(_, source, step) {
  return source.consume(options(step, OPTIONS));
}

/** The verbs that are no queue's. */
export const BEGIN = {
  consume: (world, step) => step.from && consume(world, named(world.sessions, step.from), step),
  next: async (world, step, signal) => {
    const consumer = named(world.consumers, step.next);
    // Who asks can only be given up with all who ask.
    signal?.addEventListener("abort", () => consumer.return());
    return (await consumer.next()).value;
  },
  consumer_status: async (world, step) => {
    const consumer = named(world.consumers, step.consumer_status);
    // It gets there in the background; what it must not be is seen by who asks.
    await world.turn();
    await eventually(() => {
      const { status } = consumer;
      for (const [name, value] of Object.entries(step.expect)) {
        checkValue(name, value, status[camel(name)]);
      }
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
  pause: async (world, step) => named(world.consumers, step.pause).pause(),
  resume: async (world, step) => named(world.consumers, step.resume).resume(),
  reset_breaker: async (world, step) => named(world.consumers, step.reset_breaker).resetBreaker(),
};

/** What became of a drain. */
export function finishDrain(_, { expect = {} }, report) {
  for (const [name, count] of Object.entries(expect)) checkValue(name, count, report[name]);
}
