/** Options that go to the native half as JSON: there a name is written with underscores. */

import { checkOptions, wrong } from "./check.js";

/** Milliseconds, or text with a unit: `"30s"`. */
export type Duration = number | string;

/** What a capability is called. */
export type Capability =
  | "sessions"
  | "session_by_id"
  | "session_next"
  | "session_state"
  | "skip_on_failure"
  | "park_on_failure"
  | "delay"
  | "ttl"
  | "dedup"
  | "extend"
  | "nack_delay"
  | "release"
  | "begin"
  | "dead_letter"
  | "dead_letter_list"
  | "redrive"
  | "purge"
  | "peek"
  | "statistics"
  | "create"
  | "defer"
  | "cancel_scheduled"
  | "receive_and_delete"
  | "bounds"
  | "create_at_first_use"
  | "order"
  | "fair_groups";

/** Options of a queue. What is not said is as the client, the URL or the environment says. */
export interface QueueOptions {
  /** How long a delivery or a session is locked; 30 s. */
  lock?: Duration | undefined;
  /** Deliveries a message may use; 5. */
  budget?: number | undefined;
  /** When a nacked message comes back: `"exponential:100ms,2,30s,jitter"`, `"fixed:1s"`, `"none"`. */
  retry?: string | undefined;
  /** Time to live of messages that have none of their own. */
  ttl?: Duration | undefined;
  /** What becomes of a message that expires; dropped. */
  onExpiry?: "drop" | "dead_letter" | undefined;
  /** How long a dedup id is remembered; 5 minutes. */
  dedupWindow?: Duration | undefined;
  /** What a failed message does to its successors in a session; they wait (`"block"`). */
  onFailure?: "block" | "skip" | "park" | undefined;
  /** Messages a queue holds; 100,000. */
  maxMessages?: number | undefined;
  /** Bytes a queue holds; 256 MiB. */
  maxBytes?: number | undefined;
  /** Bytes of one message; 10 MiB. */
  maxMessageBytes?: number | undefined;
  /** What a send does when the queue is full; it waits. */
  onFull?: "wait" | "error" | undefined;
  /** Whether a queue is created at its first use. */
  create?: "first_use" | "never" | undefined;
  /**
   * When sending pauses since the provider is away: `"5,30s,3"` for failures in a row, pause and successes
   * in a row, or `"none"`; for providers across a network.
   */
  breaker?: string | undefined;
  /** Whether the sessions of messages are groups that share the queue fairly, without order; no. */
  fairGroups?: boolean | undefined;
}

/** Options of a runtime. */
export interface RuntimeOptions {
  /** Threads that run the engine; the processors this process may use. */
  workerThreads?: number | undefined;
  /** Threads for blocking work; 512. */
  maxBlockingThreads?: number | undefined;
  /** Bytes of each thread's stack; 2 MiB. */
  threadStackSize?: number | undefined;
  /** Threads are named by this and a number. */
  threadName?: string | undefined;
  /** Processors that threads are pinned to in turn. */
  cpuAffinity?: readonly number[] | undefined;
  /** Bytes of memory kept for message bodies; 64 MiB. */
  bodyPoolBytes?: number | undefined;
  /** Bytes of memory of the process above which consumers pause; 0, no limit. */
  memoryLimit?: number | undefined;
}

/** Where a circuit breaker stands. */
export type BreakerState = "closed" | "half_open" | "open";

const QUEUE = [
  "lock",
  "budget",
  "retry",
  "ttl",
  "onExpiry",
  "dedupWindow",
  "onFailure",
  "maxMessages",
  "maxBytes",
  "maxMessageBytes",
  "onFull",
  "create",
  "breaker",
  "fairGroups",
];
export const QUEUE_OPTIONS: ReadonlySet<string> = new Set(QUEUE);
export const CLIENT_OPTIONS: ReadonlySet<string> = new Set([
  ...QUEUE,
  "require",
  "clientBreaker",
  "runtime",
  "signal",
]);
export const RUNTIME_OPTIONS: ReadonlySet<string> = new Set([
  "workerThreads",
  "maxBlockingThreads",
  "threadStackSize",
  "threadName",
  "cpuAffinity",
  "bodyPoolBytes",
  "memoryLimit",
]);

const DURATIONS: ReadonlySet<string> = new Set(["lock", "ttl", "dedupWindow", "flushInterval"]);

/** The options as JSON; what they say is checked by the native half. */
export function toJson(
  of: string,
  names: ReadonlySet<string>,
  options: object | undefined,
): string {
  if (options === undefined) return "";
  const said: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(checkOptions(of, names, options))) {
    if (value !== undefined) said[snake(name)] = DURATIONS.has(name) ? inMs(name, value) : value;
  }
  return JSON.stringify(said);
}

function inMs(name: string, value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return `${value}ms`;
  throw wrong(name, 'whole milliseconds, or text with a unit such as "30s"', value);
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
