/** Messages that keep coming, their locks kept, until a drain that adds up. */

import { offAbort, onAbort } from "./abort.js";
import { type Batches, writeBatches } from "./batches.js";
import {
  checkCount,
  checkDuration,
  checkLeast,
  checkOptions,
  checkSignal,
  checkSomeDuration,
  checkSomeString,
} from "./check.js";
import { type Delivery, readDeliveries, type SignalOptions, type Source } from "./delivery.js";
import { errorOf, type QueueError } from "./errors.js";
import { type Home, nothing, now, own, readNumber, readText, request, start } from "./link.js";
import type { Page } from "./memory.js";
import { native, type Verb } from "./native.js";
import type { BreakerState } from "./options.js";

/** How a consumer receives, and how much it has in hand. Durations are milliseconds. */
export interface ConsumerOptions {
  /** Messages in hand at one time: handed over, and neither settled nor lost; 16. */
  concurrency?: number | undefined;
  /**
   * Scales: begins with so many messages in hand, and moves between this number and `concurrency`: up
   * while work waits, back when that made handlers slower and got no more done, down when hands lay idle.
   */
  minConcurrency?: number | undefined;
  /** How long each limit of one that scales stays; 5,000. */
  scaleCooldown?: number | undefined;
  /** Messages fetched ahead; as many as may be in hand. 0 fetches none before it is asked for. */
  prefetch?: number | undefined;
  /** Nothing more is fetched ahead while it has this many bytes; 64 MiB. */
  prefetchBytes?: number | undefined;
  /** Messages of one receive; as many as are wanted. */
  maxMessages?: number | undefined;
  /** How long each receive waits at the provider; 20,000. */
  wait?: number | undefined;
  /** How long messages are locked, and locked again; as long as the queue says. */
  lock?: number | undefined;
  /** For how long a lock is kept; 10 minutes. */
  maxLockRenewal?: number | undefined;
  /** When a receive that failed is tried again, as `retry` of a queue is written. */
  reconnect?: string | undefined;
  /**
   * When to leave messages alone since their handlers fail: failures in a row, pause and successes in a
   * row, such as `"5,30s,3"`; never. A failure is a message that is nacked, or released with a delay;
   * until the breaker is closed again no attempt is used.
   */
  breaker?: string | undefined;
  /** Works through held sessions, at most so many at a time. */
  maxSessions?: number | undefined;
  /** For how long a session that has nothing is held while no other one waits; 60,000. */
  sessionIdle?: number | undefined;
  /** After so many messages a session makes room for another one. */
  sessionMaxMessages?: number | undefined;
  /** After so long a time a session makes room for another one. */
  sessionMaxTime?: number | undefined;
  /** Of one group at most so many messages are in hand; any number. For queues with fair groups. */
  maxInFlightPerGroup?: number | undefined;
}

/** What a loop over messages may say. */
export interface ConsumeOptions extends ConsumerOptions, SignalOptions {
  /** It ends when nothing came for so long; with 0 when nothing is there. Without it, never. */
  idle?: number | undefined;
}

/** What became of the messages that a consumer or a worker had when its drain began. */
export interface DrainReport {
  /** In hand, and settled in time. */
  readonly finished: number;
  /** Given back with their attempts restored. */
  readonly released: number;
  /** Neither: lost, or never settled. They come back when their locks end. */
  readonly abandoned: number;
}

/** How a consumer goes. */
export interface ConsumerStatus {
  /** Whether its last receive succeeded, or none has ended yet, and it has not ended. */
  readonly ready: boolean;
  /** When a receive last succeeded, with or without messages. */
  readonly lastReceive: Date | undefined;
  /** What the last receive failed with, until one succeeds. */
  readonly failure: QueueError | undefined;
  /** Messages fetched ahead and not begun. */
  readonly prefetched: number;
  /** Messages in hand. */
  readonly inHand: number;
  /** How many may be in hand now. */
  readonly concurrency: number;
  /** Whether it was paused by hand. */
  readonly paused: boolean;
  /** Whether it waits since the process has more memory than the runtime's `memoryLimit`. */
  readonly overMemory: boolean;
  /** Where its breaker stands. */
  readonly breaker: BreakerState;
  /** Until when its breaker is open, if it is. */
  readonly openUntil: Date | undefined;
  /** Sessions held, by a consumer with `maxSessions` or of a session. */
  readonly sessions: number;
}

/** How long a receive waits that does not say: what SQS allows, since each empty one costs. */
const WAIT = 20_000;

