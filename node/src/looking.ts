/** What is seen of a queue without taking anything from it, and what is done to its dead letters. */

import {
  checkCount,
  checkMoment,
  checkOptions,
  checkSignal,
  checkSomeString,
  checkString,
  wrong,
} from "./check.js";
import type { SignalOptions, Source } from "./delivery.js";
import { request, start } from "./link.js";
import { type Page, Reader, WORD } from "./memory.js";
import { ReceivedMessage } from "./message.js";
import { native } from "./native.js";

/** How a message stands. */
export type MessageState = "ready" | "delayed" | "in_flight";

/** A message that was looked at. */
export class PeekedMessage<T = unknown> extends ReceivedMessage<T> {
  /** How it stands: to be received, not yet to be received, or in somebody's hands. */
  readonly state: MessageState;
  /** Its place in the order of the queue: the cursor of a listing. */
  readonly sequence: number;
  /** Attempts made so far. */
  readonly attempts: number;
  /** When it was sent. */
  readonly enqueuedAt: Date;

  /** @internal */
  constructor(page: Page, reader: Reader) {
    const state = reader.text() as MessageState;
    const [sequence, attempts] = [reader.number(), reader.number()];
    const enqueuedAt = new Date(reader.number());
    super(page, reader.at);
    reader.skipTo(page.number(reader.at) / WORD);
    this.state = state;
    this.sequence = sequence;
    this.attempts = attempts;
    this.enqueuedAt = enqueuedAt;
  }

  /** @internal */
  override shown(): Record<string, unknown> {
    return { ...super.shown(), state: this.state, attempts: this.attempts };
  }
}

/** A message that was given up. */
export class DeadLetter<T = unknown> extends ReceivedMessage<T> {
  /** Why it was given up, in a word. */
  readonly reason: string;
  /** Why, at length. */
  readonly description: string | undefined;
  /** The queue it was sent to. */
  readonly source: string;
  /** The cursor of a listing. */
  readonly number: number;
  /** Attempts made. */
  readonly attempts: number;
  /** When it was sent. */
  readonly enqueuedAt: Date;
  /** When it was first received. */
  readonly firstDeliveredAt: Date | undefined;
  /** When it was given up. */
  readonly deadLetteredAt: Date;

  /** @internal */
  constructor(page: Page, reader: Reader) {
    const [reason, description, source] = [reader.text(), reader.someText(), reader.text()];
    const [number, attempts, enqueuedAt] = [reader.number(), reader.number(), reader.number()];
    const [firstDeliveredAt, deadLetteredAt] = [reader.someNumber(), reader.number()];
    super(page, reader.at);
    reader.skipTo(page.number(reader.at) / WORD);
    this.reason = reason;
    this.description = description;
    this.source = source;
    this.number = number;
    this.attempts = attempts;
    this.enqueuedAt = new Date(enqueuedAt);
    this.firstDeliveredAt = firstDeliveredAt === undefined ? undefined : new Date(firstDeliveredAt);
    this.deadLetteredAt = new Date(deadLetteredAt);
  }

  /** @internal */
  override shown(): Record<string, unknown> {
    return { ...super.shown(), reason: this.reason, attempts: this.attempts };
  }
}

/** What to look at. */
export interface PeekOptions extends SignalOptions {
  /** From after this sequence number on; from the first. */
  after?: number | undefined;
  /** At most this many; 100. */
  max?: number | undefined;
}

/** Which dead letters are meant; every property that is set must match. */
export interface DeadLetterFilter {
  /** With one of these ids. */
  ids?: readonly string[] | undefined;
  /** With this reason. */
  reason?: string | undefined;
  /** Of this session. */
  session?: string | undefined;
  /** With this header and value. */
  header?: readonly [name: string, value: string] | undefined;
  /** Given up at this moment or later. */
  since?: Date | undefined;
  /** Given up before this moment. */
  until?: Date | undefined;
}

/** Which dead letters to list. */
export interface DeadLettersOptions extends DeadLetterFilter, SignalOptions {
  /** From after this number on; from the first. */
  after?: number | undefined;
  /** At most this many; 100. */
  max?: number | undefined;
}

/** Which dead letters are sent back, and how. */
export interface RedriveOptions extends DeadLetterFilter, SignalOptions {
  /** At most this many; all. */
  max?: number | undefined;
  /** Go on after this number: `last` of an earlier report. */
  after?: number | undefined;
  /** At most this many a second; as fast as it goes. */
  perSecond?: number | undefined;
  /** Only count what would be sent back. */
  dryRun?: boolean | undefined;
}

/** Which dead letters are deleted. */
export interface PurgeOptions extends DeadLetterFilter, SignalOptions {}

/** What a redrive did. */
export interface RedriveReport {
  /** How many matched. */
  readonly matched: number;
  /** How many are back in the queue. */
  readonly redriven: number;
  /** Those that could not be sent back, and stay. */
  readonly failed: readonly { readonly id: string; readonly reason: string }[];
  /** Where to go on: the `after` of the next; 0 when none was looked at. */
  readonly last: number;
}

/** Counts and ages of a queue at one moment. */
export interface Statistics {
  /** Messages to be received now. */
  readonly ready: number;
  /** Messages in somebody's hands. */
  readonly inFlight: number;
  /** Messages that appear later. */
  readonly delayed: number;
  /** All messages but the dead letters. */
  readonly depth: number;
  /** Dead letters. */
  readonly dead: number;
  /** Bytes of all messages but the dead letters. */
  readonly bytes: number;
  /** Sessions that have messages, a holder or a state. */
  readonly sessions: number;
  /** Age of the oldest message that is not a dead letter, in milliseconds. */
  readonly oldestAge: number | undefined;
}

