/** The native half: functions without arguments or results. What they say is in `memory.ts`. */

/** A verb: its arguments are in the request, its reply comes into the page. */
export type Verb = () => void;

interface Native {
  /** Takes the function that is called, soon, when operations have ended. */
  listen(wake: () => void): void;
  lendRequest(memory: ArrayBufferLike): void;
  lendPage(memory: ArrayBufferLike): void;
  /** Keeps the event loop alive. */
  hold(): void;
  letGo(): void;

  cancel: Verb;
  drain: Verb;
  again: Verb;
  runtime: Verb;
  sharedRuntime: Verb;
  dropRuntime: Verb;
  now: Verb;
  advance: Verb;
  metrics: Verb;
  connect: Verb;
  dropClient: Verb;
  closeClient: Verb;
  capabilities: Verb;
  clientBreakerState: Verb;
  resetClientBreaker: Verb;
  openQueue: Verb;
  dropQueue: Verb;
  send: Verb;
  receive: Verb;
  settle: Verb;
  extendMany: Verb;
  create: Verb;
  queueBreakerState: Verb;
  resetQueueBreaker: Verb;
  acceptSession: Verb;
  acceptNextSession: Verb;
  ack: Verb;
  nack: Verb;
  release: Verb;
  deadLetter: Verb;
  extend: Verb;
  lockedUntil: Verb;
  forget: Verb;
  cancelled: Verb;
  consume: Verb;
  consumeSession: Verb;
  dropConsumer: Verb;
  next: Verb;
  nextMessages: Verb;
  waitChanged: Verb;
  stopConsumer: Verb;
  drainConsumer: Verb;
  consumerStatus: Verb;
  pauseConsumer: Verb;
  resumeConsumer: Verb;
  resetConsumerBreaker: Verb;
  openProducer: Verb;
  dropProducer: Verb;
  produce: Verb;
  flushProducer: Verb;
  closeProducer: Verb;
  dropSession: Verb;
  receiveOfSession: Verb;
  renewSession: Verb;
  sessionLockedUntil: Verb;
  sessionState: Verb;
  setSessionState: Verb;
  closeSession: Verb;
  sessionKey: Verb;
  peek: Verb;
  statistics: Verb;
  explain: Verb;
  deadLetters: Verb;
  deadLetterStatistics: Verb;
  redrive: Verb;
  purge: Verb;
  openWriteBehind: Verb;
  dropWriteBehind: Verb;
  enqueue: Verb;
  enqueueMany: Verb;
  flush: Verb;
  feed: Verb;
  nextBatch: Verb;
  finishBatch: Verb;
  failBatch: Verb;
  closeWriteBehind: Verb;
  takeRejected: Verb;
  writeBehindMetrics: Verb;
  breakerState: Verb;
}

// Beside this file once it is built.
export const native: Native = require("./queue_runtime.node");
