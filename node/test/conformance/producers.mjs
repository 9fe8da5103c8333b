// Producers: their verbs, and what must come of them.

import { checkValue } from "./check.mjs";
import { options, same } from "./consumers.mjs";
import { named } from "./names.mjs";
import { bytes, span } from "./text.mjs";

/** How the value of each option is read. */
export const OPTIONS = {
  batch_size: same,
  batch_bytes: same,
  linger: span,
  max_pending: same,
  max_pending_bytes: same,
  on_full: same,
};

/** Makes a producer. */
export async function produce(_, queue, step) {
  return queue.producer(options(step, OPTIONS));
}

export const BEGIN = {
  flush: (world, step) => named(world.producers, step.flush).flush(),
  close_producer: (world, step) =>
    named(world.producers, step.close_producer).close(span(step.deadline)),
};

/** What a producer reports at its end. */
export function finishClose(_, { expect }, report) {
  const { sent, failed, unsent = [] } = expect;
  checkValue("sent", sent, report.sent);
  checkValue("failed", failed, report.failed);
  const shown = (bodies) => bodies.map((body) => body.toString("hex")).join(" ");
  checkValue("unsent", shown(unsent.map(bytes)), shown(report.unsent.map(({ body }) => body)));
}
