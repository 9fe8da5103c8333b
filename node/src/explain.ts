/** Explaining: when the next attempt at a message comes, and why then. */

import type { Source } from "./delivery.js";
import { readText, request, start } from "./link.js";
import { native } from "./native.js";

/** When failed messages of a queue are tried again, as it is in force. Durations are milliseconds. */
export interface Explanation {
  /** All of it, for people; a string of the whole is this. */
  readonly text: string;
  /** The queue. */
  readonly queue: string;
  /** Its provider. */
  readonly provider: string;
  /** Attempts at a message; `undefined` where it comes back until it is acked. */
  readonly budget: number | undefined;
  /** Who says so. */
  readonly budgetFrom: "queue" | "client" | "provider";
  /** After how many receives the provider itself gives a message up, where it counts them. */
  readonly maxReceives: number | undefined;
  /** How long each delivery is locked. */
  readonly lock: number;
  /** The retry policy of this client. */
  readonly retry: string;
  /**
   * How long after a failed attempt the next one comes, at least and at most: that after the first one
   * first. Of a large budget the first 100.
   */
  readonly waits: readonly { readonly least: number; readonly most: number }[];
  /** The provider keeps no message away for longer. */
  readonly longestWait: number | undefined;
  /** The queue whose dead letters messages become when the last attempt has failed. */
  readonly deadLetters: string | undefined;
  /** What a failed message does to those after it in its session; `undefined` without sessions. */
  readonly onFailure: "block" | "skip" | "park" | undefined;
  /** What follows from each way to fail. */
  readonly failures: readonly {
    readonly failure: "transient" | "throttled" | "release" | "permanent" | "lock_lost";
    /** Whether the attempt is used up. */
    readonly usesAttempt: boolean;
    /** What becomes of the message. */
    readonly then: string;
  }[];
  toString(): string;
}

/** How a message stands that is explained: `fetched` is ahead of work on it, `gone` not in the queue. */
type Standing = "ready" | "delayed" | "fetched" | "in_flight" | "dead" | "gone";

/** Where a message stands, and when the next attempt at it comes. */
export interface MessageExplanation {
  /** All of it, for people; a string of the whole is this. */
  readonly text: string;
  /** The queue. */
  readonly queue: string;
  /** The message. */
  readonly id: string;
  /** When this was so. */
  readonly now: Date;
  /** How it stands. */
  readonly standing: Standing;
  /** Attempts it has used, with the one that goes on. */
  readonly attempts: number;
  /** Attempts it may use. */
  readonly budget: number | undefined;
  /** The session it is of. */
  readonly session: string | undefined;
  /** When its delay, or unless that is kept its lock, ends. */
  readonly until: Date | undefined;
  /** When it expires, unless somebody has it in hand then. */
  readonly expiresAt: Date | undefined;
  /** What it waits for in its session, first of all. */
  readonly behind:
    | { readonly id: string; readonly standing: Standing; readonly until: Date | undefined }
    | undefined;
  /** Until when its session is held by who accepted it, unless the lock is kept. */
  readonly sessionHeldUntil: Date | undefined;
  /** Whether its session waits until no dead letter of it is left. */
  readonly parked: boolean;
  /** Why and when it was given up. */
  readonly death:
    | { readonly reason: string; readonly description: string | undefined; readonly at: Date }
    | undefined;
  /** The next attempt does not begin before; `undefined` when there will be none, or none has a time. */
  readonly earliest: Date | undefined;
  /** It is back at the latest then, if nobody keeps its lock; `undefined` when it depends on others. */
  readonly latest: Date | undefined;
  toString(): string;
}

const MOMENTS: ReadonlySet<string> = new Set([
  "now",
  "until",
  "expires_at",
  "session_held_until",
  "earliest",
  "latest",
  "at",
]);

export function explain(
  slot: number,
  source: Source,
  signal: AbortSignal | undefined,
): Promise<Explanation> {
  request.begin().number(slot).someText(undefined);
  return ask(source, signal) as Promise<Explanation>;
}

export function explainMessage(
  slot: number,
  source: Source,
  id: string,
  signal: AbortSignal | undefined,
): Promise<MessageExplanation> {
  request.begin().number(slot).text(id);
  return ask(source, signal) as Promise<MessageExplanation>;
}

async function ask(source: Source, signal: AbortSignal | undefined): Promise<unknown> {
  const text = await start(native.explain, readText, undefined, source.home, signal);
  const explanation = named(JSON.parse(text)) as { text: string };
  const toString = { value: () => explanation.text, enumerable: false };
  return Object.defineProperty(explanation, "toString", toString);
}

/** What was said, by the names and in the units of JavaScript. */
function named(said: unknown): unknown {
  if (Array.isArray(said)) return said.map(named);
  if (typeof said !== "object" || said === null) return said ?? undefined;
  const entries = Object.entries(said).map(([name, value]) => {
    const moment = MOMENTS.has(name) && typeof value === "number";
    return [camel(name.replace(/_ms$/, "")), moment ? new Date(value) : named(value)];
  });
  return Object.fromEntries(entries);
}

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
