/** One hand-over of a message, and how it ends. */

import {
  checkDuration,
  checkOptions,
  checkSignal,
  checkSomeDuration,
  checkSomeString,
  checkString,
} from "./check.js";
import { InvalidReceiptError } from "./errors.js";
import {
  disown,
  drop,
  type Home,
  nothing,
  now,
  onPageEnd,
  own,
  readNumber,
  request,
  start,
} from "./link.js";
import { type Page, WORD } from "./memory.js";
import { ReceivedMessage } from "./message.js";
import { native, type Verb } from "./native.js";

/** Where deliveries come from. */
export interface Source {
  readonly home: Home;
  readonly name: string;
  /** Words that the deliveries of the last receive took. */
  expected: number;
}

/**
 * Why work on a message is to stop: its lock ended, and somebody else may have it by now; its lock was
 * kept for as long as it may be; its consumer has ended and gave it back.
 */
export type CancelCause = "lock_lost" | "stalled" | "drained";

/** Numbered as in the native half. */
const CAUSES: readonly (CancelCause | undefined)[] = [undefined, "lock_lost", "stalled", "drained"];

/** Options of a verb that may wait. */
export interface SignalOptions {
  /** Gives the call up; its promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** When a message that is given back appears again. */
export interface DelayOptions extends SignalOptions {
  /** After so many milliseconds. */
  delay?: number | undefined;
}

/** What is said of a message that is given up. */
export interface DeadLetterOptions extends SignalOptions {
  /** Why, at length. */
  description?: string | undefined;
}

const SIGNAL_OPTIONS: ReadonlySet<string> = new Set(["signal"]);
const DELAY_OPTIONS: ReadonlySet<string> = new Set(["delay", "signal"]);
const DEAD_LETTER_OPTIONS: ReadonlySet<string> = new Set(["description", "signal"]);

/** Words of a delivery before its message. */
const HEAD_WORDS = 5;

/** Its number in the native half, when there is none any more. */
export const SETTLED = -1;

/**
 * One hand-over of a message. It ends in one of four ways: `ack`, `nack`, `release` or `deadLetter`.
 * One that is never settled comes back when its lock ends; losing the object settles nothing.
 */
export class Delivery<T = unknown> extends ReceivedMessage<T> {
  readonly #source: Source;
  #slot: number;

  /** @internal */
  constructor(page: Page, at: number, source: Source) {
    super(page, at + HEAD_WORDS);
    this.#source = source;
    this.#slot = page.number(at);
    young.push(this);
  }

  /** Which attempt at the message this is, from 1. */
  get attempt(): number {
    return this.before(4);
  }

  /** The message's place in the order of the queue. */
  get sequence(): number {
    return this.before(3);
  }

  /** When the message was sent. */
  get enqueuedAt(): Date {
    return new Date(this.before(2));
  }

