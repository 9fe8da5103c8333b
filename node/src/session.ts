/** Held sessions: ordered groups with one holder at a time. */

import { checkSomeDuration, wrong } from "./check.js";
import { type ConsumeOptions, Consumer } from "./consumer.js";
import { type Delivery, type SignalOptions, type Source, signalOf } from "./delivery.js";
import { type Home, nothing, now, own, readNumber, request, start } from "./link.js";
import type { Page } from "./memory.js";
import { native } from "./native.js";
import { type ReceiveOptions, receive } from "./receive.js";

/**
 * A session that is held: its messages come in order, and to nobody else. Let go by `close`, at the end
 * of an `await using` scope, when the object is lost, or when its lock ends.
 */
export class Session<T = unknown> {
  /** The id. */
  readonly id: string;
  readonly #slot: number;
  readonly #source: Source;

  /** @internal */
  constructor(id: string, slot: number, source: Source) {
    this.id = id;
    this.#slot = slot;
    this.#source = source;
    own(this, native.dropSession, slot);
  }

  /** When its lock ends. */
  get lockedUntil(): Date {
    request.begin().number(this.#slot);
    return new Date(now(native.sessionLockedUntil, readNumber, undefined));
  }

  /** Receives its messages, in order, as `Queue.receive`. */
  receive(options?: ReceiveOptions): Promise<Delivery<T>[]> {
    return receive(native.receiveOfSession, this.#slot, this.#source, options);
  }

  /**
   * Its messages, one at a time and in order, for `for await`: the next when the one before is settled
   * or lost. Its lock is kept as long as this goes on; when that is lost, it rejects with
   * `SessionLockLostError`.
   */
  consume(options?: ConsumeOptions): Consumer<T> {
    return new Consumer<T>(
      { consume: native.consumeSession, slot: this.#slot },
      this.#source,
      options,
    );
  }

  /** Keeps it, and all its deliveries, for so many milliseconds from now, or for its lock time. */
  renew(lock?: number, options?: SignalOptions): Promise<void> {
    try {
      const signal = signalOf("renew", options);
      request.begin().number(this.#slot).someNumber(checkSomeDuration("lock", lock));
      return start(native.renewSession, nothing, undefined, this.#home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The bytes kept with it, across holders. */
  state(options?: SignalOptions): Promise<Buffer | undefined> {
    try {
      const signal = signalOf("state", options);
      request.begin().number(this.#slot);
      return start(native.sessionState, readState, undefined, this.#home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Keeps these bytes, or this text, with it; `undefined` removes them. */
  setState(state: Uint8Array | string | undefined, options?: SignalOptions): Promise<void> {
    try {
      const signal = signalOf("setState", options);
      request.begin().number(this.#slot);
      if (state === undefined || typeof state === "string") request.someText(state);
      else if (state instanceof Uint8Array) request.bytes(state);
      else throw wrong("state", "bytes, a string or undefined", state);
      return start(native.setSessionState, nothing, undefined, this.#home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Lets it go. What is not settled goes back to its place, its attempt used. */
  close(options?: SignalOptions): Promise<void> {
    try {
      const signal = signalOf("close", options);
      request.begin().number(this.#slot);
      return start(native.closeSession, nothing, undefined, this.#home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #home(): Home {
    return this.#source.home;
  }
}

function readState(page: Page, at: number): Buffer | undefined {
  return page.number(at) < 0 ? undefined : Buffer.from(page.slice(at));
}

export function readSession<T>(page: Page, at: number, source: Source): Session<T> | undefined {
  const slot = page.number(at);
  return slot < 0 ? undefined : new Session<T>(page.text(at + 1), slot, source);
}
