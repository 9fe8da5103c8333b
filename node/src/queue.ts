/** Queues: everything that is done with messages begins here. */

import { checkBatches } from "./batches.js";
import {
  checkDuration,
  checkOptions,
  checkSignal,
  checkSomeDuration,
  checkSomeString,
  checkString,
  wrong,
} from "./check.js";
import { type ConsumeOptions, Consumer } from "./consumer.js";
import {
  type DeadLetterStatistics,
  type DeadLetterStatisticsOptions,
  deadLetterStatistics,
} from "./dead-letter-statistics.js";
import { Delivery, SETTLED, type SignalOptions, type Source, signalOf } from "./delivery.js";
import { type Explanation, explain, explainMessage, type MessageExplanation } from "./explain.js";
import { nothing, now, own, readText, request, start } from "./link.js";
import {
  type DeadLetter,
  type DeadLettersOptions,
  deadLetters,
  type PeekedMessage,
  type PeekOptions,
  type PurgeOptions,
  peek,
  purgeDeadLetters,
  type RedriveOptions,
  type RedriveReport,
  redrive,
  type Statistics,
  statistics,
} from "./looking.js";
import {
  type Body,
  MESSAGE_OPTIONS,
  type MessageOptions,
  type OutgoingMessage,
  type Ready,
  ready,
  readyOf,
  type SendResult,
  write,
} from "./message.js";
import { native } from "./native.js";
import type { BreakerState } from "./options.js";
import { Producer, type ProducerOptions } from "./producer.js";
import { type ReceiveOptions, receive, WAIT } from "./receive.js";
import {
  type Many,
  type Results,
  readAllSent,
  readDone,
  readSent,
  readSettled,
  type SendOutcome,
  type SettleOutcome,
} from "./results.js";
import { readSession, type Session } from "./session.js";
import {
  type BatchHandler,
  type Handler,
  PROCESS_BATCHES_OPTIONS,
  type ProcessBatchesOptions,
  type ProcessOptions,
  Worker,
} from "./worker.js";

/** What a message may carry, and the signal of its send. */
export interface SendOptions extends MessageOptions, SignalOptions {}

/** A delivery of `settle` and how it ends, as its method of the same name. */
export type Settlement =
  | { ack: Delivery }
  | { nack: Delivery; reason?: string | undefined; delay?: number | undefined }
  | { release: Delivery; delay?: number | undefined }
  | { deadLetter: Delivery; reason: string; description?: string | undefined };

/** How a session is taken. */
export interface AcceptOptions extends SignalOptions {
  /** How long the session is locked, in milliseconds; as long as the queue says. */
  lock?: number | undefined;
}

/** How any session with work is taken. */
export interface AcceptNextOptions extends AcceptOptions {
  /** How long to wait for a session with work, in milliseconds; 10,000. 0 looks once. */
  wait?: number | undefined;
}

const SEND_OPTIONS: ReadonlySet<string> = new Set([...MESSAGE_OPTIONS, "signal"]);
const ACCEPT_OPTIONS: ReadonlySet<string> = new Set(["lock", "signal"]);
const ACCEPT_NEXT_OPTIONS: ReadonlySet<string> = new Set(["wait", "lock", "signal"]);

/** The verbs of `settle`, numbered as in the native half, with what each may say. */
const SETTLEMENTS = [
  ["ack", new Set(["ack"])],
  ["nack", new Set(["nack", "reason", "delay"])],
  ["release", new Set(["release", "delay"])],
  ["deadLetter", new Set(["deadLetter", "reason", "description"])],
] as const;
const [ACK, NACK, RELEASE] = [0, 1, 2];

/** What the result of a send takes at least: whether it is a duplicate, and an id that was made. */
const SENT_WORDS = 7;

/**
 * A queue of a client. `T` is what its messages say as JSON.
 *
 * A call that does not have to wait, as most on `memory:` do not, has ended when it returns: awaiting
 * it costs no turn of the event loop, but every so often it takes one, so that timers and sockets
 * get theirs.
 */
export class Queue<T = unknown> {
  /** The name. */
  readonly name: string;
  readonly #slot: number;
  readonly #source: Source;

  /** @internal */
  constructor(slot: number, source: Source) {
    this.name = source.name;
    this.#slot = slot;
    this.#source = source;
    own(this, native.dropQueue, slot);
  }

  /** @internal */
  static slotOf<T>(queue: Queue<T>): number {
    return queue.#slot;
  }

