/** Write-behind: entries are accepted at once and written in batches. */

import { checkDuration, checkFunction, checkOptions, checkSignal, wrong } from "./check.js";
import { type SignalOptions, signalOf } from "./delivery.js";
import {
  type Batch,
  type CloseReport,
  type Entry,
  type RejectedEntry,
  readBatch,
  readMetrics,
  readRejected,
  readReport,
  readyEntry,
  type WriteBehindMetrics,
  writeEntry,
} from "./entries.js";
import { QueueError, UnwrittenError } from "./errors.js";
import { type Home, nothing, now, own, readNumber, readText, request, start } from "./link.js";
import { native } from "./native.js";
import { type BreakerState, type Duration, toJson } from "./options.js";
import { Queue } from "./queue.js";
import { type Results, readAccepted, type SettleOutcome } from "./results.js";
import { Runtime } from "./runtime.js";

/** Options of a write-behind. What is not said is the default. */
export interface WriteBehindOptions {
  /** The table, as SQL writes it. */
  table?: string | undefined;
  /** The columns of a primary key or unique index that say which row an entry is. */
  key?: string | readonly string[] | undefined;
  /** The columns that are written; all of the table. */
  columns?: readonly string[] | undefined;
  /** The name in metrics, logs and dead letters; the table. */
  name?: string | undefined;
  /** Entries that are accepted and not yet written, at most; 100,000. */
  maxEntries?: number | undefined;
  /** Their bytes at most; 256 MiB. */
  maxBytes?: number | undefined;
  /** Entries of a batch; 1000. */
  batchSize?: number | undefined;
  /** Bytes of a batch; 4 MiB. */
  batchBytes?: number | undefined;
  /** How long an entry waits for its batch to fill; 100 ms. */
  flushInterval?: Duration | undefined;
  /** Batches that are written at the same time; 1. */
  writers?: number | undefined;
  /** What becomes of an entry when the buffer is full: it waits, or goes into the journal. */
  onFull?: "wait" | "spill" | undefined;
  /** What becomes of a key that comes again within a batch; the last one stands. */
  onRepeat?: "last" | "cut" | undefined;
  /** When a batch is tried again: `"exponential:100ms,2,30s,jitter"`. */
  retry?: string | undefined;
  /** When writing pauses: failures, how long, successes that end it (`"5,30s,3"`), or `"none"`. */
  breaker?: string | undefined;
  /** The URL of a provider for entries that can never be written. */
  deadLetter?: string | undefined;
  /** Its queue; the name with `-dead-letters`. */
  deadLetterQueue?: string | undefined;
  /** The URL of a provider that keeps entries until they are written, or what is spilled. */
  journal?: string | undefined;
  /** Its queue; the name with `-journal`. */
  journalQueue?: string | undefined;
}

/** How a write-behind is opened. */
export interface OpenOptions extends WriteBehindOptions, SignalOptions {
  /** The threads and time it stands on; those that the process shares. */
  runtime?: Runtime | undefined;
}

/** How an entry is enqueued. */
export interface EnqueueOptions extends SignalOptions {
  /** Entries of one key keep their order. Not for a table, which finds it in the entry. */
  key?: Uint8Array | string | undefined;
}

/** How a write-behind is closed. */
export interface CloseOptions extends SignalOptions {
  /** How long writing may go on, in milliseconds; 30,000. */
  deadline?: number | undefined;
}

/** What became of each entry: nothing when it is written, or the error that kept it from that. */
export type Written = readonly (Error | null | undefined)[] | null | undefined | void;

/** What a sink is told beside its entries. */
export interface SinkContext {
  /** Aborted when the write-behind was closed and has not waited for the sink any longer. */
  signal: AbortSignal;
}

/**
 * Writes entries; a key comes once among them. Returns nothing when all are written, or an array with
 * nothing or an error for each.
 *
 * An `InvalidMessageError` says that an entry is bad, as do `MessageTooLargeError`,
 * `InvalidArgumentError` and a `ProviderError` that is not retryable: it is given up. When it throws
 * one of these, something in the batch is bad, which then comes in halves until that is alone. Any
 * other error says that the sink is in trouble: its entries come again, as `retry` says, until they
 * are written.
 */
export type Sink<T = unknown> = (
  entries: Entry<T>[],
  context: SinkContext,
) => Written | Promise<Written>;

