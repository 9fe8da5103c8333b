/** Producers: messages that are sent one by one leave in batches. */

import { checkCount, checkDuration, checkOptions, checkSignal, wrong } from "./check.js";
import { type SignalOptions, signalOf, type Source } from "./delivery.js";
import { FullError } from "./errors.js";
import { nothing, now, own, readNumber, request, start } from "./link.js";
import { type Page, Reader } from "./memory.js";
import {
  type Body,
  MESSAGE_OPTIONS,
  type MessageOptions,
  type OutgoingMessage,
  ready,
  type SendResult,
  write,
} from "./message.js";
import { native } from "./native.js";
import { readSent } from "./results.js";

/** When a producer sends, and how much it holds until then. Durations are milliseconds. */
export interface ProducerOptions {
  /** Messages of a batch, at most; as many are sent at once; 100. */
  batchSize?: number | undefined;
  /** Their bytes, at most (one message may have more); 4 MiB. */
  batchBytes?: number | undefined;
  /** How long a message waits for others at most; 5. */
  linger?: number | undefined;
  /** Messages accepted and not yet sent, at most; 10,000. */
  maxPending?: number | undefined;
  /** Their bytes, at most; 64 MiB. */
  maxPendingBytes?: number | undefined;
  /** Whether `send` waits for room or rejects with `FullError`; `"wait"`. */
  onFull?: "wait" | "error" | undefined;
}

/** What became of everything that a producer accepted. */
export interface ProducerReport<T = unknown> {
  /** Stored. */
  readonly sent: number;
  /** Answered with an error. */
  readonly failed: number;
  /**
   * Not answered by the deadline, in their order, as `sendMany` takes them. The batch that was on its way
   * then may have been stored all the same.
   */
  readonly unsent: (OutgoingMessage<T> & { body: Buffer })[];
}

const OPTIONS: ReadonlySet<string> = new Set([
  "batchSize",
  "batchBytes",
  "linger",
  "maxPending",
  "maxPendingBytes",
  "onFull",
]);
const SEND_OPTIONS: ReadonlySet<string> = new Set([...MESSAGE_OPTIONS, "signal"]);
const MIB = 1024 * 1024;
/** How long a close may take unless it is told. */
const CLOSE = 30_000;

/**
 * Sends in batches what it is given one by one, in order; made by `queue.producer`. At the end of an
 * `await using` scope it sends what it has. One that is lost without a close sends it in the background.
 */
export class Producer<T = unknown> implements AsyncDisposable {
  readonly #slot: number;
  readonly #source: Source;
  readonly #waits: boolean;

  /** @internal */
  constructor(queue: number, source: Source, options: ProducerOptions = {}) {
    checkOptions("producer", OPTIONS, options);
    const { onFull = "wait" } = options;
    if (onFull !== "wait" && onFull !== "error") throw wrong("onFull", '"wait" or "error"', onFull);
    const most = Number.MAX_SAFE_INTEGER;
    const size = checkCount("batchSize", options.batchSize ?? 100);
    const bytes = checkCount("batchBytes", options.batchBytes ?? 4 * MIB, most);
    const linger = checkDuration("linger", options.linger ?? 5);
    const pending = checkCount("maxPending", options.maxPending ?? 10_000, most);
    const pendingBytes = checkCount("maxPendingBytes", options.maxPendingBytes ?? 64 * MIB, most);
    request
      .begin()
      .number(queue)
      .number(size)
      .number(bytes)
      .number(linger)
      .number(pending)
      .number(pendingBytes);
    this.#slot = now(native.openProducer, readNumber, undefined);
    this.#source = source;
    this.#waits = onFull === "wait";
    own(this, native.dropProducer, this.#slot);
  }

  /**
   * Accepts a message, as `queue.send` takes it, and resolves when its batch was sent. While there is no
   * room it waits, or rejects with `FullError`, as `onFull` says. Given up by its signal before there was
   * room it is not sent; afterwards it is sent all the same.
   */
  send(body: Body<T>, options?: MessageOptions & SignalOptions): Promise<SendResult> {
    return this.#send(body, options, this.#waits);
  }

  /** As `send`, but rejects with `FullError` instead of waiting for room. */
  trySend(body: Body<T>, options?: MessageOptions & SignalOptions): Promise<SendResult> {
    return this.#send(body, options, false);
  }

  #send(
    body: Body<T>,
    options: (MessageOptions & SignalOptions) | undefined,
    waits: boolean,
  ): Promise<SendResult> {
    try {
      const signal = options && checkSignal(checkOptions("send", SEND_OPTIONS, options).signal);
      const message = ready(body, options);
      request.begin().number(this.#slot).flag(waits);
      write(request, message);
      return start(native.produce, readSent, undefined, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Sends what was accepted before at once, and resolves when all of it has its result. */
  async flush(options?: SignalOptions): Promise<void> {
    const signal = signalOf("flush", options);
    request.begin().number(this.#slot);
    return start(native.flushProducer, nothing, undefined, this.#source.home, signal);
  }

  /**
   * Accepts nothing more and sends what was accepted; what is left after so many milliseconds (30,000) is
   * in the report.
   */
  async close(deadline: number = CLOSE): Promise<ProducerReport<T>> {
    const ms = Math.min(checkDuration("deadline", deadline), Number.MAX_SAFE_INTEGER);
    request.begin().number(this.#slot).number(ms);
    return start(native.closeProducer, readReport<T>, undefined, this.#source.home);
  }

  /** Closes it; rejects with `FullError` when something could not be sent. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { unsent } = await this.close();
    if (unsent.length > 0) {
      const { name: queue } = this.#source;
      const what = `${unsent.length} messages could not be sent to queue "${queue}"`;
      throw new FullError("full", what, { operation: "close", queue });
    }
  }
}

function readReport<T>(page: Page, at: number): ProducerReport<T> {
  const reader = new Reader(page, at);
  const [sent, failed, count] = [reader.number(), reader.number(), reader.number()];
  const unsent = Array.from({ length: count }, () => readUnsent<T>(reader));
  return { sent, failed, unsent };
}

function readUnsent<T>(reader: Reader): OutgoingMessage<T> & { body: Buffer } {
  const delay = reader.someNumber();
  reader.number(); // Where it ends.
  const body = Buffer.from(reader.bytes());
  reader.text(); // Its id, which it has not got yet.
  const [session, correlationId] = [reader.someText(), reader.someText()];
  const [contentType, dedupId] = [reader.someText(), reader.someText()];
  const ttl = reader.someNumber();
  const headers: Record<string, string> = {};
  for (let left = reader.number(); left > 0; left--) headers[reader.text()] = reader.text();
  return { body, session, correlationId, contentType, dedupId, ttl, delay, headers };
}
