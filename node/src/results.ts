/** What became of many: result i belongs to input i. */

import { inspect } from "node:util";

import { Delivery, SETTLED, settledBefore } from "./delivery.js";
import { type QueueError, takeError } from "./errors.js";
import { type Page, Reader, words } from "./memory.js";
import type { SendResult } from "./message.js";

/** The results of a call on many, of which some may have failed: an array with one method more. */
export class Results<R> extends Array<R> {
  /** The first error, thrown; nothing when there is none. */
  throwForErrors(): this {
    for (const result of this) {
      const { error } = result as { error?: QueueError };
      if (error !== undefined) throw error;
    }
    return this;
  }

  // What is made of them is an ordinary array.
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/** Makes an array the results. V8 gives up optimizing who fills one that is made as `Results`. */
function results<R>(array: R[]): Results<R> {
  return Object.setPrototypeOf(array, Results.prototype);
}

/** What became of one message of `sendMany`: its id, or why it was not stored. */
export type SendOutcome =
  (SendResult & { readonly error?: undefined }) | { readonly error: QueueError };

/** What became of one delivery: why it could not be done, if it could not. */
export interface SettleOutcome {
  readonly error?: QueueError | undefined;
}

/** Written out when it is asked for, which few senders do. */
class Sent implements SendResult {
  readonly #page: Page;
  readonly #at: number;

  constructor(page: Page, at: number) {
    this.#page = page;
    this.#at = at;
  }

  get id(): string {
    return this.#page.text(this.#at + 1);
  }

  get isDuplicate(): boolean {
    return this.#page.number(this.#at) === 2;
  }

  get error(): undefined {
    return undefined;
  }

  toJSON(): SendResult {
    return { id: this.id, isDuplicate: this.isDuplicate };
  }

  [inspect.custom](_depth: number, options: object): string {
    return inspect(this.toJSON(), options);
  }
}

/** What became of the one message of a send, which fails with it. */
export function readSent(page: Page, at: number): SendResult {
  if (page.number(at + 1) === 0) throw takeError(new Reader(page, at + 2));
  return new Sent(page, at + 1);
}

export function readAllSent(page: Page, at: number): Results<SendOutcome> {
  const sent: SendOutcome[] = new Array(page.number(at++));
  for (let index = 0; index < sent.length; index++) {
    if (page.number(at) === 0) {
      const reader = new Reader(page, at + 1);
      sent[index] = { error: takeError(reader) };
      at = reader.at;
    } else {
      sent[index] = new Sent(page, at);
      at += 2 + words(page.number(at + 1));
    }
  }
  return results(sent);
}

const DONE: SettleOutcome = Object.freeze({});

/** Of entries that were enqueued. */
export function readAccepted(page: Page, at: number): Results<SettleOutcome> {
  const reader = new Reader(page, at);
  const accepted: SettleOutcome[] = new Array(reader.number());
  for (let index = 0; index < accepted.length; index++) {
    accepted[index] = reader.number() === 1 ? DONE : { error: takeError(reader) };
  }
  return results(accepted);
}

/** Deliveries on their way through a call on many. */
export interface Many {
  readonly operation: string;
  readonly queue: string;
  readonly deliveries: readonly Delivery[];
  /** Their numbers in the native half, which sees only those that are not settled. */
  readonly slots: readonly number[];
}

/** Of deliveries that were settled, which are marked so. */
export function readSettled(page: Page, at: number, many: Many): Results<SettleOutcome> {
  const done = readEach(page, at, many);
  for (let index = 0; index < done.length; index++) {
    if (done[index] === DONE) Delivery.markSettled(many.deliveries[index] as Delivery);
  }
  return results(done);
}

export function readDone(page: Page, at: number, many: Many): Results<SettleOutcome> {
  return results(readEach(page, at, many));
}

function readEach(page: Page, at: number, many: Many): SettleOutcome[] {
  const { operation, queue, slots } = many;
  const done: SettleOutcome[] = new Array(slots.length);
  // After how many there are.
  at++;
  for (let index = 0; index < slots.length; index++) {
    if (slots[index] === SETTLED) {
      done[index] = { error: settledBefore(operation, queue) };
    } else if (page.number(at++) === 1) {
      done[index] = DONE;
    } else {
      const reader = new Reader(page, at);
      done[index] = { error: takeError(reader) };
      at = reader.at;
    }
  }
  return done;
}
