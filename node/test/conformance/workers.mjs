// Workers: the calls of a handler are seen by the scenario, which says how each ends.

import { check } from "./check.mjs";
import { OPTIONS, options, same } from "./consumers.mjs";
import { named } from "./names.mjs";
import { span } from "./text.mjs";

/** How the value of each option of batches is read. */
export const BATCHES = {
  batch_size: same,
  batch_bytes: same,
  batch_linger: span,
  batch_concurrency: same,
  min_batch_size: same,
  target_batch_duration: span,
};

/** Starts a worker. */
export async function work(_, queue, step) {
  const calls = new Calls();
  const batches = options(step, BATCHES);
  const all = { ...options(step, OPTIONS), ...batches };
  const one = async (message) => {
    for (const failure of (await calls.called([message])).values()) throw failure;
  };
  const isBatched = Object.keys(batches).length > 0;
  const worker = isBatched
    ? queue.processBatches((messages) => calls.called(messages), all)
    : queue.process(one, all);
  return { worker, calls };
}

/** The calls of a handler, for who waits for them. */
class Calls {
  #come = [];
  #waiting = [];

  /** Lets the scenario see a call. Resolves with what failed of it. */
  called(messages) {
    const failure = new Error("as the scenario says");
    return new Promise((resolve) => {
      const end = (failed) => resolve(new Map(failed.map((position) => [position, failure])));
      const call = { messages, end };
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#come.push(call);
      else waiting(call);
    });
  }

  /** The next one. */
  next(signal) {
    const call = this.#come.shift();
    if (call !== undefined) return Promise.resolve(call);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      signal?.addEventListener("abort", () => {
        this.#waiting = this.#waiting.filter((waiting) => waiting !== resolve);
        resolve();
      });
    });
  }

  /** Ends those that nobody saw. */
  close() {
    for (const { end } of this.#come) end([]);
  }
}

export const BEGIN = {
  call: (world, step, signal) => named(world.workers, step.call).next(signal),
  return: async (world, step) => {
    const place = ({ messages }, body) => messages.findIndex((message) => message.text() === body);
    const call = [...world.calls].find((call) => place(call, step.return) >= 0);
    check(call !== undefined, `no call has the message ${step.return}`);
    const failed = (step.failed ?? []).map((body) => place(call, body));
    check(!failed.includes(-1), "what failed is no message of the call");
    world.calls.delete(call);
    call.end(failed);
  },
};
