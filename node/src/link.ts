/**
 * Calls to the native half, and the promises of those that go on. One for each environment: the main
 * thread and each worker thread have their own.
 */

import { offAbort, onAbort } from "./abort.js";
import { readError } from "./errors.js";
import { Page, Request, WORD } from "./memory.js";
import { native, type Verb } from "./native.js";

/** How a reply begins, as in `native/link.rs`; then where it ends, and what belongs to it. */
const ENDED = 0;
const PENDING = 1;
const FAILED = 2;
const NO_ROOM = 3;
const HEAD_WORDS = 2;

/** A reply that says that there is no room needs room itself. */
const LEAST_WORDS = 8;

/**
 * After so many calls in a row that ended at once the event loop gets a turn. Else a loop over calls
 * that never have to wait would keep timers and sockets waiting.
 */
const TURN = 128;

/** Reads what a verb gave, from a word of a page on. */
export type Read<T, C> = (page: Page, at: number, context: C) => T;

/** Whether operations keep the process alive. Shared by all that belongs to a client. */
export interface Home {
  refed: boolean;
}

interface Waiting {
  end(page: Page, status: number, at: number): void;
}

/** Takes the arguments of the next verb. */
export const request = new Request(native.lendRequest);

let page = newPage(0);
const waiting = new Map<number, Waiting>();
let holds = 0;
let inARow = 0;

native.listen(drain);

const pageEnds: (() => void)[] = [];

/** Calls a function once the present page is full. */
export function onPageEnd(function_: () => void): void {
  pageEnds.push(function_);
}

/** Whether replies are written into this page. */
export function isPresent(other: Page): boolean {
  return other === page;
}

function newPage(bytes: number): Page {
  const fresh = new Page(bytes);
  native.lendPage(fresh.bytes.buffer);
  return fresh;
}

function nextPage(bytes: number): Page {
  page = newPage(bytes);
  for (const function_ of pageEnds) function_();
  return page;
}

/** Calls a verb whose reply is expected to take so many words: the page it is in. */
function call(verb: Verb, expected = 0): Page {
  const wanted = Math.max(expected, LEAST_WORDS);
  if (!page.hasRoom(wanted)) nextPage(wanted * WORD);
  request.end(page);
  verb();
  if (page.number(page.at) === NO_ROOM) {
    request.end(nextPage(page.number(page.at + 1)));
    native.again();
  }
  request.shrink();
  return page;
}

/** Calls a verb that always ends at once. */
export function now<T, C>(verb: Verb, read: Read<T, C>, context: C): T {
  const page = call(verb);
  const at = page.at;
  page.at = page.number(at + 1) / WORD;
  if (page.number(at) === FAILED) throw readError(page, at + HEAD_WORDS);
  return read(page, at + HEAD_WORDS, context);
}

/**
 * Calls a verb that may go on. The promise of one that ended at once is resolved already. A reply that
 * takes more words than expected is only dearer.
 */
export function start<T, C>(
  verb: Verb,
  read: Read<T, C>,
  context: C,
  home: Home,
  signal?: AbortSignal,
  expected?: number,
): Promise<T> {
  if (signal?.aborted) return Promise.reject(signal.reason);
  const page = call(verb, expected);
  const at = page.at;
  const status = page.number(at);
  if (status === ENDED) {
    page.at = page.number(at + 1) / WORD;
    const value = read(page, at + HEAD_WORDS, context);
    if (++inARow < TURN) return Promise.resolve(value);
    inARow = 0;
    return new Promise((resolve) => setImmediate(resolve, value));
  }
  if (status === PENDING) return wait(page.number(at + 1), read, context, home, signal);
  page.at = page.number(at + 1) / WORD;
  return Promise.reject(readError(page, at + HEAD_WORDS));
}

/** The promise of an operation that goes on. */
function wait<T, C>(
  tag: number,
  read: Read<T, C>,
  context: C,
  home: Home,
  signal: AbortSignal | undefined,
): Promise<T> {
  inARow = 0;
  const held = home.refed;
  if (held && holds++ === 0) native.hold();
  const abort = () => {
    request.begin().number(tag);
    now(native.cancel, nothing, undefined);
  };
  onAbort(signal, abort);
  return new Promise((resolve, reject) => {
    const end = (page: Page, status: number, at: number) => {
      offAbort(signal, abort);
      if (held && --holds === 0) native.letGo();
      if (status === ENDED) {
        try {
          resolve(read(page, at, context));
        } catch (error) {
          reject(error);
        }
        return;
      }
      const error = readError(page, at);
      reject(error.code === "cancelled" && signal?.aborted ? signal.reason : error);
    };
    waiting.set(tag, { end });
  });
}

/** Called when operations have ended: settles their promises. */
function drain(): void {
  for (;;) {
    request.begin();
    const page = call(native.drain);
    let at = page.at + HEAD_WORDS;
    const end = page.number(page.at + 1) / WORD;
    if (at === end) return;
    page.at = end;
    while (at < end) {
      const tag = page.number(at);
      const status = page.number(at + 1);
      const after = page.number(at + 2) / WORD;
      const ended = waiting.get(tag);
      waiting.delete(tag);
      ended?.end(page, status, at + 1 + HEAD_WORDS);
      at = after;
    }
  }
}

/** Frees what the native half holds for an object that is lost. */
const lost = new FinalizationRegistry<{ verb: Verb; slot: number }>(({ verb, slot }) => {
  drop(verb, slot);
});

/** Has `verb` called with the number of an object of the native half once its owner is lost. */
export function own(owner: object, verb: Verb, slot: number): void {
  lost.register(owner, { verb, slot }, owner);
}

/** The native half has given it up already. */
export function disown(owner: object): void {
  lost.unregister(owner);
}

export function drop(verb: Verb, slot: number): void {
  request.begin().number(slot);
  now(verb, nothing, undefined);
}

export function nothing(): void {}

export function readNumber(page: Page, at: number): number {
  return page.number(at);
}

export function readText(page: Page, at: number): string {
  return page.text(at);
}

export function readSomeText(page: Page, at: number): string | undefined {
  return page.someText(at);
}
