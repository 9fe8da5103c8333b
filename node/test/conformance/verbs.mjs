// The verbs of a provider: begun here, and what came of them compared with what must.

import { check, checkCounts, checkEnd, checkError, checkSeen, checkValue } from "./check.mjs";
import * as consumers from "./consumers.mjs";
import { named, remove } from "./names.mjs";
import * as producers from "./producers.mjs";
import { bytes, isTable, someSpan, span } from "./text.mjs";
import * as workers from "./workers.mjs";

const SETTLING = { ack: "ack", nack: "nack", release: "release", dead_letter: "deadLetter" };

/**
 * Begins a verb: `came` is the promise of what comes of it, in a box so that nobody waits for it yet. An
 * error of opening its client or queue is the verb's.
 */
export async function begin(world, step, signal) {
  const came = BEGIN[step.verb] ? BEGIN[step.verb](world, step, signal) : undefined;
  if (came !== undefined) return { came };
  let queue;
  try {
    queue = await world.queue(step);
  } catch (error) {
    const failed = Promise.reject(error);
    failed.catch(() => {});
    return { came: failed };
  }
  return { came: BEGIN_ON[step.verb](world, queue, step, signal) };
}

/** Verbs that are no queue's; `undefined` for the queue's. */
const BEGIN = {
  ...consumers.BEGIN,
  ...workers.BEGIN,
  ...producers.BEGIN,
  send: (world, step, signal) => step.by && sendBy(named(world.producers, step.by), step, signal),
  ack: settle,
  nack: settle,
  release: settle,
  dead_letter: settle,
  extend: (world, step) => named(world.deliveries, step.extend).extend(span(step.lock)),
  receive: (world, step) =>
    step.from && named(world.sessions, step.from).receive(receiveOptions(step)),
  renew: (world, step) => named(world.sessions, step.renew).renew(someSpan(step.lock)),
  state: (world, step) => named(world.sessions, step.state).state(),
  set_state: (world, step) =>
    named(world.sessions, step.set_state).setState(step.to && bytes(step.to)),
  close_session: (world, step) => remove(world.sessions, step.close_session).close(),
  connect: (world, step) => world.connect(step),
  close_client: async (world, step) => (await world.client(step.close_client)).close(),
};

/** By its own method; through a queue that the step names, by that queue's. */
function settle(world, step) {
  if (step.client !== undefined || step.queue !== undefined) return undefined;
  const delivery = named(world.deliveries, step[step.verb]);
  const delay = someSpan(step.delay);
  switch (step.verb) {
    case "ack":
      return delivery.ack();
    case "nack":
      return delivery.nack(step.reason, { delay });
    case "release":
      return delivery.release({ delay });
    default:
      return delivery.deadLetter(step.reason, { description: step.description });
  }
}

const BEGIN_ON = {
  ack: settleByQueue,
  nack: settleByQueue,
  release: settleByQueue,
  dead_letter: settleByQueue,
  send: (_, queue, step, signal) => sendBy(queue, step, signal),
  send_many: (_, queue, step) => queue.sendMany(step.send_many.map(outgoing)),
  receive: (world, queue, step, signal) =>
    world.target.slack === 0 || step.start !== undefined
      ? queue.receive({ ...receiveOptions(step), signal })
      : collect(world, queue, step),
  settle_many: (world, queue, step) =>
    queue.settle(step.settle_many.map((entry) => settlement(world, entry))),
  extend_many: (world, queue, step) => {
    const deliveries = step.extend_many.map(({ extend }) => named(world.deliveries, extend));
    return queue.extendMany(deliveries, span(step.lock));
  },
  accept: (_, queue, step) => queue.acceptSession(step.accept, { lock: someSpan(step.lock) }),
  accept_next: (_, queue, step, signal) =>
    queue.acceptNextSession({ wait: span(step.accept_next), lock: someSpan(step.lock), signal }),
  peek: (world, queue, step) => queue.peek({ max: step.peek, after: cursor(world, step) }),
  dead_letters: (world, queue, step) =>
    queue.deadLetters({
      ...filter(world, step),
      max: step.dead_letters,
      after: cursor(world, step),
    }),
  redrive: (world, queue, step, signal) =>
    queue.redrive({
      ...filter(world, step),
      max: step.max,
      perSecond: step.per_second,
      dryRun: step.dry_run,
      after: cursor(world, step),
      signal,
    }),
  purge: (world, queue, step) => queue.purgeDeadLetters(filter(world, step)),
  statistics: (_, queue) => queue.statistics(),
  dead_letter_statistics: (world, queue, step) => queue.deadLetterStatistics(filter(world, step)),
  explain: (world, queue, step) => queue.explainMessage(named(world.ids, step.explain)),
  create: (_, queue) => queue.create(),
  consume: consumers.consume,
  work: workers.work,
  produce: producers.produce,
};

