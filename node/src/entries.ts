/** What goes into a write-behind, and what comes out of it. */

import { inspect } from "node:util";

import { wrong } from "./check.js";
import { type Page, Reader, type Request } from "./memory.js";

/** Something to be written, as a sink of the program gets it. */
export class Entry<T = unknown> {
  /** What was enqueued, as bytes: may be a view of memory that entries share. */
  readonly body: Buffer;
  /** Entries of one key keep their order, and the last of them stands for all in a batch. */
  readonly key: Buffer | undefined;

  /** Makes one with a key, for `enqueueMany`. */
  constructor(body: Uint8Array | string, key?: Uint8Array | string) {
    this.body = buffer("body", body);
    this.key = key === undefined ? undefined : buffer("key", key);
  }

  /** The body as text, which it must be in UTF-8. */
  text(): string {
    return this.body.toString();
  }

  /**
   * The body read as JSON.
   * @throws SyntaxError if it is none.
   */
  json(): T {
    return JSON.parse(this.text());
  }

  /** What a log shows: never the body. */
  [inspect.custom](): string {
    return `Entry of ${this.body.length} bytes`;
  }
}

function buffer(name: string, bytes: Uint8Array | string): Buffer {
  if (typeof bytes === "string") return Buffer.from(bytes);
  if (Buffer.isBuffer(bytes)) return bytes;
  if (bytes instanceof Uint8Array) {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  throw wrong(name, "bytes or a string", bytes);
}

/** An entry that can never be written, and why. */
export interface RejectedEntry<T = unknown> {
  /** The entry, whole. */
  readonly entry: Entry<T>;
  /** Why, in a word: the sink's own code, or the error's kind. */
  readonly reason: string;
  /** Why, at length. */
  readonly description: string;
  /** How often it was tried. */
  readonly attempts: number;
  /** When it was accepted. */
  readonly enqueuedAt: Date;
}

/** What a close of a write-behind did not write. */
export interface CloseReport<T = unknown> {
  /** Entries that could not be written in time, in the order of their coming. */
  readonly unwritten: Entry<T>[];
  /** Entries that stay in the journal for the next start. */
  readonly leftInJournal: number;
  /** Entries that were given up, and kept because there is no dead-letter queue. */
  readonly rejected: RejectedEntry<T>[];
}

/**
 * Counts of a write-behind, all of one moment: `totalEnqueued` is always the sum of `totalPersisted`,
 * `totalFailed` and `currentQueueDepth`.
 */
export interface WriteBehindMetrics {
  /** Entries that were accepted. */
  readonly totalEnqueued: number;
  /** Entries that are in the sink, or for which a later one of their key is. */
  readonly totalPersisted: number;
  /** Entries that were given up. */
  readonly totalFailed: number;
  /** How often an entry was tried again. */
  readonly totalRetries: number;
  /** Batches that the sink answered. */
  readonly totalBatches: number;
  /** Entries that were accepted and are neither persisted nor failed. */
  readonly currentQueueDepth: number;
  /** When this was so. */
  readonly timestamp: Date;
}

/** An entry, checked and ready to be written into a request. */
export interface Ready {
  body: Uint8Array | string;
  key: Uint8Array | string | undefined;
}

/** What is enqueued: a row goes as JSON, bytes and text go as they are. */
export function readyEntry(entry: unknown, key?: Uint8Array | string): Ready {
  if (key !== undefined && typeof key !== "string" && !(key instanceof Uint8Array)) {
    throw wrong("key", "bytes or a string", key);
  }
  if (typeof entry === "string" || entry instanceof Uint8Array) return { body: entry, key };
  if (entry instanceof Entry) return { body: entry.body, key: key ?? entry.key };
  if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
    throw wrong("entry", "an object, bytes or a string", entry);
  }
  return { body: JSON.stringify(columns(entry)), key };
}

/** A row whose values JSON has: bytes as base64, large integers as text. */
function columns(row: object): object {
  let said: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === "bigint") {
      said ??= { ...row };
      said[name] = String(value);
    } else if (value instanceof Uint8Array) {
      said ??= { ...row };
      said[name] = buffer(name, value).toString("base64");
    }
  }
  return said ?? row;
}

export function writeEntry(request: Request, { body, key }: Ready): void {
  for (const bytes of [body, key]) {
    if (bytes instanceof Uint8Array) request.bytes(bytes);
    else request.someText(bytes);
  }
}

/** A batch in the hands of a sink: its number in the native half, and its entries. */
export interface Batch<T> {
  readonly slot: number;
  readonly entries: Entry<T>[];
}

export function readBatch<T>(page: Page, at: number): Batch<T> | undefined {
  const slot = page.number(at);
  if (slot < 0) return undefined;
  return { slot, entries: readEntries<T>(new Reader(page, at + 1)) };
}

export function readReport<T>(page: Page, at: number): CloseReport<T> {
  const reader = new Reader(page, at);
  return {
    unwritten: readEntries<T>(reader),
    leftInJournal: reader.number(),
    rejected: readAllRejected<T>(reader),
  };
}

export function readRejected<T>(page: Page, at: number): RejectedEntry<T>[] {
  return readAllRejected<T>(new Reader(page, at));
}

export function readMetrics(page: Page, at: number): WriteBehindMetrics {
  const reader = new Reader(page, at);
  return {
    totalEnqueued: reader.number(),
    totalPersisted: reader.number(),
    totalFailed: reader.number(),
    totalRetries: reader.number(),
    totalBatches: reader.number(),
    currentQueueDepth: reader.number(),
    timestamp: new Date(reader.number()),
  };
}

function readEntries<T>(reader: Reader): Entry<T>[] {
  return Array.from({ length: reader.number() }, () => readEntry<T>(reader));
}

function readEntry<T>(reader: Reader): Entry<T> {
  return new Entry<T>(reader.bytes(), reader.someBytes());
}

function readAllRejected<T>(reader: Reader): RejectedEntry<T>[] {
  return Array.from({ length: reader.number() }, () => ({
    entry: readEntry<T>(reader),
    reason: reader.text(),
    description: reader.text(),
    attempts: reader.number(),
    enqueuedAt: new Date(reader.number()),
  }));
}