  /**
   * Sends a message: bytes and strings go as they are, all else as JSON. Waits while the queue is
   * full, unless its options say otherwise.
   *
   * A send that is given up by its signal was not done; one that was done before resolves.
   */
  send(body: Body<T>, options?: SendOptions): Promise<SendResult> {
    try {
      let signal: AbortSignal | undefined;
      if (options !== undefined) {
        signal = checkSignal(checkOptions("send", SEND_OPTIONS, options).signal);
      }
      const message = ready(body, options);
      request.begin().number(this.#slot).number(1);
      write(request, message);
      return start(native.send, readSent, undefined, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends many messages: result i belongs to message i. One that cannot be stored does not keep the
   * others from it; `throwForErrors()` of the results makes an exception of the first error.
   */
  sendMany(
    messages: Iterable<OutgoingMessage<T> | Uint8Array | string>,
    options?: SignalOptions,
  ): Promise<Results<SendOutcome>> {
    try {
      const signal = signalOf("sendMany", options);
      const all = Array.isArray(messages) ? messages.map(readyOf) : Array.from(messages, readyOf);
      request.begin().number(this.#slot).number(all.length);
      for (let index = 0; index < all.length; index++) write(request, all[index] as Ready);
      const { home } = this.#source;
      return start(native.send, readAllSent, undefined, home, signal, all.length * SENT_WORDS);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Receives messages: as soon as one is there, with what else is ready. An empty array when none
   * came. One that is given up by its signal takes nothing.
   */
  receive(options?: ReceiveOptions): Promise<Delivery<T>[]> {
    return receive(native.receive, this.#slot, this.#source, options);
  }

  /** Sends in batches what many parts of a program give it one by one. */
  producer(options?: ProducerOptions): Producer<T> {
    return new Producer<T>(this.#slot, this.#source, options);
  }

  /** Messages one after the other, for `for await`, their locks kept until each is settled. */
  consume(options?: ConsumeOptions): Consumer<T> {
    return new Consumer<T>({ consume: native.consume, slot: this.#slot }, this.#source, options);
  }

  /**
   * Handles messages until it is drained: acked when the handler succeeds, nacked when it throws.
   */
  process(handler: Handler<T>, options?: ProcessOptions<T>): Worker<T> {
    return new Worker<T>(this.#slot, this.#source, handler, options);
  }

  /**
   * Handles messages in batches until it is drained: what the handler does not name as failed is acked.
   */
  processBatches(handler: BatchHandler<T>, options: ProcessBatchesOptions<T> = {}): Worker<T> {
    checkOptions("processBatches", PROCESS_BATCHES_OPTIONS, options);
    const settle = (settlements: Settlement[]) => this.settle(settlements);
    const batching = { batches: checkBatches(options), settle };
    return new Worker<T>(this.#slot, this.#source, handler, options, batching);
  }

  /** Acks many deliveries of this queue: result i belongs to delivery i. */
  ackMany(
    deliveries: Iterable<Delivery>,
    options?: SignalOptions,
  ): Promise<Results<SettleOutcome>> {
    try {
      const signal = signalOf("ackMany", options);
      const many = this.#many("ackMany", deliveries);
      request.begin().number(this.#slot).number(many.live);
      for (let index = 0; index < many.slots.length; index++) {
        const slot = many.slots[index] as number;
        if (slot !== SETTLED) request.number(slot).number(ACK);
      }
      return start(native.settle, readSettled, many, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Ends many deliveries of this queue: result i belongs to entry i. */
  settle(
    settlements: Iterable<Settlement>,
    options?: SignalOptions,
  ): Promise<Results<SettleOutcome>> {
    try {
      const signal = signalOf("settle", options);
      const entries = Array.from(settlements, entryOf);
      const many = this.#many(
        "settle",
        Array.from(entries, ({ delivery }) => delivery),
      );
      request.begin().number(this.#slot).number(many.live);
      for (const [index, slot] of many.slots.entries()) {
        if (slot !== SETTLED) writeEntry(slot, entries[index] as Entry);
      }
      return start(native.settle, readSettled, many, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Keeps the locks of many deliveries for so many milliseconds from now. */
  extendMany(
    deliveries: Iterable<Delivery>,
    lock: number,
    options?: SignalOptions,
  ): Promise<Results<SettleOutcome>> {
    try {
      const signal = signalOf("extendMany", options);
      checkDuration("lock", lock);
      const many = this.#many("extendMany", deliveries);
      request.begin().number(this.#slot).number(lock).number(many.live);
      for (const slot of many.slots) {
        if (slot !== SETTLED) request.number(slot);
      }
      return start(native.extendMany, readDone, many, this.#source.home, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Deliveries for a call on many, and how many of them are not settled. */
  #many(operation: string, given: Iterable<Delivery>): Many & { live: number } {
    const deliveries = Array.isArray(given) ? given.slice() : Array.from(given);
    const slots: number[] = new Array(deliveries.length);
    let live = 0;
    for (let index = 0; index < slots.length; index++) {
      const delivery = deliveries[index];
      if (!(delivery instanceof Delivery)) throw wrong("delivery", "a Delivery", delivery);
      const slot = Delivery.slotOf(delivery);
      slots[index] = slot;
      if (slot !== SETTLED) live++;
    }
    return { operation, queue: this.name, deliveries, slots, live };
  }

  /** Takes the session of this id. `SessionLockedError` when somebody holds it. */
  async acceptSession(id: string, options: AcceptOptions = {}): Promise<Session<T>> {
    const { lock, signal } = checkOptions("acceptSession", ACCEPT_OPTIONS, options);
    checkSomeDuration("lock", lock);
    request.begin().number(this.#slot).text(checkString("id", id)).someNumber(lock);
    const { home } = this.#source;
    const read = readSession<T>;
    const session = await start(
      native.acceptSession,
      read,
      this.#source,
      home,
      checkSignal(signal),
    );
    return session as Session<T>;
  }

  /** Takes whichever session has work; `undefined` when none has within the wait. */
  async acceptNextSession(options: AcceptNextOptions = {}): Promise<Session<T> | undefined> {
    const given = checkOptions("acceptNextSession", ACCEPT_NEXT_OPTIONS, options);
    const { wait = WAIT, lock, signal } = given;
    checkSomeDuration("lock", lock);
    request.begin().number(this.#slot).number(checkDuration("wait", wait)).someNumber(lock);
    const { home } = this.#source;
    return start(native.acceptNextSession, readSession<T>, this.#source, home, checkSignal(signal));
  }

  /** Looks at messages in the order of their sending, without taking them. */
  peek(options?: PeekOptions): Promise<PeekedMessage<T>[]> {
    return peek(this.#slot, this.#source, options);
  }

  /** Counts and ages. */
  async statistics(options?: SignalOptions): Promise<Statistics> {
    return statistics(this.#slot, this.#source, signalOf("statistics", options));
  }

  /**
   * When its messages are tried again after they failed, as it is in force: budget, waits, and where it
   * ends. As a string it is text for people.
   */
  async explain(options?: SignalOptions): Promise<Explanation> {
    return explain(this.#slot, this.#source, signalOf("explain", options));
  }

  /**
   * Where the message of this id stands, and when the next attempt at it comes. It is looked for among
   * all messages. `UnsupportedError` without the capability `peek`.
   */
  async explainMessage(id: string, options?: SignalOptions): Promise<MessageExplanation> {
    if (checkString("id", id) === "") throw wrong("id", "not empty", id);
    return explainMessage(this.#slot, this.#source, id, signalOf("explainMessage", options));
  }

  /** Lists dead letters, oldest first. */
  deadLetters(options?: DeadLettersOptions): Promise<DeadLetter<T>[]> {
    return deadLetters(this.#slot, this.#source, options);
  }

  /**
   * Counts dead letters by their reason, their source and their age, those that the options mean. They
   * are listed for it, 1,000 at a time and with their bodies, so its cost grows with them; it takes
   * nothing. Those that die while it goes on may be left out. `UnsupportedError` without the capability
   * `dead_letter_list`.
   */
  deadLetterStatistics(options?: DeadLetterStatisticsOptions): Promise<DeadLetterStatistics> {
    return deadLetterStatistics(this.#slot, this.#source, options);
  }

  /** Sends dead letters back, oldest first: their budget is whole again. */
  redrive(options?: RedriveOptions): Promise<RedriveReport> {
    return redrive(this.#slot, this.#source, options);
  }

  /** Deletes dead letters for good: how many. */
  purgeDeadLetters(options?: PurgeOptions): Promise<number> {
    return purgeDeadLetters(this.#slot, this.#source, options);
  }

  /** Where the breaker of its sends stands. */
  get breakerState(): BreakerState {
    request.begin().number(this.#slot);
    return now(native.queueBreakerState, readText, undefined) as BreakerState;
  }

  /** Closes the breaker of its sends by hand, and forgets what failed. */
  resetBreaker(): void {
    request.begin().number(this.#slot);
    now(native.resetQueueBreaker, nothing, undefined);
  }

  /** Creates the queue by explicit call; `AlreadyExistsError` if it is there. */
  async create(options?: SignalOptions): Promise<void> {
    const signal = signalOf("create", options);
    request.begin().number(this.#slot);
    return start(native.create, nothing, undefined, this.#source.home, signal);
  }
}

/** A settlement, read and checked once. */
interface Entry {
  delivery: Delivery;
  verb: number;
  reason: string | undefined;
  description: string | undefined;
  delay: number | undefined;
}

function entryOf(entry: Settlement): Entry {
  if (typeof entry === "object" && entry !== null) {
    const given = entry as Record<string, unknown>;
    for (const [verb, [name, names]] of SETTLEMENTS.entries()) {
      if (given[name] === undefined) continue;
      checkOptions(`a settlement by ${name}`, names, entry);
      const check = name === "deadLetter" ? checkString : checkSomeString;
      return {
        delivery: given[name] as Delivery,
        verb,
        reason: check("reason", given.reason),
        description: checkSomeString("description", given.description),
        delay: checkSomeDuration("delay", given.delay),
      };
    }
  }
  throw wrong("settlement", "an object with ack, nack, release or deadLetter", entry);
}

function writeEntry(slot: number, { verb, reason, description, delay }: Entry): void {
  request.number(slot).number(verb);
  if (verb === ACK) return;
  if (verb === NACK) request.someText(reason).someNumber(delay);
  else if (verb === RELEASE) request.someNumber(delay);
  else request.someText(reason).someText(description);
}