  /** When the lock ends; once settled, when it would have ended at first. */
  get lockedUntil(): Date {
    if (this.settled) return new Date(this.before(1));
    request.begin().number(this.#slot);
    return new Date(now(native.lockedUntil, readNumber, undefined));
  }

  /** Whether it was settled. */
  get settled(): boolean {
    return this.#slot === SETTLED;
  }

  /** Why work on it is to stop, if it is; `undefined` where its lock is not kept. */
  get cancelled(): CancelCause | undefined {
    if (this.settled) return undefined;
    request.begin().number(this.#slot);
    return CAUSES[now(native.cancelled, readNumber, undefined)];
  }

  /**
   * Done; gone for good.
   *
   * All four settlements reject with `InvalidReceiptError` when it was settled before, with
   * `LockLostError` or `SessionLockLostError` when its lock ended. After another error it is as it
   * was, to be tried again.
   */
  ack(options?: SignalOptions): Promise<void> {
    try {
      const signal = signalOf("ack", options);
      if (this.#slot === SETTLED) return this.#again("ack");
      request.begin().number(this.#slot);
      return start(native.ack, readSettled, this, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * This attempt failed: the message comes back after `delay`, or as the queue's retry policy says, or
   * is dead-lettered when its budget is spent, with `reason` as the description.
   */
  nack(reason?: string, options?: DelayOptions): Promise<void> {
    return this.#settle("nack", native.nack, () => {
      const { delay, signal } = checkOptions("nack", DELAY_OPTIONS, options ?? {});
      const text = checkSomeString("reason", reason);
      const ms = checkSomeDuration("delay", delay);
      request.begin().number(this.#slot).someText(text).someNumber(ms);
      return signal;
    });
  }

  /** Given back unblamed, after `delay` or at once: the attempt does not count. */
  release(options?: DelayOptions): Promise<void> {
    return this.#settle("release", native.release, () => {
      const { delay, signal } = checkOptions("release", DELAY_OPTIONS, options ?? {});
      const ms = checkSomeDuration("delay", delay);
      request.begin().number(this.#slot).someNumber(ms);
      return signal;
    });
  }

  /** To the dead-letter queue now. `FullError` when that has no room: it stays as it was. */
  deadLetter(reason: string, options?: DeadLetterOptions): Promise<void> {
    return this.#settle("deadLetter", native.deadLetter, () => {
      const given = checkOptions("deadLetter", DEAD_LETTER_OPTIONS, options ?? {});
      const text = checkString("reason", reason);
      const description = checkSomeString("description", given.description);
      request.begin().number(this.#slot).text(text).someText(description);
      return given.signal;
    });
  }

  /**
   * Keeps the lock for so many milliseconds from now; of a session's message, the session's lock.
   */
  extend(lock: number, options?: SignalOptions): Promise<void> {
    try {
      const signal = signalOf("extend", options);
      checkDuration("lock", lock);
      if (this.settled) return this.#again("extend");
      request.begin().number(this.#slot).number(lock);
      return start(native.extend, nothing, undefined, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** At the end of an `await using` scope: what was not settled has failed, and is nacked. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.settled) await this.nack("left its scope unsettled");
  }

  #settle(name: string, verb: Verb, write: () => AbortSignal | undefined): Promise<void> {
    try {
      if (this.settled) return this.#again(name);
      const signal = checkSignal(write());
      return start(verb, readSettled, this, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #again(operation: string): Promise<never> {
    return Promise.reject(settledBefore(operation, this.#source.name));
  }

  /**
   * Its number in the native half, or `SETTLED`.
   * @internal
   */
  static slotOf(delivery: Delivery): number {
    return delivery.#slot;
  }

  /** @internal */
  static markSettled(delivery: Delivery): void {
    delivery.#slot = SETTLED;
    if (!delivery.isYoung) disown(delivery);
  }

  /**
   * Gives it up unsettled, before the garbage collector would: its lock is not kept any more.
   * @internal
   */
  static forget(delivery: Delivery): void {
    if (delivery.#slot === SETTLED) return;
    drop(native.forget, delivery.#slot);
    Delivery.markSettled(delivery);
  }

  /**
   * Has the native half told when it is lost unsettled.
   * @internal
   */
  static watch(delivery: Delivery): void {
    if (delivery.#slot !== SETTLED) own(delivery, native.forget, delivery.#slot);
  }

  /** @internal */
  override shown(): Record<string, unknown> {
    return { ...super.shown(), attempt: this.attempt, settled: this.settled };
  }
}

/**
 * Deliveries of the present page. Most are settled before it is full; only the others are worth the
 * price of being watched by the garbage collector.
 */
let young: Delivery[] = [];

onPageEnd(() => {
  const grown = young;
  young = [];
  for (const delivery of grown) Delivery.watch(delivery);
});

function readSettled(_page: Page, _at: number, delivery: Delivery): void {
  Delivery.markSettled(delivery);
}

export function settledBefore(operation: string, queue: string): InvalidReceiptError {
  const text = `${operation} on queue "${queue}": the delivery was settled before`;
  return new InvalidReceiptError("invalid_receipt", text, { operation, queue });
}

/** The signal of a verb that has no other option. */
export function signalOf(
  verb: string,
  options: SignalOptions | undefined,
): AbortSignal | undefined {
  if (options === undefined) return undefined;
  return checkSignal(checkOptions(verb, SIGNAL_OPTIONS, options).signal);
}

/** The deliveries of a receive. */
export function readDeliveries<T>(page: Page, at: number, source: Source): Delivery<T>[] {
  const start = at;
  const deliveries: Delivery<T>[] = new Array(page.number(at++));
  for (let index = 0; index < deliveries.length; index++) {
    deliveries[index] = new Delivery<T>(page, at, source);
    at = page.number(at + HEAD_WORDS) / WORD;
  }
  source.expected = at - start + HEAD_WORDS;
  return deliveries;
}