/** The options that go to the native half. */
export const CONSUMER_OPTIONS = [
  "concurrency",
  "minConcurrency",
  "scaleCooldown",
  "prefetch",
  "prefetchBytes",
  "maxMessages",
  "wait",
  "lock",
  "maxLockRenewal",
  "reconnect",
  "breaker",
  "maxSessions",
  "sessionIdle",
  "sessionMaxMessages",
  "sessionMaxTime",
  "maxInFlightPerGroup",
] as const;
const CONSUME_OPTIONS: ReadonlySet<string> = new Set([...CONSUMER_OPTIONS, "idle", "signal"]);

export const CONCURRENCY = 16;
const PREFETCH_BYTES = 64 * 1024 * 1024;
const MAX_LOCK_RENEWAL = 10 * 60 * 1000;
/** How long handlers may go on, unless a drain is told. */
export const DRAIN = 30_000;

/** What is consumed, in the native half: a queue, or a held session. */
export interface Place {
  readonly consume: Verb;
  readonly slot: number;
}

/** Begins a consumer: its number in the native half. */
export function open(
  { consume, slot }: Place,
  options: ConsumerOptions & { idle?: number | undefined },
  batches?: Batches,
): number {
  const { minConcurrency, prefetch, maxMessages, maxSessions, sessionMaxMessages } = options;
  const { maxInFlightPerGroup } = options;
  // Checked before they are written, so that an error leaves nothing half written.
  const concurrency = checkCount("concurrency", options.concurrency ?? CONCURRENCY);
  if (minConcurrency !== undefined) checkLeast("minConcurrency", minConcurrency);
  const scaleCooldown = checkSomeDuration("scaleCooldown", options.scaleCooldown);
  if (prefetch !== undefined) checkCount("prefetch", prefetch);
  const bytes = checkCount(
    "prefetchBytes",
    options.prefetchBytes ?? PREFETCH_BYTES,
    Number.MAX_SAFE_INTEGER,
  );
  if (maxMessages !== undefined) checkCount("maxMessages", maxMessages);
  const wait = checkDuration("wait", options.wait ?? WAIT);
  const lock = checkSomeDuration("lock", options.lock);
  const longest = checkDuration("maxLockRenewal", options.maxLockRenewal ?? MAX_LOCK_RENEWAL);
  const reconnect = checkSomeString("reconnect", options.reconnect);
  const idle = checkSomeDuration("idle", options.idle);
  const breaker = checkSomeString("breaker", options.breaker);
  if (maxSessions !== undefined) checkLeast("maxSessions", maxSessions);
  const sessionIdle = checkSomeDuration("sessionIdle", options.sessionIdle);
  if (sessionMaxMessages !== undefined) checkLeast("sessionMaxMessages", sessionMaxMessages);
  const sessionMaxTime = checkSomeDuration("sessionMaxTime", options.sessionMaxTime);
  if (maxInFlightPerGroup !== undefined) checkLeast("maxInFlightPerGroup", maxInFlightPerGroup);
  request
    .begin()
    .number(slot)
    .number(concurrency)
    .someNumber(minConcurrency)
    .someNumber(scaleCooldown)
    .someNumber(prefetch)
    .number(bytes)
    .someNumber(maxMessages)
    .number(wait)
    .someNumber(lock)
    .number(longest)
    .someText(reconnect)
    .someNumber(idle)
    .someText(breaker)
    .someNumber(maxSessions)
    .someNumber(sessionIdle)
    .someNumber(sessionMaxMessages)
    .someNumber(sessionMaxTime)
    .someNumber(maxInFlightPerGroup);
  writeBatches(request, batches);
  return now(consume, readNumber, undefined);
}

/**
 * A consumer of the native half, for loops and workers.
 * @internal
 */
export class Feed<T> {
  readonly #slot: number;
  readonly #source: Source;

