/** Threads and time that clients stand on. */

import { checkDuration } from "./check.js";
import { nothing, now, own, readNumber, readText, request } from "./link.js";
import { native } from "./native.js";
import { RUNTIME_OPTIONS, type RuntimeOptions, toJson } from "./options.js";

let shared: Runtime | undefined;

/**
 * Threads and time that clients stand on. `connect` uses one that the whole process shares, worker
 * threads included; make one to set its options, or to keep clients apart: clients of one runtime
 * share what is in `memory:name`.
 *
 * Its threads end in the background once nothing uses it any more.
 */
export class Runtime {
  readonly #slot: number;

  /** Makes one of its own. `InvalidConfigError` names an option that cannot be. */
  constructor(options?: RuntimeOptions) {
    const json = toJson("a Runtime", RUNTIME_OPTIONS, options);
    request
      .begin()
      .text(json)
      .flag(made === VIRTUAL);
    this.#slot = now(
      made === SHARED ? native.sharedRuntime : native.runtime,
      readNumber,
      undefined,
    );
    own(this, native.dropRuntime, this.#slot);
  }

  /** The one that the process shares. */
  static get shared(): Runtime {
    shared ??= make(SHARED);
    return shared;
  }

  /** The present time of its clock. */
  get now(): Date {
    request.begin().number(this.#slot);
    return new Date(now(native.now, readNumber, undefined));
  }

  /** The metrics of all its clients, as OpenMetrics text. */
  metrics(): string {
    request.begin().number(this.#slot);
    return now(native.metrics, readText, undefined);
  }

  /** @internal */
  static slotOf(runtime: Runtime): number {
    return runtime.#slot;
  }

  /** @internal */
  static advance(runtime: Runtime, by: number): void {
    request.begin().number(runtime.#slot).number(checkDuration("by", by));
    now(native.advance, nothing, undefined);
  }
}

/** How the next runtime is made: not for callers to say. */
const OWN = 0;
const SHARED = 1;
const VIRTUAL = 2;
let made = OWN;

function make(how: number, options?: RuntimeOptions): Runtime {
  made = how;
  try {
    return new Runtime(options);
  } finally {
    made = OWN;
  }
}

/**
 * A runtime in which time stands still.
 * @internal
 */
export function virtualRuntime(options: RuntimeOptions): Runtime {
  return make(VIRTUAL, options);
}