function sendBy(sender, step, signal) {
  const { body, ...options } = outgoing({ ...step, body: step.send });
  return sender.send(body, { ...options, signal });
}

/** Receives, and goes on with what is still missing from a server that may be late. */
async function collect({ target }, queue, step) {
  const options = receiveOptions(step);
  const came = await queue.receive(options);
  const wanted = step.count ?? step.expect?.length ?? 0;
  const end = performance.now() + target.slack;
  while (came.length < wanted && performance.now() < end) {
    const maxMessages = wanted - came.length;
    came.push(...(await queue.receive({ ...options, maxMessages, wait: 1000 })));
  }
  return came;
}

async function settleByQueue(world, queue, step) {
  const { error, client, queue: _, ...entry } = step;
  const results = await queue.settle([settlement(world, entry)]);
  results.throwForErrors();
}

function settlement(world, entry) {
  const verb = Object.keys(SETTLING).find((verb) => entry[verb] !== undefined);
  const { reason, description, delay } = entry;
  return {
    [SETTLING[verb]]: named(world.deliveries, entry[verb]),
    ...(reason !== undefined && { reason }),
    ...(description !== undefined && { description }),
    ...(delay !== undefined && { delay: span(delay) }),
  };
}

function outgoing(entry) {
  if (!isTable(entry)) return { body: bytes(entry) };
  return {
    body: bytes(entry.body),
    id: entry.id,
    session: entry.session,
    correlationId: entry.correlation_id,
    contentType: entry.content_type,
    dedupId: entry.dedup_id,
    delay: someSpan(entry.delay),
    ttl: someSpan(entry.ttl),
    headers: entry.headers,
  };
}

function receiveOptions(step) {
  return { maxMessages: step.receive, wait: someSpan(step.wait) ?? 0, lock: someSpan(step.lock) };
}

function cursor(world, { after }) {
  return after === undefined ? undefined : named(world.cursors, after);
}

function filter(world, { where = {} }) {
  return {
    ids: where.ids_of?.map((body) => named(world.ids, body)),
    reason: where.reason,
    session: where.session,
    header: where.header,
    since: world.moment(where.since),
    until: world.moment(where.until),
  };
}

/** Waits for what comes of a verb, compares it, and keeps what later steps call by name. */
export async function finish(world, step, verb) {
  const came = await checkEnd(world, step.error, verb);
  if (step.error === undefined) await FINISH[step.verb]?.(world, step, came);
}