  constructor(
    place: Place,
    source: Source,
    options: ConsumerOptions & { idle?: number | undefined },
    batches?: Batches,
  ) {
    this.#slot = open(place, options, batches);
    this.#source = source;
    own(this, native.dropConsumer, this.#slot);
  }

  /** The next message; `undefined` at the end. */
  next(signal?: AbortSignal): Promise<Delivery<T> | undefined> {
    const { home, expected } = this.#source;
    request.begin().number(this.#slot);
    return start(native.next, readFirst<T>, this.#source, home, signal, expected);
  }

  /** The next batch; empty at the end. */
  nextBatch(): Promise<Delivery<T>[]> {
    const { home, expected } = this.#source;
    request.begin().number(this.#slot);
    return start(native.nextMessages, readDeliveries<T>, this.#source, home, undefined, expected);
  }

  /** Resolves when something happened that is worth a look; rejects once it has ended. */
  changed(): Promise<void> {
    request.begin().number(this.#slot);
    return start(native.waitChanged, nothing, undefined, this.#home);
  }

  stop(): Promise<void> {
    request.begin().number(this.#slot);
    return start(native.stopConsumer, nothing, undefined, this.#home);
  }

  drain(deadline: number): Promise<DrainReport> {
    request.begin().number(this.#slot).number(deadline);
    return start(native.drainConsumer, readReport, undefined, this.#home);
  }

  get status(): ConsumerStatus {
    request.begin().number(this.#slot);
    const said = JSON.parse(now(native.consumerStatus, readText, undefined));
    const { last_receive: last, failure, open_until: until } = said;
    const { name: queue } = this.#source;
    return {
      ready: said.ready,
      lastReceive: last === null ? undefined : new Date(last),
      failure:
        failure === null
          ? undefined
          : errorOf(failure.kind, failure.message, { queue, retryable: failure.retryable }),
      prefetched: said.prefetched,
      inHand: said.in_hand,
      concurrency: said.concurrency,
      paused: said.paused,
      overMemory: said.over_memory,
      breaker: said.breaker,
      openUntil: until === null ? undefined : new Date(until),
      sessions: said.sessions,
    };
  }

  pause(): void {
    request.begin().number(this.#slot);
    now(native.pauseConsumer, nothing, undefined);
  }

  resume(): void {
    request.begin().number(this.#slot);
    now(native.resumeConsumer, nothing, undefined);
  }

  resetBreaker(): void {
    request.begin().number(this.#slot);
    now(native.resetConsumerBreaker, nothing, undefined);
  }

  get #home(): Home {
    return this.#source.home;
  }
}

function readFirst<T>(page: Page, at: number, source: Source): Delivery<T> | undefined {
  return readDeliveries<T>(page, at, source)[0];
}

function readReport(page: Page, at: number): DrainReport {
  const [finished, released, abandoned] = [at, at + 1, at + 2].map((word) => page.number(word));
  return { finished, released, abandoned } as DrainReport;
}

/** Checks how long a drain may take. */
export function checkDeadline(deadline: unknown): number {
  return Math.min(checkDuration("deadline", deadline), Number.MAX_SAFE_INTEGER);
}

/**
 * Messages one after the other, their locks kept until each is settled or lost. It ends when its client
 * is closed or it was idle for too long, and rejects with the signal's reason when that is aborted.
 * Leaving the loop, in whatever way, gives the messages back that were fetched ahead, unblamed.
 *
 * While `next` waits for a message, as `for await` does, it keeps the process alive.
 */
export class Consumer<T = unknown> implements AsyncIterableIterator<Delivery<T>>, AsyncDisposable {
  readonly #feed: Feed<T>;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = () => void this.return().catch(() => {});
  #ended = false;
  /** Whether it was told that the signal is aborted. */
  #told = false;
  #stopping: Promise<void> | undefined;

  /** @internal */
  constructor(place: Place, source: Source, options: ConsumeOptions = {}) {
    checkOptions("consume", CONSUME_OPTIONS, options);
    this.#signal = checkSignal(options.signal);
    this.#feed = new Feed<T>(place, source, options);
    if (this.#signal?.aborted) this.#abort();
    else onAbort(this.#signal, this.#abort);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next message. Any number may wait for one. */
  async next(): Promise<IteratorResult<Delivery<T>, undefined>> {
    const signal = this.#signal;
    const waits = !this.#ended;
    if (waits) {
      try {
        const value = await this.#feed.next(signal);
        if (value !== undefined) return { value, done: false };
        this.#ended = true;
      } catch (error) {
        if (!signal?.aborted) throw error;
      }
    }
    // Who waited is told of the signal, or who asks next; after that it is over as any other.
    if (signal?.aborted && (waits || !this.#told)) {
      this.#told = true;
      await this.return();
      throw signal.reason;
    }
    return { value: undefined, done: true };
  }

  /**
   * Ends it as `return` does, and waits until what is in hand is settled, at most so many milliseconds
   * (30,000); then gives that back too.
   */
  async drain(deadline: number = DRAIN): Promise<DrainReport> {
    checkDeadline(deadline);
    this.#end();
    return this.#feed.drain(deadline);
  }

  /** How it goes. */
  get status(): ConsumerStatus {
    return this.#feed.status;
  }

  /**
   * Receives nothing and hands nothing over until `resume`; what was fetched ahead goes back unblamed.
   * What is in hand goes on, its locks kept. Again does nothing more.
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

  /** Ends it, also for who waits for its next message: what was fetched ahead is given back. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#end();
    this.#stopping ??= this.#feed.stop();
    await this.#stopping;
    return { value: undefined, done: true };
  }

  async throw(error: unknown): Promise<IteratorReturnResult<undefined>> {
    await this.return();
    throw error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #end(): void {
    this.#ended = true;
    offAbort(this.#signal, this.#abort);
  }
}
