/**
 * The memory shared with the native half, as words of eight bytes: a number is one word; bytes are
 * a word with their length, then themselves, filled up to a whole word. `native/memory.rs` is the
 * other side.
 */

import { markAsUntransferable } from "node:worker_threads";

export const WORD = 8;
/** Stands for "none", of everything that may be none. */
const NONE = -1;

const REQUEST_BYTES = 64 * 1024;
/** A request that grew beyond this is not kept. */
const KEPT_BYTES = 1024 * 1024;
/** A text that is longer is measured before it is written. */
const LONG_TEXT = 4096;
/** Bodies are parts of a page: large enough for many, small enough to be kept for one. */
const PAGE_BYTES = 128 * 1024;

/** How many words so many bytes take. */
export function words(bytes: number): number {
  return (bytes + WORD - 1) >>> 3;
}

/** Memory that no garbage collector moves. */
function memory(bytes: number): Buffer {
  const memory = Buffer.allocUnsafeSlow(words(bytes) * WORD);
  // Bodies are views of it: to transfer one to another thread would take it away from all.
  markAsUntransferable(memory.buffer);
  return memory;
}

function numbersOf(memory: Buffer): Float64Array {
  return new Float64Array(memory.buffer, memory.byteOffset, memory.length / WORD);
}

/** The arguments of a verb, in order. Written and used up without running anybody else's code. */
export class Request {
  #bytes: Buffer = Buffer.alloc(0);
  #numbers: Float64Array = new Float64Array();
  #at = 1;
  readonly #lend: (memory: ArrayBufferLike) => void;

  constructor(lend: (memory: ArrayBufferLike) => void) {
    this.#lend = lend;
    this.#grow(REQUEST_BYTES);
  }

  /** Begins a request. */
  begin(): this {
    this.#at = 1;
    return this;
  }

  /** Says where in the page the reply goes, and that the request is complete. */
  end(page: Page): void {
    this.#numbers[0] = page.at;
  }

  /** After its use: gives memory back that is larger than most requests need. */
  shrink(): void {
    if (this.#bytes.length > KEPT_BYTES) this.#grow(REQUEST_BYTES, 0);
  }

  number(value: number): this {
    this.#reserve(1);
    this.#numbers[this.#at++] = value;
    return this;
  }

  someNumber(value: number | undefined): this {
    return this.number(value ?? NONE);
  }

  flag(value: boolean): this {
    return this.number(value ? 1 : 0);
  }

  bytes(bytes: Uint8Array): this {
    const length = bytes.length;
    this.#reserve(1 + words(length));
    this.#numbers[this.#at] = length;
    this.#bytes.set(bytes, (this.#at + 1) * WORD);
    this.#at += 1 + words(length);
    return this;
  }

  text(text: string): this {
    // The most that it can take as UTF-8; of a long one it is worth counting.
    const most = text.length > LONG_TEXT ? Buffer.byteLength(text) : text.length * 3;
    this.#reserve(1 + words(most));
    const length = this.#bytes.write(text, (this.#at + 1) * WORD);
    this.#numbers[this.#at] = length;
    this.#at += 1 + words(length);
    return this;
  }

  someText(text: string | undefined): this {
    return text === undefined ? this.number(NONE) : this.text(text);
  }

  #reserve(count: number): void {
    const wanted = this.#at + count;
    if (wanted > this.#numbers.length) {
      this.#grow(Math.max(wanted * WORD, this.#bytes.length * 2), this.#at * WORD);
    }
  }

  #grow(bytes: number, used = 0): void {
    const before = this.#bytes;
    this.#bytes = memory(bytes);
    this.#bytes.set(before.subarray(0, used));
    this.#numbers = numbersOf(this.#bytes);
    this.#lend(this.#bytes.buffer);
  }
}

/** Replies, one after the other. What is looked at later stays here as bytes. */
export class Page {
  readonly bytes: Buffer;
  readonly numbers: Float64Array;
  /** The word where the next reply goes. */
  at = 0;

  constructor(bytes: number) {
    this.bytes = memory(Math.max(bytes, PAGE_BYTES));
    this.numbers = numbersOf(this.bytes);
  }

  /** Whether so many words are left. None are when its memory was taken away. */
  hasRoom(words: number): boolean {
    return this.at + words <= this.numbers.length;
  }

  number(at: number): number {
    return this.numbers[at] as number;
  }

  someNumber(at: number): number | undefined {
    const number = this.number(at);
    return number === NONE ? undefined : number;
  }

  text(at: number): string {
    const start = (at + 1) * WORD;
    return this.bytes.toString("utf8", start, start + this.number(at));
  }

  someText(at: number): string | undefined {
    return this.number(at) === NONE ? undefined : this.text(at);
  }

  /** The bytes at a word: a view, no copy. */
  slice(at: number): Buffer {
    const start = (at + 1) * WORD;
    return this.bytes.subarray(start, start + this.number(at));
  }

  /** The word after the bytes, or the none, at this one. */
  after(at: number): number {
    const length = this.number(at);
    return at + 1 + (length > 0 ? words(length) : 0);
  }
}

/** Reads a reply word by word. */
export class Reader {
  readonly #page: Page;
  #at: number;

  constructor(page: Page, at: number) {
    this.#page = page;
    this.#at = at;
  }

  /** Where the next word is. */
  get at(): number {
    return this.#at;
  }

  skipTo(at: number): void {
    this.#at = at;
  }

  number(): number {
    return this.#page.number(this.#at++);
  }

  someNumber(): number | undefined {
    return this.#page.someNumber(this.#at++);
  }

  text(): string {
    return this.someText() ?? "";
  }

  someText(): string | undefined {
    const text = this.#page.someText(this.#at);
    this.#at = this.#page.after(this.#at);
    return text;
  }

  /** A view of the page. */
  bytes(): Buffer {
    return this.someBytes() ?? Buffer.alloc(0);
  }

  someBytes(): Buffer | undefined {
    const bytes = this.#page.number(this.#at) < 0 ? undefined : this.#page.slice(this.#at);
    this.#at = this.#page.after(this.#at);
    return bytes;
  }
}