const FINISH = {
  send: (world, step, sent) => checkStored(world, { ...step, body: step.send }, sent),
  send_many: (world, step, results) =>
    checkEach(world, step.send_many, results, (entry, result) =>
      checkStored(world, isTable(entry) ? entry : { body: entry }, result),
    ),
  settle_many: (world, step, results) => checkEach(world, step.settle_many, results),
  extend_many: (world, step, results) => checkEach(world, step.extend_many, results),
  extend: (world, step) => checkUntil(world, step, named(world.deliveries, step.extend)),
  renew: (world, step) => checkUntil(world, step, named(world.sessions, step.renew)),
  receive: checkDeliveries,
  consume: (world, step, consumer) => world.consumers.set(step.consume, consumer),
  next: (world, step, delivery) => checkDeliveries(world, step, delivery ? [delivery] : []),
  drain: consumers.finishDrain,
  work: (world, step, { worker, calls }) => {
    world.consumers.set(step.work, worker);
    world.workers.set(step.work, calls);
  },
  call: (world, step, call) => {
    checkValue("the number of messages", step.count, call.messages.length);
    if (step.expect !== undefined) checkSeen(world, step.expect, call.messages);
    world.calls.add(call);
  },
  produce: (world, step, producer) => world.producers.set(step.produce, producer),
  close_producer: producers.finishClose,
  accept: (world, step, session) => {
    checkValue("the session", step.accept, session.id);
    checkUntil(world, step, session);
    world.sessions.set(step.as ?? session.id, session);
  },
  accept_next: (world, step, session) => {
    checkValue("the session", step.expect?.[0], session?.id);
    check(step.expect?.length !== 0 || session === undefined, `the session is ${session?.id}`);
    if (session !== undefined) world.sessions.set(step.as ?? session.id, session);
  },
  state: (_, step, state) => {
    const [wanted] = step.expect ?? [];
    const hex = wanted === undefined ? undefined : bytes(wanted).toString("hex");
    check(state?.toString("hex") === hex, `the state is ${state}, expected ${wanted}`);
  },
  peek: (world, step, peeked) => {
    for (const message of peeked) world.cursors.set(message.text(), message.sequence);
    checkSeen(world, step.expect, peeked);
  },
  dead_letters: (world, step, letters) => {
    for (const letter of letters) world.cursors.set(letter.text(), letter.number);
    checkSeen(world, step.expect, letters);
  },
  redrive: (_, step, report) => {
    if (step.expect === undefined) return;
    const { matched, redriven, failed = 0 } = step.expect;
    checkValue("matched", matched, report.matched);
    checkValue("redriven", redriven, report.redriven);
    checkValue("failed", failed, report.failed.length);
  },
  purge: (_, step, count) => checkValue("the count", step.expect, count),
  statistics: (_, step, statistics) => checkCounts(step.statistics, statistics),
  dead_letter_statistics: (world, step, counted) => {
    const { count, bytes, oldest, newest, by_age: byAge } = step.expect;
    checkValue("count", count, counted.count);
    checkValue("bytes", bytes, counted.bytes);
    checkMoment(world, "oldest", oldest, counted.oldest);
    checkMoment(world, "newest", newest, counted.newest);
    checkGroups(world, "by_reason", step.expect.by_reason, counted.byReason, (name) => name);
    checkGroups(world, "by_source", step.expect.by_source, counted.bySource, (name) =>
      world.queueName(name),
    );
    const ages = counted.byAge.map((age) => age.count);
    checkValue("by_age", byAge?.join(), ages.join());
  },
  explain: (world, step, explained) => {
    const { standing, attempts, behind, parked, earliest, latest } = step.expect;
    checkValue("standing", standing, explained.standing);
    checkValue("attempts", attempts, explained.attempts);
    checkValue("behind", behind && named(world.ids, behind), explained.behind?.id);
    checkValue("parked", parked, explained.parked);
    checkMoment(world, "earliest", earliest, explained.earliest);
    checkMoment(world, "latest", latest, explained.latest);
  },
};

function checkDeliveries(world, step, deliveries) {
  checkValue("the number of deliveries", step.count, deliveries.length);
  if (step.expect !== undefined) checkSeen(world, step.expect, deliveries, step.any_order);
  for (const [index, delivery] of deliveries.entries()) {
    world.deliveries.set(step.as?.[index] ?? delivery.text(), delivery);
    world.deliveries.set(delivery.text(), delivery);
  }
}

function checkStored(world, entry, sent) {
  checkValue("duplicate", entry.duplicate_of !== undefined, sent.isDuplicate);
  if (entry.duplicate_of !== undefined) {
    return checkValue("the id", named(world.ids, entry.duplicate_of), sent.id);
  }
  if (entry.id === undefined) {
    check(
      sent.id !== "" && !world.made.has(sent.id),
      `the id ${sent.id} is empty or was made before`,
    );
    world.made.add(sent.id);
  }
  checkValue("the id", entry.id, sent.id);
  world.ids.set(entry.body, sent.id);
}

/** Result i belongs to entry i, whose error it must have, if any. */
function checkEach(world, entries, results, stored = () => {}) {
  checkValue("the number of results", entries.length, results.length);
  for (const [index, entry] of entries.entries()) {
    const { error } = results[index];
    if (error !== undefined) checkError(world, entry.error, error);
    else check(entry.error === undefined, `entry ${index + 1}: succeeded, expected ${entry.error}`);
    if (error === undefined) stored(entry, results[index]);
  }
}

function checkMoment(world, name, wanted, got) {
  if (wanted === undefined) return;
  const moment = wanted === "none" ? undefined : world.moment(wanted).getTime();
  check(moment === got?.getTime(), `${name} is ${got?.toISOString()}, expected ${wanted}`);
}

/** Whether the groups are these, in this order; `named` is what a name of the file stands for. */
function checkGroups(world, list, wanted, got, named) {
  if (wanted === undefined) return;
  const expected = wanted.map(({ name, count }) => `${named(name)}: ${count}`);
  const came = got.map(({ name, count }) => `${name}: ${count}`);
  checkValue(list, expected.join(), came.join());
  for (const [index, { name, oldest, newest }] of wanted.entries()) {
    checkMoment(world, `oldest of ${name}`, oldest, got[index].oldest);
    checkMoment(world, `newest of ${name}`, newest, got[index].newest);
  }
}

function checkUntil(world, step, held) {
  if (step.locked_until === undefined) return;
  checkValue("locked_until", world.moment(step.locked_until).getTime(), held.lockedUntil.getTime());
}