const FILTER = ["ids", "reason", "session", "header", "since", "until", "signal"];
const PEEK_OPTIONS: ReadonlySet<string> = new Set(["after", "max", "signal"]);
const LIST_OPTIONS: ReadonlySet<string> = new Set([...FILTER, "after", "max"]);
export const FILTER_OPTIONS: ReadonlySet<string> = new Set(FILTER);
const REDRIVE_OPTIONS: ReadonlySet<string> = new Set([
  ...FILTER,
  "max",
  "after",
  "perSecond",
  "dryRun",
]);

/** How many are listed when that is not said. */
const MAX = 100;

export async function peek<T>(
  slot: number,
  source: Source,
  options: PeekOptions = {},
): Promise<PeekedMessage<T>[]> {
  const { after = 0, max = MAX, signal } = checkOptions("peek", PEEK_OPTIONS, options);
  request
    .begin()
    .number(slot)
    .number(checkCount("after", after, Number.MAX_SAFE_INTEGER))
    .number(checkCount("max", max));
  return start(native.peek, readPeeked<T>, undefined, source.home, checkSignal(signal));
}

export async function statistics(
  slot: number,
  source: Source,
  signal: AbortSignal | undefined,
): Promise<Statistics> {
  request.begin().number(slot);
  return start(native.statistics, readStatistics, undefined, source.home, signal);
}

export async function deadLetters<T>(
  slot: number,
  source: Source,
  options: DeadLettersOptions = {},
): Promise<DeadLetter<T>[]> {
  const { after = 0, max = MAX, signal } = checkOptions("deadLetters", LIST_OPTIONS, options);
  checkCount("after", after, Number.MAX_SAFE_INTEGER);
  checkCount("max", max);
  const filter = checkFilter(options);
  request.begin().number(slot);
  writeFilter(filter);
  request.number(after).number(max);
  return start(native.deadLetters, readDeadLetters<T>, undefined, source.home, checkSignal(signal));
}

export async function redrive(
  slot: number,
  source: Source,
  options: RedriveOptions = {},
): Promise<RedriveReport> {
  const given = checkOptions("redrive", REDRIVE_OPTIONS, options);
  const { max = 0, after = 0, perSecond = 0, dryRun = false, signal } = given;
  checkCount("max", max, Number.MAX_SAFE_INTEGER);
  checkCount("after", after, Number.MAX_SAFE_INTEGER);
  checkCount("perSecond", perSecond);
  if (typeof dryRun !== "boolean") throw wrong("dryRun", "true or false", dryRun);
  const filter = checkFilter(options);
  request.begin().number(slot);
  writeFilter(filter);
  request.number(max).number(after).number(perSecond).flag(dryRun);
  return start(native.redrive, readReport, undefined, source.home, checkSignal(signal));
}

export async function purgeDeadLetters(
  slot: number,
  source: Source,
  options: PurgeOptions = {},
): Promise<number> {
  const { signal } = checkOptions("purgeDeadLetters", FILTER_OPTIONS, options);
  const filter = checkFilter(options);
  request.begin().number(slot);
  writeFilter(filter);
  return start(native.purge, readCount, undefined, source.home, checkSignal(signal));
}

/** A filter, read and checked once. */
export interface Filter {
  ids: string[];
  reason: string | undefined;
  session: string | undefined;
  header: [string, string] | undefined;
  since: number | undefined;
  until: number | undefined;
}

export function checkFilter(filter: DeadLetterFilter): Filter {
  const { ids = [], reason, session, header, since, until } = filter;
  if (!Array.isArray(ids)) throw wrong("ids", "an array of strings", ids);
  if (header !== undefined && !(Array.isArray(header) && header.length === 2)) {
    throw wrong("header", "a name and a value", header);
  }
  return {
    ids: ids.map((id) => checkString("ids", id)),
    reason: checkSomeString("reason", reason),
    session: checkSomeString("session", session),
    header: header && [checkString("header", header[0]), checkString("header", header[1])],
    since: checkMoment("since", since),
    until: checkMoment("until", until),
  };
}

export function writeFilter(filter: Filter): void {
  request.number(filter.ids.length);
  for (const id of filter.ids) request.text(id);
  request.someText(filter.reason).someText(filter.session).someText(filter.header?.[0]);
  if (filter.header !== undefined) request.text(filter.header[1]);
  request.someNumber(filter.since).someNumber(filter.until);
}

function readPeeked<T>(page: Page, at: number): PeekedMessage<T>[] {
  const reader = new Reader(page, at);
  return Array.from({ length: reader.number() }, () => new PeekedMessage<T>(page, reader));
}

function readDeadLetters<T>(page: Page, at: number): DeadLetter<T>[] {
  const reader = new Reader(page, at);
  return Array.from({ length: reader.number() }, () => new DeadLetter<T>(page, reader));
}

function readReport(page: Page, at: number): RedriveReport {
  const reader = new Reader(page, at);
  const [matched, redriven, last] = [reader.number(), reader.number(), reader.number()];
  const failed = Array.from({ length: reader.number() }, () => ({
    id: reader.text(),
    reason: reader.text(),
  }));
  return { matched, redriven, failed, last };
}

function readCount(page: Page, at: number): number {
  return page.number(at);
}

function readStatistics(page: Page, at: number): Statistics {
  const reader = new Reader(page, at);
  return {
    ready: reader.number(),
    inFlight: reader.number(),
    delayed: reader.number(),
    depth: reader.number(),
    dead: reader.number(),
    bytes: reader.number(),
    sessions: reader.number(),
    oldestAge: reader.someNumber(),
  };
}
