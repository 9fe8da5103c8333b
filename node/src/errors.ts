/** What goes wrong, by kind: every error of this package is a `QueueError`. */

import type { CloseReport } from "./entries.js";
import { type Page, Reader } from "./memory.js";

/** What every error may say, beside its message. */
export interface ErrorDetails {
  /** The provider's own code. */
  providerCode?: string | undefined;
  /** The queue concerned. */
  queue?: string | undefined;
  /** The operation that failed. */
  operation?: string | undefined;
  /** The argument, option or field at fault. */
  field?: string | undefined;
  /** The capability that is missing. */
  capability?: string | undefined;
  /** Whether the same call may succeed later. */
  retryable?: boolean;
  /** When to try again at the earliest, in milliseconds from the failure. */
  retryAfter?: number | undefined;
  /** Until when what stands in the way does, such as the lock of a session that somebody holds. */
  until?: Date | undefined;
  /** The actual size in bytes, of what is too large. */
  size?: number | undefined;
  /** The limit in bytes, of what is too large. */
  limit?: number | undefined;
}

/** The root of all errors of this package. */
export class QueueError extends Error implements ErrorDetails {
  /** The kind, as a word: `"lock_lost"`. The same in every language, and never renamed. */
  declare readonly code: ErrorCode;
  /** The provider's own code. */
  declare readonly providerCode?: string | undefined;
  /** The queue concerned. */
  declare readonly queue?: string | undefined;
  /** The operation that failed. */
  declare readonly operation?: string | undefined;
  /** The argument, option or field at fault. */
  declare readonly field?: string | undefined;
  /** The capability that is missing. */
  declare readonly capability?: string | undefined;
  /** Whether the same call may succeed later. */
  declare readonly retryable: boolean;
  /** When to try again at the earliest, in milliseconds from the failure. */
  declare readonly retryAfter?: number | undefined;
  /** Until when what stands in the way does. */
  declare readonly until?: Date | undefined;
  /** The actual size in bytes, of what is too large. */
  declare readonly size?: number | undefined;
  /** The limit in bytes, of what is too large. */
  declare readonly limit?: number | undefined;

  /** @internal */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    // Only what is known, so that an error prints short.
    const known = { code, retryable: false, ...details };
    for (const [name, value] of Object.entries(known)) {
      if (value !== undefined) Object.defineProperty(this, name, { value, enumerable: true });
    }
  }
}
// One name for all that were not given another, and not a property of each error.
Object.defineProperty(QueueError.prototype, "name", { value: "QueueError" });

/** An argument of a call is wrong: `field` names it. */
export class InvalidArgumentError extends QueueError {}
/** An option is wrong: `field` names it. */
export class InvalidConfigError extends QueueError {}
/** A message cannot be sent as it is: `field` says what of it. */
export class InvalidMessageError extends QueueError {
  /** For a sink that refuses an entry for good. */
  constructor(message: string) {
    super("invalid_message", message);
  }
}
/** A message is larger than `limit`. */
export class MessageTooLargeError extends QueueError {}
/** The client, or what belongs to it, was closed. */
export class ClosedError extends QueueError {}
/** The object belongs to the parent of this process. */
export class ForkedError extends QueueError {}
/** The operation was cancelled, but not by an `AbortSignal`: that rejects with its reason. */
export class CancelledError extends QueueError {}
/** Waiting would wait for the calling thread itself. */
export class WouldDeadlockError extends QueueError {}
/** The provider cannot do this: `capability` names what is missing. */
export class UnsupportedError extends QueueError {}
/** There is no queue of this name. */
export class QueueNotFoundError extends QueueError {}
/** There is a queue of this name already. */
export class AlreadyExistsError extends QueueError {}
/** The credentials were not accepted. */
export class UnauthenticatedError extends QueueError {}
/** The credentials do not allow this. */
export class PermissionDeniedError extends QueueError {}
/** The delivery was settled before, or is not of this queue. */
export class InvalidReceiptError extends QueueError {}
/** The lock of the delivery ran out: somebody else may have the message. */
export class LockLostError extends QueueError {}
/** Somebody else holds the session, until `until`. */
export class SessionLockedError extends QueueError {}
/** The lock of the session ran out: somebody else may hold it. */
export class SessionLockLostError extends QueueError {}
/** Not done in time. */
export class TimeoutError extends QueueError {}
/** The provider asks to slow down. */
export class ThrottledError extends QueueError {}
/** The provider cannot be reached. */
export class UnavailableError extends QueueError {}
/** The circuit breaker is open. */
export class CircuitOpenError extends QueueError {}
/** A bound is reached. */
export class FullError extends QueueError {}
/** The file system failed. */
export class IoError extends QueueError {}
/** A store holds something that cannot be read. */
export class CorruptError extends QueueError {}
/** The provider failed in a way of its own: `providerCode` says which. */
export class ProviderError extends QueueError {}
/** A bug of this package. */
export class PanicError extends QueueError {}

