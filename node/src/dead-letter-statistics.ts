/** Statistics of dead letters: how many died of what, since when, and from which queue. */

import { checkOptions, checkSignal } from "./check.js";
import type { SignalOptions, Source } from "./delivery.js";
import { request, start } from "./link.js";
import { checkFilter, type DeadLetterFilter, FILTER_OPTIONS, writeFilter } from "./looking.js";
import { type Page, Reader } from "./memory.js";
import { native } from "./native.js";

/** Which dead letters are counted. */
export interface DeadLetterStatisticsOptions extends DeadLetterFilter, SignalOptions {}

/** How many dead letters there are, why, since when, and from which queue. */
export interface DeadLetterStatistics {
  /** Dead letters. */
  readonly count: number;
  /** Bytes of their bodies. */
  readonly bytes: number;
  /** When the first of them was given up; `undefined` when there are none. */
  readonly oldest: Date | undefined;
  /** When the last of them was given up; `undefined` when there are none. */
  readonly newest: Date | undefined;
  /**
   * By their reason, the most frequent first, then by name. The first 1,000 reasons met, of 1 MiB
   * together, have a group each; all others are in one named `(others)`.
   */
  readonly byReason: readonly DeadLetterGroup[];
  /**
   * By the queue they were sent to, as `byReason`. The providers there are list the dead letters of one
   * queue, which is then the only group.
   */
  readonly bySource: readonly DeadLetterGroup[];
  /** By the time since they were given up: up to a minute, an hour, a day, a week, and longer. */
  readonly byAge: readonly DeadLetterAge[];
}

/** Dead letters of one reason, or of one queue. */
export interface DeadLetterGroup {
  /** The reason, or the queue. */
  readonly name: string;
  /** How many. */
  readonly count: number;
  /** When the first of them was given up. */
  readonly oldest: Date;
  /** When the last of them was given up. */
  readonly newest: Date;
}

/** Dead letters that were given up about as long ago. */
export interface DeadLetterAge {
  /**
   * As many milliseconds ago at most, and longer than the group before; `undefined`: longer than all of
   * them.
   */
  readonly upTo: number | undefined;
  /** How many. */
  readonly count: number;
}

export async function deadLetterStatistics(
  slot: number,
  source: Source,
  options: DeadLetterStatisticsOptions = {},
): Promise<DeadLetterStatistics> {
  const { signal } = checkOptions("deadLetterStatistics", FILTER_OPTIONS, options);
  const filter = checkFilter(options);
  request.begin().number(slot);
  writeFilter(filter);
  return start(native.deadLetterStatistics, read, undefined, source.home, checkSignal(signal));
}

function read(page: Page, at: number): DeadLetterStatistics {
  const reader = new Reader(page, at);
  return {
    count: reader.number(),
    bytes: reader.number(),
    oldest: readSomeMoment(reader),
    newest: readSomeMoment(reader),
    byReason: readGroups(reader),
    bySource: readGroups(reader),
    byAge: Array.from({ length: reader.number() }, () => ({
      upTo: reader.someNumber(),
      count: reader.number(),
    })),
  };
}

function readSomeMoment(reader: Reader): Date | undefined {
  const moment = reader.someNumber();
  return moment === undefined ? undefined : new Date(moment);
}

function readGroups(reader: Reader): DeadLetterGroup[] {
  return Array.from({ length: reader.number() }, () => ({
    name: reader.text(),
    count: reader.number(),
    oldest: new Date(reader.number()),
    newest: new Date(reader.number()),
  }));
}