const OPTIONS: ReadonlySet<string> = new Set([
  "table",
  "key",
  "columns",
  "name",
  "maxEntries",
  "maxBytes",
  "batchSize",
  "batchBytes",
  "flushInterval",
  "writers",
  "onFull",
  "onRepeat",
  "retry",
  "breaker",
  "deadLetter",
  "deadLetterQueue",
  "journal",
  "journalQueue",
]);
const OPEN_OPTIONS: ReadonlySet<string> = new Set([...OPTIONS, "runtime", "signal"]);
const CONFIG: ReadonlySet<string> = new Set([...OPTIONS, "sink"]);
const ENQUEUE_OPTIONS: ReadonlySet<string> = new Set(["key", "signal"]);
const CLOSE_OPTIONS: ReadonlySet<string> = new Set(["deadline", "signal"]);
const DEADLINE = 30_000;

/**
 * Accepts entries at once and writes them in batches: into the table of a database, or to a function
 * of the program. Nothing that was accepted is dropped. `T` is what its entries say as JSON.
 *
 * What was accepted and is in no journal lives in this process, and does not keep it alive: `close` it
 * before the program ends.
 */
export class WriteBehind<T = unknown> implements AsyncDisposable {
  readonly #slot: number;
  readonly #home: Home = { refed: true };
  readonly #expired = new AbortController();

  /** @internal */
  constructor(slot: number) {
    this.#slot = slot;
    own(this, native.dropWriteBehind, slot);
  }

  /**
   * Opens a write-behind. Into a table: `sink` is the URL of its database, such as
   * `"postgres://app@db/app"` or `"sqlite:/path/to/file.db"`, and `InvalidConfigError` says what does
   * not fit the table. Into the program: `sink` is a function that writes entries.
   *
   * Closed by `close`, or at the end of an `await using` scope, which throws `UnwrittenError` with what
   * could not be written.
   */
  static async open<T = unknown>(
    sink: string | Sink<T>,
    options: OpenOptions = {},
  ): Promise<WriteBehind<T>> {
    if (typeof sink !== "string") checkFunction("sink", sink);
    const given = checkOptions("a WriteBehind", OPEN_OPTIONS, options);
    const { runtime = Runtime.shared, signal, ...config } = given;
    if (!(runtime instanceof Runtime)) throw wrong("runtime", "a Runtime", runtime);
    const asked = typeof sink !== "string";
    const json = toJson("a WriteBehind", CONFIG, asked ? config : { ...config, sink });
    request.begin().number(Runtime.slotOf(runtime)).flag(asked).text(json);
    const home = { refed: true };
    const slot = await start(
      native.openWriteBehind,
      readNumber,
      undefined,
      home,
      checkSignal(signal),
    );
    const opened = new WriteBehind<T>(slot);
    if (asked) {
      for (let writer = 0; writer < (config.writers ?? 1); writer++) void opened.#write(sink);
    }
    return opened;
  }

  /**
   * Accepts an entry; waits while the bounds are reached. With a journal it is durable then.
   *
   * An object is a row by its columns, and goes as JSON: bytes as base64, a `bigint` as text. Bytes and
   * strings go as they are.
   */
  enqueue(entry: T | Uint8Array | string, options?: EnqueueOptions): Promise<void> {
    return this.#enqueue(true, entry, options);
  }

  /** As `enqueue`, but rejects with `FullError` instead of waiting. */
  tryEnqueue(entry: T | Uint8Array | string, options?: EnqueueOptions): Promise<void> {
    return this.#enqueue(false, entry, options);
  }

