/** Handlers as workers. */

import { setTimeout as sleep } from "node:timers/promises";

import { offAbort, onAbort } from "./abort.js";
import {
  checkCount,
  checkDuration,
  checkFunction,
  checkOptions,
  checkSignal,
  checkSomeDuration,
} from "./check.js";
import type { Delivery, SignalOptions } from "./delivery.js";
import { QueueError } from "./errors.js";
import { LONGEST_WAIT, type ReceiveOptions } from "./receive.js";

/** What a handler is told beside its message. */
export interface HandlerContext {
  /** Aborted when the worker was stopped and the time it was given is over. */
  signal: AbortSignal;
}

/**
 * Handles a message. When it returns, or its promise resolves, the message is acked; when it throws, or
 * rejects, it is nacked with the error's message as the reason. One that it settled itself stays so.
 */
export type Handler<T> = (message: Delivery<T>, context: HandlerContext) => unknown;

/** How messages are handled. */
export interface ProcessOptions<T = unknown> extends SignalOptions {
  /** How many messages are handled at one time; 16. Of one session always one at a time. */
  concurrency?: number | undefined;
  /** How long messages are locked, in milliseconds; as long as the queue says. */
  lock?: number | undefined;
  /**
   * Told of what fails: a handler, a settlement, a receive. Without it only the metrics tell. The worker
   * goes on, unless a receive fails in a way that cannot get better.
   */
  onError?: ((error: unknown, message?: Delivery<T>) => void) | undefined;
}

/** How a worker is stopped. */
export interface StopOptions {
  /** How long handlers may go on, in milliseconds, before their `signal` is aborted; for ever. */
  timeout?: number | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set(["concurrency", "lock", "onError", "signal"]);
const STOP_OPTIONS: ReadonlySet<string> = new Set(["timeout"]);
const CONCURRENCY = 16;
/** How long a receive that failed for now is left alone, in milliseconds, unless the error says. */
const PAUSE = 1000;

/**
 * Handles the messages of a queue until it is stopped, by `stop`, its signal, the end of an `await
 * using` scope or the close of its client. While it runs it keeps the process alive.
 */
export class Worker<T = unknown> implements AsyncDisposable {
  /** Resolves when it has stopped; rejects when it had to because a receive failed for good. */
  readonly done: Promise<void>;

  readonly #receive: (options: ReceiveOptions) => Promise<Delivery<T>[]>;
  readonly #handler: Handler<T>;
  readonly #onError: ((error: unknown, message?: Delivery<T>) => void) | undefined;
  readonly #concurrency: number;
  readonly #lock: number | undefined;
  readonly #stopped = new AbortController();
  readonly #expired = new AbortController();
  readonly #lanes = new Set<Promise<void>>();

  /** @internal */
  constructor(
    receive: (options: ReceiveOptions) => Promise<Delivery<T>[]>,
    handler: Handler<T>,
    options: ProcessOptions<T> = {},
  ) {
    checkFunction("handler", handler);
    const given = checkOptions("process", OPTIONS, options);
    if (given.onError !== undefined) checkFunction("onError", given.onError);
    this.#receive = receive;
    this.#handler = handler;
    this.#onError = given.onError;
    this.#concurrency = Math.max(checkCount("concurrency", given.concurrency ?? CONCURRENCY), 1);
    this.#lock = checkSomeDuration("lock", given.lock);
    const signal = checkSignal(given.signal);
    const stop = () => this.#stopped.abort();
    if (signal?.aborted) stop();
    onAbort(signal, stop);
    this.done = this.#run().finally(() => offAbort(signal, stop));
    // Who does not look at it does not want to hear of it; `onError` was told.
    this.done.catch(() => {});
  }

  /** Takes no more messages, and waits until those in hand are handled. Again only waits. */
  async stop(options: StopOptions = {}): Promise<void> {
    const { timeout } = checkOptions("stop", STOP_OPTIONS, options);
    this.#stopped.abort();
    if (timeout === undefined || checkDuration("timeout", timeout) === Number.POSITIVE_INFINITY) {
      return this.done;
    }
    const timer = setTimeout(() => this.#expired.abort(), timeout);
    await this.done.finally(() => clearTimeout(timer));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopped.signal.aborted) await this.#take();
    } finally {
      await Promise.all(this.#lanes);
    }
  }

  /** Receives as much as there is room for, and begins to handle it. */
  async #take(): Promise<void> {
    if (this.#lanes.size >= this.#concurrency) {
      await Promise.race(this.#lanes);
      return;
    }
    try {
      const messages = await this.#receive({
        maxMessages: this.#concurrency - this.#lanes.size,
        wait: LONGEST_WAIT,
        lock: this.#lock,
        signal: this.#stopped.signal,
      });
      for (const lane of lanesOf(messages)) this.#begin(lane);
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      if (error instanceof QueueError && error.code === "closed") {
        this.#stopped.abort();
        return;
      }
      this.#tell(error);
      if (!(error instanceof QueueError && error.retryable)) throw error;
      await sleep(error.retryAfter ?? PAUSE, undefined, { signal: this.#stopped.signal }).catch(
        () => {},
      );
    }
  }

  #begin(lane: Delivery<T>[]): void {
    const running = this.#work(lane).finally(() => this.#lanes.delete(running));
    this.#lanes.add(running);
  }

  /** Handles messages one after the other; of a session only as long as each is acked. */
  async #work(lane: Delivery<T>[]): Promise<void> {
    for (const [index, message] of lane.entries()) {
      if (!(await this.#handle(message))) {
        // The failed one comes first again; these were not begun.
        const rest = lane.slice(index + 1);
        await Promise.allSettled(rest.map((message) => message.release()));
        return;
      }
    }
  }

  /** Whether its successors may be handled. */
  async #handle(message: Delivery<T>): Promise<boolean> {
    let handled = true;
    try {
      await this.#handler(message, { signal: this.#expired.signal });
    } catch (error) {
      handled = false;
      this.#tell(error, message);
      if (!message.settled) await this.#settle(message, message.nack(reasonOf(error)));
    }
    if (handled && !message.settled) return this.#settle(message, message.ack());
    return handled;
  }

  async #settle(message: Delivery<T>, settlement: Promise<void>): Promise<boolean> {
    try {
      await settlement;
      return true;
    } catch (error) {
      this.#tell(error, message);
      return false;
    }
  }

  #tell(error: unknown, message?: Delivery<T>): void {
    try {
      this.#onError?.(error, message);
    } catch (thrown) {
      // What it throws is its program's to see, and no reason to stop.
      process.nextTick(() => {
        throw thrown;
      });
    }
  }
}

/** What is handled one after the other: messages of one session; each other message alone. */
function lanesOf<T>(messages: Delivery<T>[]): Iterable<Delivery<T>[]> {
  if (messages.length === 1) return [messages];
  const lanes: Delivery<T>[][] = [];
  const sessions = new Map<string, Delivery<T>[]>();
  for (const message of messages) {
    const { session } = message;
    const lane = session === undefined ? undefined : sessions.get(session);
    if (lane !== undefined) {
      lane.push(message);
      continue;
    }
    const fresh = [message];
    lanes.push(fresh);
    if (session !== undefined) sessions.set(session, fresh);
  }
  return lanes;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
