/** Handlers as workers. */

import { setTimeout as sleep } from "node:timers/promises";

import { offAbort, onAbort } from "./abort.js";
import { BATCH_OPTIONS, type Batches, type BatchOptions, errorsOf } from "./batches.js";
import { checkFunction, checkOptions, checkSignal } from "./check.js";
import {
  CONCURRENCY,
  CONSUMER_OPTIONS,
  checkDeadline,
  type ConsumerOptions,
  type ConsumerStatus,
  DRAIN,
  type DrainReport,
  Feed,
} from "./consumer.js";
import { type CancelCause, Delivery, type SignalOptions, type Source } from "./delivery.js";
import { CancelledError, LockLostError, QueueError } from "./errors.js";
import { type ErrorClass, Failure, failureOf } from "./failure.js";
import { native } from "./native.js";
import type { Settlement } from "./queue.js";
import type { Results, SettleOutcome } from "./results.js";
import { onEnd } from "./signals.js";

/** What a handler is told beside its message. */
export interface HandlerContext {
  /**
   * Aborted when the handler is to stop: the lock of its message was lost or kept for too long, or the
   * worker was drained and the time for that is over. Its reason is a `LockLostError` or a
   * `CancelledError`; `message.cancelled` names the cause.
   */
  readonly signal: AbortSignal;
}

/**
 * Handles a message. When it returns, or its promise resolves, the message is acked; when it throws, or
 * rejects, it is nacked with the error's message as the reason, or what a `Failure` says is done. One
 * that it settled itself stays so.
 */
export type Handler<T> = (message: Delivery<T>, context: HandlerContext) => unknown;

/**
 * Handles messages together, at most one of each session. When it returns, or its promise resolves to,
 * nothing, all are acked. It may give a `Map` of errors by position, or an array with an error or
 * `undefined` for each message: what failed is nacked, or what a `Failure` says is done, and comes again
 * alone. When it throws, all have failed. All is settled with one call, but for what it settled itself.
 *
 * `message.cancelled` tells of one whose lock was lost; the signal is aborted when work on all is to stop.
 */
export type BatchHandler<T> = (messages: Delivery<T>[], context: HandlerContext) => unknown;

/** How batches are handled. `concurrency` counts messages; as many as the batches have. */
export interface ProcessBatchesOptions<T = unknown> extends ProcessOptions<T>, BatchOptions {}

/** What a worker for batches needs beside. @internal */
export interface Batching {
  batches: Batches;
  settle: (settlements: Settlement[]) => Promise<Results<SettleOutcome>>;
}

/** How messages are handled. `concurrency` is how many at one time; of a session always one. */
export interface ProcessOptions<T = unknown> extends ConsumerOptions, SignalOptions {
  /** How long handlers may go on once the worker is drained, unless `drain` says; 30,000. */
  drain?: number | undefined;
  /**
   * What an error of the handler is: `"transient"` (nacked, as what is not said), `"permanent"` (to the
   * dead letters), or `"throttled"` (back unblamed after the error's `retryAfter`, or a second; so are
   * errors of this package that say when to try again).
   */
  classify?: ((error: unknown) => ErrorClass | undefined) | undefined;
  /** An alarm: told that work on a message is to stop, and why. */
  onCancel?: ((message: Delivery<T>, cause: CancelCause) => void) | undefined;
  /**
   * Told of what fails: a handler, a settlement, a receive. Without it only the metrics tell. The worker
   * goes on.
   */
  onError?: ((error: unknown, message?: Delivery<T>) => void) | undefined;
}

/** How a worker is run to its end. */
export interface RunOptions {
  /** Whether the first SIGTERM or SIGINT drains it; the next one does what it did before. True. */
  signals?: boolean | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set([
  ...CONSUMER_OPTIONS,
  "drain",
  "classify",
  "onCancel",
  "onError",
  "signal",
]);
export const PROCESS_BATCHES_OPTIONS: ReadonlySet<string> = new Set([...OPTIONS, ...BATCH_OPTIONS]);
const RUN_OPTIONS: ReadonlySet<string> = new Set(["signals"]);

/** How long handlers that are to stop may take to do so before they are left behind. */
const GRACE = 1000;

/**
 * Handles the messages of a queue until it is drained: by `drain`, its signal, the end of an `await
 * using` scope or the close of its client. While it runs it keeps the process alive.
 */
export class Worker<T = unknown> implements AsyncDisposable {
  /** Resolves when it has ended, with what became of the messages it had when it was drained. */
  readonly done: Promise<DrainReport>;

  readonly #feed: Feed<T>;
  readonly #source: Source;
  readonly #handler: Handler<T> | BatchHandler<T>;
  readonly #batching: Batching | undefined;
  readonly #options: ProcessOptions<T>;
  /** What each lane works on. */
  readonly #hands: (Hand<T> | undefined)[];
  /** Resolved with the deadline of a drain. */
  readonly #asked: Promise<number>;
  #ask!: (deadline: number) => void;