/**
 * A write-behind was closed by the end of its scope before everything was written: `report` has the
 * entries, which are the program's to keep.
 */
export class UnwrittenError extends QueueError {
  /** What the close did not write. */
  declare readonly report: CloseReport;

  /** @internal */
  constructor(message: string, report: CloseReport) {
    super("unwritten", message);
    Object.defineProperty(this, "report", { value: report, enumerable: false });
  }
}

const classes = {
  invalid_argument: InvalidArgumentError,
  invalid_config: InvalidConfigError,
  invalid_message: InvalidMessageError,
  message_too_large: MessageTooLargeError,
  closed: ClosedError,
  forked: ForkedError,
  cancelled: CancelledError,
  would_deadlock: WouldDeadlockError,
  unsupported: UnsupportedError,
  queue_not_found: QueueNotFoundError,
  already_exists: AlreadyExistsError,
  unauthenticated: UnauthenticatedError,
  permission_denied: PermissionDeniedError,
  invalid_receipt: InvalidReceiptError,
  lock_lost: LockLostError,
  session_locked: SessionLockedError,
  session_lock_lost: SessionLockLostError,
  timeout: TimeoutError,
  throttled: ThrottledError,
  unavailable: UnavailableError,
  circuit_open: CircuitOpenError,
  full: FullError,
  io: IoError,
  corrupt: CorruptError,
  provider: ProviderError,
  panic: PanicError,
};
for (const kind of [...Object.values(classes), UnwrittenError]) {
  Object.defineProperty(kind.prototype, "name", { value: kind.name });
}

/** The kinds of errors. More may be added. */
export type ErrorCode = keyof typeof classes | "unwritten";

/**
 * Reads an error of the native half.
 * @internal
 */
export function readError(page: Page, at: number): QueueError {
  return takeError(new Reader(page, at));
}

/** @internal */
export function takeError(reader: Reader): QueueError {
  const code = reader.text() as ErrorCode;
  const message = reader.text();
  const details: ErrorDetails = {
    providerCode: reader.someText(),
    queue: reader.someText(),
    operation: reader.someText(),
    field: reader.someText(),
    capability: reader.someText(),
    retryable: reader.number() === 1,
    retryAfter: reader.someNumber(),
    until: date(reader.someNumber()),
    size: reader.someNumber(),
    limit: reader.someNumber(),
  };
  return errorOf(code, message, details);
}

/** @internal */
export function errorOf(code: ErrorCode, message: string, details: ErrorDetails): QueueError {
  // A kind that this version does not know is still an error of this package.
  const kind = classes[code as keyof typeof classes] ?? QueueError;
  // By the root's constructor: that of a kind is for programs.
  return Reflect.construct(QueueError, [code, message, details], kind);
}

function date(moment: number | undefined): Date | undefined {
  return moment === undefined ? undefined : new Date(moment);
}
