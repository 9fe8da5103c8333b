/** Receiving, from a queue or a session. */

import {
  checkCount,
  checkDuration,
  checkFlag,
  checkOptions,
  checkSignal,
  checkSomeDuration,
} from "./check.js";
import { type Delivery, readDeliveries, type SignalOptions, type Source } from "./delivery.js";
import { request, start } from "./link.js";
import type { Verb } from "./native.js";

/** What to receive. Durations are milliseconds. */
export interface ReceiveOptions extends SignalOptions {
  /** At most this many messages; 1. */
  maxMessages?: number | undefined;
  /** How long to wait for the first message; 10,000. 0 looks once; at most 12 hours. */
  wait?: number | undefined;
  /** How long the messages are locked; as long as the queue says. */
  lock?: number | undefined;
  /** Whether their locks are kept, for up to 10 minutes, until each is settled or lost. */
  keepLock?: boolean | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set(["maxMessages", "wait", "lock", "keepLock", "signal"]);
const NOTHING: ReceiveOptions = {};

/** How long a receive waits that does not say. */
export const WAIT = 10_000;
/** How long one of those waits that begin again: the longest there is. */
export const LONGEST_WAIT = 12 * 3600 * 1000;

export function receive<T>(
  verb: Verb,
  slot: number,
  source: Source,
  options: ReceiveOptions = NOTHING,
): Promise<Delivery<T>[]> {
  try {
    if (options !== NOTHING) checkOptions("receive", OPTIONS, options);
    const { maxMessages = 1, wait = WAIT, lock, keepLock = false, signal } = options;
    request
      .begin()
      .number(slot)
      .number(checkCount("maxMessages", maxMessages))
      .number(checkDuration("wait", wait))
      .someNumber(checkSomeDuration("lock", lock))
      .flag(checkFlag("keepLock", keepLock));
    const { home, expected } = source;
    return start(verb, readDeliveries<T>, source, home, checkSignal(signal), expected);
  } catch (error) {
    return Promise.reject(error);
  }
}