  /** @internal */
  constructor(
    queue: number,
    source: Source,
    handler: Handler<T> | BatchHandler<T>,
    options: ProcessOptions<T> = {},
    batching?: Batching,
  ) {
    checkFunction("handler", handler);
    if (batching === undefined) checkOptions("process", OPTIONS, options);
    for (const name of ["classify", "onCancel", "onError"] as const) {
      if (options[name] !== undefined) checkFunction(name, options[name]);
    }
    const deadline = checkDeadline(options.drain ?? DRAIN);
    const signal = checkSignal(options.signal);
    const batches = batching?.batches;
    const hands = batches && batches.size * batches.concurrency;
    const concurrency = options.concurrency ?? hands ?? CONCURRENCY;
    this.#feed = new Feed<T>(
      { consume: native.consume, slot: queue },
      source,
      { ...options, concurrency },
      batches,
    );
    this.#source = source;
    this.#handler = handler;
    this.#batching = batching;
    this.#options = options;
    this.#hands = new Array(batches?.concurrency ?? concurrency).fill(undefined);
    this.#asked = new Promise((resolve) => {
      this.#ask = resolve;
    });
    const stop = () => this.#ask(deadline);
    if (signal?.aborted) stop();
    onAbort(signal, stop);
    this.done = this.#run(deadline).finally(() => offAbort(signal, stop));
    // Who does not look at it does not want to hear of it; `onError` was told.
    this.done.catch(() => {});
  }

  /**
   * Waits for its end, which the first SIGTERM or SIGINT brings: a drain. The next one does what it did
   * before. Not with `signals: false`, and not in worker threads, which get no signals.
   */
  async run(options: RunOptions = {}): Promise<DrainReport> {
    const { signals = true } = checkOptions("run", RUN_OPTIONS, options);
    if (!signals) return this.done;
    const off = onEnd(() => void this.drain());
    return this.done.finally(off);
  }

  /**
   * Takes no more messages, gives back what was fetched ahead, and waits until those in hand are handled,
   * at most so many milliseconds; then their handlers are told to stop and their messages go back
   * unblamed. A handler that goes on for more than a second after that is left behind. The first one
   * counts; others wait with it.
   */
  drain(deadline: number = this.#options.drain ?? DRAIN): Promise<DrainReport> {
    try {
      this.#ask(checkDeadline(deadline));
      return this.done;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** How it goes. */
  get status(): ConsumerStatus {
    return this.#feed.status;
  }

  /**
   * Starts no handler until `resume`: nothing is received, and what was fetched ahead goes back unblamed.
   * Handlers that run go on. Again does nothing more.
   */
  pause(): void {
    this.#feed.pause();
  }

  /** Ends a pause. A breaker that is open, or memory over its limit, go on holding it back. */
  resume(): void {
    this.#feed.resume();
  }

  /** Closes its breaker by hand, and forgets what failed. */
  resetBreaker(): void {
    this.#feed.resetBreaker();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  async #run(drain: number): Promise<DrainReport> {
    const lanes = Promise.all(this.#hands.map((_, lane) => this.#work(lane)));
    void this.#watch();
    // The lanes end by themselves when the client is closed.
    const deadline = await Promise.race([lanes.then(() => drain), this.#asked]);
    const report = await this.#feed.drain(deadline);
    this.#interrupt();
    const over = new AbortController();
    const grace = sleep(GRACE, undefined, { signal: over.signal }).catch(() => {});
    await Promise.race([lanes, grace]).finally(() => over.abort());
    return report;
  }

  /** Handles one message after the other. */
  async #work(lane: number): Promise<void> {
    if (this.#batching !== undefined) return this.#workOnBatches(lane, this.#batching);
    for (;;) {
      const message = await this.#feed.next();
      if (message === undefined) return;
      if (message.cancelled === undefined) await this.#handle(lane, message);
      // What could not be settled is not in hand any more.
      if (!message.settled) Delivery.forget(message);
    }
  }

  /** Handles one batch after the other. */
  async #workOnBatches(lane: number, batching: Batching): Promise<void> {
    for (;;) {
      const messages = await this.#feed.nextBatch();
      if (messages.length === 0) return;
      await this.#handleAll(lane, messages, batching);
      for (const message of messages) if (!message.settled) Delivery.forget(message);
    }
  }

  async #handleAll(lane: number, messages: Delivery<T>[], { settle }: Batching): Promise<void> {
    const hand = new Hand<T>(messages, this.#source.name);
    this.#hands[lane] = hand;
    let errors: unknown[];
    try {
      errors = errorsOf(messages.length, await (this.#handler as BatchHandler<T>)(messages, hand));
    } catch (error) {
      this.#tell(error);
      // What is thrown may be anything, and is a failure.
      errors = messages.map(() => error ?? new Error("the handler threw nothing"));
    } finally {
      this.#hands[lane] = undefined;
    }
    const settlements: Settlement[] = [];
    const settled: Delivery<T>[] = [];
    for (const [position, message] of messages.entries()) {
      // What a drain takes it has given back.
      if (message.settled || message.cancelled === "drained") continue;
      const error = errors[position];
      settled.push(message);
      if (error === undefined || error === null) {
        settlements.push({ ack: message });
      } else {
        const failure = failureOf(error, this.#classOf(error));
        settlements.push(Failure.settlement(failure, message));
      }
    }
    if (settlements.length === 0) return;
    try {
      const results = await settle(settlements);
      for (const [index, { error }] of results.entries()) {
        if (error !== undefined && hand.cause === undefined) this.#tell(error, settled[index]);
      }
    } catch (error) {
      this.#tell(error);
    }
  }

  async #handle(lane: number, message: Delivery<T>): Promise<void> {
    const hand = new Hand<T>([message], this.#source.name);
    this.#hands[lane] = hand;
    let settlement: () => Promise<void>;
    try {
      await (this.#handler as Handler<T>)(message, hand);
      settlement = () => message.ack();
    } catch (error) {
      this.#tell(error, message);
      settlement = () => Failure.settle(failureOf(error, this.#classOf(error)), message);
    } finally {
      this.#hands[lane] = undefined;
    }
    // What a drain takes it has given back.
    if (message.settled || hand.cause === "drained") return;
    try {
      await settlement();
    } catch (error) {
      // Of one that was to stop this was to be expected.
      if (hand.cause === undefined) this.#tell(error, message);
    }
  }

  #classOf(error: unknown): ErrorClass | undefined {
    try {
      return this.#options.classify?.(error);
    } catch (thrown) {
      surface(thrown);
      return undefined;
    }
  }

  /** Tells handlers that are to stop, and of failing receives. */
  async #watch(): Promise<void> {
    let before: string | undefined;
    for (;;) {
      try {
        await this.#feed.changed();
      } catch {
        return; // It has ended.
      }
      this.#interrupt();
      const { failure } = this.#feed.status;
      if (failure !== undefined && failure.message !== before) this.#tell(failure);
      before = failure?.message;
    }
  }

  #interrupt(): void {
    for (const hand of this.#hands) {
      if (hand === undefined || hand.cause !== undefined) continue;
      for (const [message, cause] of hand.newlyCancelled()) {
        try {
          this.#options.onCancel?.(message, cause);
        } catch (thrown) {
          surface(thrown);
        }
      }
    }
  }

  #tell(error: unknown, message?: Delivery<T>): void {
    try {
      this.#options.onError?.(error, message);
    } catch (thrown) {
      surface(thrown);
    }
  }
}

/** What a listener throws is its program's to see, and no reason to stop. */
function surface(thrown: unknown): void {
  process.nextTick(() => {
    throw thrown;
  });
}

/** What a handler works on. Most never look at their signal, which is made for those who do. */
class Hand<T> implements HandlerContext {
  /** Why it is to stop, once it was told. */
  cause: CancelCause | undefined;
  readonly #messages: Delivery<T>[];
  /** Those that were told of. */
  readonly #told = new Set<Delivery<T>>();
  readonly #queue: string;
  #controller: AbortController | undefined;

  constructor(messages: Delivery<T>[], queue: string) {
    this.#messages = messages;
    this.#queue = queue;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.cause !== undefined) this.#controller.abort(this.#reason(this.cause));
    }
    return this.#controller.signal;
  }

  /** Messages that work is to stop on and nobody was told of; with the last one, all of it is. */
  newlyCancelled(): [Delivery<T>, CancelCause][] {
    const found: [Delivery<T>, CancelCause][] = [];
    for (const message of this.#messages) {
      const cause = this.#told.has(message) ? undefined : message.cancelled;
      if (cause === undefined) continue;
      this.#told.add(message);
      found.push([message, cause]);
    }
    const over = (message: Delivery<T>) => message.settled || this.#told.has(message);
    if (found[0] !== undefined && this.#messages.every(over)) this.#cancel(found[0][1]);
    return found;
  }

  #cancel(cause: CancelCause): void {
    this.cause = cause;
    this.#controller?.abort(this.#reason(cause));
  }

  #reason(cause: CancelCause): QueueError {
    const details = { operation: "handle", queue: this.#queue };
    const where = `handle on queue "${this.#queue}"`;
    if (cause === "lock_lost") {
      return new LockLostError("lock_lost", `${where}: the lock of the message was lost`, details);
    }
    const why =
      cause === "stalled"
        ? "the lock of the message was kept for as long as it may be"
        : "the worker was drained, and the time for that is over";
    return new CancelledError("cancelled", `${where}: ${why}`, details);
  }
}