  #enqueue(wait: boolean, entry: unknown, options: EnqueueOptions | undefined): Promise<void> {
    try {
      let signal: AbortSignal | undefined;
      let key: Uint8Array | string | undefined;
      if (options !== undefined) {
        ({ key } = checkOptions("enqueue", ENQUEUE_OPTIONS, options));
        signal = checkSignal(options.signal);
      }
      const ready = readyEntry(entry, key);
      request.begin().number(this.#slot).flag(wait);
      writeEntry(request, ready);
      return start(native.enqueue, nothing, undefined, this.#home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Accepts entries in their order, waiting while the bounds are reached: result i belongs to entry i.
   * One with a key is an `Entry`.
   */
  enqueueMany(
    entries: Iterable<T | Entry<T> | Uint8Array | string>,
    options?: SignalOptions,
  ): Promise<Results<SettleOutcome>> {
    try {
      const signal = signalOf("enqueueMany", options);
      const all = Array.from(entries, (entry) => readyEntry(entry));
      request.begin().number(this.#slot).number(all.length);
      for (const entry of all) writeEntry(request, entry);
      return start(native.enqueueMany, readAccepted, undefined, this.#home, signal, all.length);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Writes what was accepted before this, and resolves when it is written or given up: while the sink
   * is away, that is as long as it takes.
   */
  async flush(options?: SignalOptions): Promise<void> {
    const signal = signalOf("flush", options);
    request.begin().number(this.#slot);
    return start(native.flush, nothing, undefined, this.#home, signal);
  }

  /**
   * Writes the messages of a queue, each acked after the sink's commit, until this is closed or the
   * signal aborted. A message that can never be written goes to `deadLetter`, or without that to the
   * queue's own dead letters. What is not written in the end goes back.
   */
  async feed(queue: Queue<T>, options?: SignalOptions): Promise<void> {
    if (!(queue instanceof Queue)) throw wrong("queue", "a Queue", queue);
    const signal = signalOf("feed", options);
    request.begin().number(this.#slot).number(Queue.slotOf(queue));
    return start(native.feed, nothing, undefined, this.#home, signal);
  }

  /**
   * Accepts nothing more and writes what was accepted. What is not written by the deadline is in the
   * report, goes back to the queue that fed it, or stays in the journal. Again gives an empty report.
   */
  async close(options: CloseOptions = {}): Promise<CloseReport<T>> {
    const given = checkOptions("close", CLOSE_OPTIONS, options);
    const deadline = checkDuration("deadline", given.deadline ?? DEADLINE);
    const signal = checkSignal(given.signal);
    request.begin().number(this.#slot).number(deadline);
    const closing = start(native.closeWriteBehind, readReport<T>, undefined, this.#home, signal);
    const report = await closing;
    this.#expired.abort();
    return report;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const report = await this.close();
    const [unwritten, rejected] = [report.unwritten.length, report.rejected.length];
    if (unwritten + rejected > 0) {
      const what = `${unwritten} entries could not be written and ${rejected} were given up`;
      throw new UnwrittenError(`${what}: they are in the report of this error`, report);
    }
  }

  /**
   * Takes the entries that were given up and kept because there is no dead-letter queue. Until they are
   * taken they count against the bounds.
   */
  takeRejected(): RejectedEntry<T>[] {
    request.begin().number(this.#slot);
    return now(native.takeRejected, readRejected<T>, undefined);
  }

  /** Counts, all of one moment. */
  metrics(): WriteBehindMetrics {
    request.begin().number(this.#slot);
    return now(native.writeBehindMetrics, readMetrics, undefined);
  }

  /** Whether writing goes on (`"closed"`), or pauses because the sink stays away. */
  get breakerState(): BreakerState {
    request.begin().number(this.#slot);
    return now(native.breakerState, readText, undefined) as BreakerState;
  }

  /** Has a sink write one batch after the other, until there is none any more. */
  async #write(sink: Sink<T>): Promise<void> {
    // Waiting for a batch keeps no process alive; who waits for its end does.
    const home = { refed: false };
    for (;;) {
      request.begin().number(this.#slot);
      let batch: Batch<T> | undefined;
      try {
        batch = await start(native.nextBatch, readBatch<T>, undefined, home);
      } catch {
        // The runtime has ended, and nothing is written any more.
      }
      if (batch === undefined) return;
      try {
        const written = await sink(batch.entries, { signal: this.#expired.signal });
        finish(batch, refused(batch.entries.length, written));
      } catch (error) {
        fail(batch, error);
      }
    }
  }
}

type Refused = [index: number, error: Error];

/** Of what a sink answers for a batch, the entries that were not written. */
function refused(count: number, written: Written): Refused[] {
  if (written === undefined || written === null) return [];
  if (!Array.isArray(written) || written.length !== count) {
    throw wrong("what a sink returns", `nothing, or an array of ${count} results`, written);
  }
  const all: Refused[] = [];
  for (const [index, error] of written.entries()) {
    if (error instanceof Error) all.push([index, error]);
    else if (error !== undefined && error !== null) {
      throw wrong("the result of an entry", "nothing or an Error", error);
    }
  }
  return all;
}

function finish<T>(batch: Batch<T>, all: Refused[]): void {
  const blamed = all.map(([index, error]) => [index, ...blame(error)] as const);
  request.begin().number(batch.slot).number(blamed.length);
  for (const [index, kind, text] of blamed) request.number(index).text(kind).text(text);
  now(native.finishBatch, nothing, undefined);
}

function fail<T>(batch: Batch<T>, error: unknown): void {
  const [kind, text] = blame(error);
  request.begin().number(batch.slot).text(kind).text(text);
  now(native.failBatch, nothing, undefined);
}

/**
 * The kind and the text of an error of a sink. What is no error of this package says that the sink is
 * in trouble, and not that an entry is bad.
 */
function blame(error: unknown): [kind: string, text: string] {
  const text = error instanceof Error ? error.message || error.name : String(error);
  if (!(error instanceof QueueError) || error instanceof UnwrittenError) {
    return ["unavailable", text];
  }
  return [error.code === "provider" && error.retryable ? "unavailable" : error.code, text];
}
