// What a step expects, beside what came. A difference is thrown, as a sentence.

import { bytes, isTable, spanOrNone } from "./text.mjs";

/** A promise of the scenario that is not kept. */
export class Broken extends Error {}

export function check(holds, sentence) {
  if (!holds) throw new Broken(sentence);
}

/** Whether one thing is as expected, if something is expected of it. */
export function checkValue(name, wanted, got) {
  check(
    wanted === undefined || wanted === got,
    `${name} is ${show(got)}, expected ${show(wanted)}`,
  );
}

/** How a verb must end: what came, or `undefined` when it failed as it must. */
export async function checkEnd(world, wanted, verb) {
  let came;
  try {
    came = await verb;
  } catch (error) {
    checkError(world, wanted, error);
    return undefined;
  }
  check(wanted === undefined, `succeeded, expected ${show(wanted)}`);
  return came;
}

export function checkError(world, wanted, error) {
  if (wanted === undefined || error.code === undefined) throw error;
  const expected = isTable(wanted) ? wanted : { kind: wanted };
  const kinds = [expected.kind];
  // A lost lock also makes a receipt invalid, and says more.
  if (expected.kind === "invalid_receipt") kinds.push("lock_lost", "session_lock_lost");
  check(kinds.includes(error.code), `the error is ${error}, expected ${expected.kind}`);
  for (const key of ["field", "capability", "size", "limit"]) {
    checkValue(`its ${key}`, expected[key], error[key]);
  }
  checkQueue(world, "its queue", expected.queue, error.queue);
}

function checkQueue(world, name, wanted, got) {
  checkValue(name, wanted && world.queueName(wanted), got);
}

/** Whether these messages came, in this order or in any. */
export function checkSeen(world, wanted, got, anyOrder) {
  const bodies = got.map((message) => show(message.text()));
  check(got.length === wanted.length, `got ${got.length} [${bodies}], expected ${wanted.length}`);
  const left = [...got];
  for (const [index, expected] of wanted.entries()) {
    const fields = isTable(expected) ? expected : { body: expected };
    const candidates = anyOrder ? left : [left[0]];
    const found = candidates.map((message) => difference(world, fields, message));
    const match = found.indexOf(undefined);
    if (match < 0) {
      throw new Broken(
        anyOrder
          ? `${show(fields.body)} as expected is not among [${bodies}]`
          : `message ${index + 1}: ${found[0]}`,
      );
    }
    left.splice(match, 1);
  }
}

/** The first field of a message that is not as expected. */
function difference(world, wanted, message) {
  const moment = (text) => {
    const since = spanOrNone(text);
    return since === undefined ? undefined : world.start + since;
  };
  const text = (value) => value ?? "";
  const known = {
    body: () => [bytes(wanted.body).toString("hex"), message.body.toString("hex")],
    id: () => [wanted.id, message.id],
    id_of: () => [world.ids.get(wanted.id_of), message.id],
    session: () => [wanted.session, text(message.session)],
    correlation_id: () => [wanted.correlation_id, text(message.correlationId)],
    content_type: () => [wanted.content_type, text(message.contentType)],
    attempt: () => [wanted.attempt, message.attempt],
    attempts: () => [wanted.attempts, message.attempts],
    state: () => [wanted.state, message.state],
    reason: () => [wanted.reason, message.reason],
    description: () => [wanted.description, text(message.description)],
    source: () => [wanted.source && world.queueName(wanted.source), message.source],
    enqueued_at: () => [moment(wanted.enqueued_at), message.enqueuedAt.getTime()],
    locked_until: () => [moment(wanted.locked_until), message.lockedUntil.getTime()],
    first_delivered_at: () => [
      moment(wanted.first_delivered_at),
      message.firstDeliveredAt?.getTime(),
    ],
    dead_lettered_at: () => [moment(wanted.dead_lettered_at), message.deadLetteredAt.getTime()],
  };
  for (const name of Object.keys(wanted)) {
    if (name === "headers") continue;
    const [expected, got] = known[name]();
    if (expected !== got) return `${name} is ${show(got)}, expected ${show(expected)}`;
  }
  for (const [name, expected] of Object.entries(wanted.headers ?? {})) {
    const got = message.headers[name];
    if (expected !== got) return `header ${show(name)} is ${show(got)}, expected ${show(expected)}`;
  }
  return undefined;
}

export function checkCounts(wanted, got) {
  const { oldest_age: age, in_flight: inFlight, ...counts } = wanted;
  if (age !== undefined) {
    check(got.oldestAge === spanOrNone(age), `oldest_age is ${got.oldestAge}, expected ${age}`);
  }
  checkValue("in_flight", inFlight, got.inFlight);
  for (const [name, count] of Object.entries(counts)) checkValue(name, count, got[name]);
}

function show(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}... (${text.length})` : text;
}
