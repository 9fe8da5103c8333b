/** Batches: when they are handed over, and which of their messages have failed. */

import { checkCount, checkDuration, checkSomeDuration } from "./check.js";
import type { Request } from "./memory.js";

/** When messages that are handled together are handed over. Durations are milliseconds. */
export interface BatchOptions {
  /** Messages of a batch, at most; as many are handed over at once; 100. */
  batchSize?: number | undefined;
  /** Their bytes, at most (one message may have more); 4 MiB. */
  batchBytes?: number | undefined;
  /** How long a batch waits for more, from its first message on; 5. */
  batchLinger?: number | undefined;
  /** Batches that are handled at one time; 1. */
  batchConcurrency?: number | undefined;
  /** The least size of a batch, where sizes adapt; 1. */
  minBatchSize?: number | undefined;
  /** Sizes adapt so that a batch takes about so long until its last message is settled. */
  targetBatchDuration?: number | undefined;
}

export const BATCH_OPTIONS = [
  "batchSize",
  "batchBytes",
  "batchLinger",
  "batchConcurrency",
  "minBatchSize",
  "targetBatchDuration",
] as const;

/** Checked, with the defaults. */
export interface Batches {
  size: number;
  bytes: number;
  linger: number;
  concurrency: number;
  least: number;
  target: number | undefined;
}

export function checkBatches(options: BatchOptions): Batches {
  const concurrency = checkCount("batchConcurrency", options.batchConcurrency ?? 1);
  if (concurrency === 0) throw new TypeError('"batchConcurrency" must be at least 1');
  const bytes = options.batchBytes ?? 4 * 1024 * 1024;
  const size = checkCount("batchSize", options.batchSize ?? 100);
  // What the native half does not see as an option at all.
  if (size === 0) throw new TypeError('"batchSize" must be at least 1');
  return {
    size,
    bytes: checkCount("batchBytes", bytes, Number.MAX_SAFE_INTEGER),
    linger: checkDuration("batchLinger", options.batchLinger ?? 5),
    concurrency,
    least: checkCount("minBatchSize", options.minBatchSize ?? 1),
    target: checkSomeDuration("targetBatchDuration", options.targetBatchDuration),
  };
}

/** Whether batches wait for more, and how. */
export function writeBatches(request: Request, batches: Batches | undefined): void {
  request.flag(batches !== undefined);
  if (batches === undefined) return;
  const { size, bytes, linger, least, target } = batches;
  request.number(size).number(bytes).number(linger).number(least).someNumber(target);
}

/** The error of each message, or none, after what a batch handler gave. */
export function errorsOf(count: number, given: unknown): unknown[] {
  const errors: unknown[] = new Array(count).fill(undefined);
  if (given === undefined || given === null) return errors;
  if (Array.isArray(given)) {
    if (given.length === count) return given;
    throw new TypeError(`the handler gave ${given.length} results for ${count} messages`);
  }
  if (!(given instanceof Map)) {
    throw new TypeError("a batch handler gives nothing, an array or a Map");
  }
  for (const [position, error] of given) {
    if (!Number.isInteger(position) || position < 0 || position >= count) {
      throw new TypeError(`the handler named message ${String(position)} of ${count}`);
    }
    errors[position] = error;
  }
  return errors;
}
