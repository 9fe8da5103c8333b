/**
 * A message-queue engine that runs inside your program.
 *
 * What keeps the process alive: a call that waits (`receive`, a full queue's `send`, the `next` of a
 * loop over messages) and a worker that was not drained. What does not: clients, queues, sessions and
 * deliveries by themselves. `client.unref()` lets a process end in the middle of a wait.
 *
 * @module
 */

export type { BatchOptions } from "./batches.js";
export {
  type Capabilities,
  type Client,
  type ConnectOptions,
  connect,
  type Support,
} from "./client.js";
export type {
  ConsumeOptions,
  Consumer,
  ConsumerOptions,
  ConsumerStatus,
  DrainReport,
} from "./consumer.js";
export type {
  DeadLetterAge,
  DeadLetterGroup,
  DeadLetterStatistics,
  DeadLetterStatisticsOptions,
} from "./dead-letter-statistics.js";
export type {
  CancelCause,
  DeadLetterOptions,
  DelayOptions,
  Delivery,
  SignalOptions,
} from "./delivery.js";
export { type CloseReport, Entry, type RejectedEntry, type WriteBehindMetrics } from "./entries.js";
export {
  AlreadyExistsError,
  CancelledError,
  CircuitOpenError,
  ClosedError,
  CorruptError,
  type ErrorCode,
  type ErrorDetails,
  ForkedError,
  FullError,
  InvalidArgumentError,
  InvalidConfigError,
  InvalidMessageError,
  InvalidReceiptError,
  IoError,
  LockLostError,
  MessageTooLargeError,
  PanicError,
  PermissionDeniedError,
  ProviderError,
  QueueError,
  QueueNotFoundError,
  SessionLockedError,
  SessionLockLostError,
  ThrottledError,
  TimeoutError,
  UnauthenticatedError,
  UnavailableError,
  UnsupportedError,
  UnwrittenError,
  WouldDeadlockError,
} from "./errors.js";
export type { Explanation, MessageExplanation } from "./explain.js";
export { type ErrorClass, Failure } from "./failure.js";
export type {
  DeadLetter,
  DeadLetterFilter,
  DeadLettersOptions,
  MessageState,
  PeekedMessage,
  PeekOptions,
  PurgeOptions,
  RedriveOptions,
  RedriveReport,
  Statistics,
} from "./looking.js";
export type {
  Body,
  MessageOptions,
  OutgoingMessage,
  ReceivedMessage,
  SendResult,
} from "./message.js";
export type {
  BreakerState,
  Capability,
  Duration,
  QueueOptions,
  RuntimeOptions,
} from "./options.js";
export type { Producer, ProducerOptions, ProducerReport } from "./producer.js";
export type { AcceptNextOptions, AcceptOptions, Queue, SendOptions, Settlement } from "./queue.js";
export type { ReceiveOptions } from "./receive.js";
export type { Results, SendOutcome, SettleOutcome } from "./results.js";
export { Runtime } from "./runtime.js";
export type { Session } from "./session.js";
export { SessionKey } from "./session-key.js";
export type {
  BatchHandler,
  Handler,
  HandlerContext,
  ProcessBatchesOptions,
  ProcessOptions,
  RunOptions,
  Worker,
} from "./worker.js";
export {
  type CloseOptions,
  type EnqueueOptions,
  type OpenOptions,
  type Sink,
  type SinkContext,
  WriteBehind,
  type WriteBehindOptions,
  type Written,
} from "./write-behind.js";
