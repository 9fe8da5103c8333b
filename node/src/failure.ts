/** What becomes of a message whose handler failed. */

import { checkDuration, checkSomeString, checkString } from "./check.js";
import type { Delivery } from "./delivery.js";
import { CircuitOpenError, QueueError, ThrottledError } from "./errors.js";
import type { Settlement } from "./queue.js";

/**
 * What an error of a handler is: `"transient"`, another attempt may succeed; `"permanent"`, none will;
 * `"throttled"`, it is too early, which is not the message's fault.
 */
export type ErrorClass = "transient" | "permanent" | "throttled";

/** How long a throttled message stays away, unless its error says `retryAfter`. */
const PAUSE = 1000;

/** How the message ends. */
type End =
  | { verb: "nack"; reason: string; delay?: number }
  | { verb: "release"; delay: number }
  | { verb: "deadLetter"; reason: string; description: string | undefined };

/**
 * Thrown by a handler that knows what is to become of its message. Made by the methods named as what
 * is done: `throw Failure.permanent("bad_address", "there is no such street")`.
 */
export class Failure extends Error {
  readonly #end: End;

  private constructor(text: string, end: End) {
    super(text);
    this.#end = end;
  }

  /**
   * The attempt failed; another one follows as the queue's retry policy says, while the budget lasts. So
   * does any other error.
   */
  static retry(reason: string): Failure {
    checkString("reason", reason);
    return new Failure(reason, { verb: "nack", reason });
  }

  /** The attempt failed; another one follows after so many milliseconds. */
  static retryAfter(reason: string, delay: number): Failure {
    checkString("reason", reason);
    checkDuration("delay", delay);
    return new Failure(reason, { verb: "nack", reason, delay });
  }

  /** Not the message's fault: it comes back after so many milliseconds; the attempt does not count. */
  static release(delay: number): Failure {
    checkDuration("delay", delay);
    return new Failure("released", { verb: "release", delay });
  }

  /** No attempt will ever succeed: to the dead letters, with the reason in a word and at length. */
  static permanent(reason: string, description?: string): Failure {
    checkString("reason", reason);
    checkSomeString("description", description);
    const text = description === undefined ? reason : `${reason}: ${description}`;
    return new Failure(text, { verb: "deadLetter", reason, description });
  }

  /** @internal */
  static settle(failure: Failure, message: Delivery): Promise<void> {
    const end = failure.#end;
    switch (end.verb) {
      case "nack":
        return message.nack(end.reason, end.delay === undefined ? {} : { delay: end.delay });
      case "release":
        return message.release({ delay: end.delay });
      default:
        return message.deadLetter(end.reason, { description: end.description });
    }
  }

  /** @internal */
  static settlement(failure: Failure, message: Delivery): Settlement {
    const { verb, ...how } = failure.#end;
    return { [verb]: message, ...how } as unknown as Settlement;
  }
}
Object.defineProperty(Failure.prototype, "name", { value: "Failure" });

/** What an error of a handler means for its message. */
export function failureOf(error: unknown, kind: ErrorClass | undefined): Failure {
  if (error instanceof Failure) return error;
  const said = error instanceof Error ? error.message || error.name : String(error);
  switch (kind ?? classOf(error)) {
    case "permanent":
      return Failure.permanent("permanent", said);
    case "throttled": {
      const after = (error as { retryAfter?: unknown } | null)?.retryAfter;
      return Failure.release(typeof after === "number" && after >= 0 ? after : PAUSE);
    }
    default:
      return Failure.retry(said);
  }
}

function classOf(error: unknown): ErrorClass {
  if (error instanceof ThrottledError || error instanceof CircuitOpenError) return "throttled";
  return error instanceof QueueError && error.retryAfter !== undefined ? "throttled" : "transient";
}
