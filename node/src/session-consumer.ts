/** The messages of a held session one after the other, for `for await`. */

import { offAbort, onAbort } from "./abort.js";
import { checkCount, checkOptions, checkSignal } from "./check.js";
import type { Delivery, SignalOptions } from "./delivery.js";
import { QueueError } from "./errors.js";
import { LONGEST_WAIT, type ReceiveOptions } from "./receive.js";

/** How messages of a session are fetched ahead. */
export interface SessionConsumeOptions extends SignalOptions {
  /**
   * How many messages may be fetched ahead; 16. They are locked from the moment they are fetched.
   * 1 fetches each when it is asked for.
   */
  prefetch?: number | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set(["prefetch", "signal"]);
const PREFETCH = 16;

/**
 * Messages of a session one after the other, without an end of its own: it ends when its client is
 * closed, and rejects with the signal's reason when that is aborted. Leaving the loop, in whatever way, gives the
 * messages back that were fetched ahead.
 *
 * While `next` waits for a message, as `for await` does, it keeps the process alive.
 */
export class SessionConsumer<T = unknown>
  implements AsyncIterableIterator<Delivery<T>>, AsyncDisposable
{
  readonly #receive: (options: ReceiveOptions) => Promise<Delivery<T>[]>;
  readonly #options: ReceiveOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = new AbortController();
  /** Fetched ahead, the next one last. */
  #ahead: Delivery<T>[] = [];
  #fetching: Promise<void> | undefined;
  #ended = false;

  /** @internal */
  constructor(
    receive: (options: ReceiveOptions) => Promise<Delivery<T>[]>,
    options: SessionConsumeOptions = {},
  ) {
    const { prefetch = PREFETCH, signal } = checkOptions("consume", OPTIONS, options);
    this.#receive = receive;
    this.#signal = checkSignal(signal);
    this.#options = {
      maxMessages: Math.max(checkCount("prefetch", prefetch), 1),
      wait: LONGEST_WAIT,
      signal: this.#stop.signal,
    };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next message. */
  next(): Promise<IteratorResult<Delivery<T>, undefined>> {
    if (!this.#ended && this.#signal?.aborted !== true) {
      const value = this.#ahead.pop();
      if (value !== undefined) return Promise.resolve({ value, done: false });
    }
    return this.#next();
  }

  async #next(): Promise<IteratorResult<Delivery<T>, undefined>> {
    while (!this.#ended) {
      if (this.#signal?.aborted) {
        await this.return();
        throw this.#signal.reason;
      }
      const value = this.#ahead.pop();
      if (value !== undefined) return { value, done: false };
      this.#fetching ??= this.#fetch();
      await this.#fetching;
    }
    return { value: undefined, done: true };
  }

  async #fetch(): Promise<void> {
    const stop = () => this.#stop.abort();
    onAbort(this.#signal, stop);
    try {
      this.#ahead = (await this.#receive(this.#options)).reverse();
    } catch (error) {
      // Given up by this consumer itself, which goes on to see why; or its client was closed.
      if (this.#stop.signal.aborted) return;
      if (!(error instanceof QueueError && error.code === "closed")) throw error;
      this.#ended = true;
    } finally {
      offAbort(this.#signal, stop);
      this.#fetching = undefined;
    }
  }

  /** Ends it: what waits is given up, and messages that were fetched ahead are given back. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#ended = true;
    this.#stop.abort();
    // It takes nothing any more, but may have brought something just before.
    await this.#fetching?.catch(() => {});
    const ahead = this.#ahead;
    this.#ahead = [];
    // One whose lock ended meanwhile is back already.
    await Promise.allSettled(ahead.map((delivery) => delivery.release()));
    return { value: undefined, done: true };
  }

  async throw(error: unknown): Promise<IteratorReturnResult<undefined>> {
    await this.return();
    throw error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
