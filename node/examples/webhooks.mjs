// The main job on real input: 329 webhooks as GitHub sends them, through `memory:`, from Node.
//
// Webhooks of one pull request or issue are handled in the order they were sent, one at a time;
// those of different ones side by side. One webhook fails on purpose until it is dead-lettered, and
// its session waits (`onFailure: "park"`) until it is sent back. At the end everything must add up,
// or the program fails.
//
//     node webhooks.mjs PAYLOADS.json

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";

import { connect } from "queue-runtime";

/** Handlers that take a session and work through it. */
const SESSION_HANDLERS = 6;
/** Handlers that take whatever is ready: what has no session, and sessions nobody holds. */
const PLAIN_HANDLERS = 2;
/** The webhook that cannot be handled before it was redriven. */
const FAILING = "issues-15";

/** All webhooks, in the order of the file. */
function load(path) {
  const events = JSON.parse(readFileSync(path, "utf8"));
  return events.flatMap(({ name, examples }) =>
    examples.map((payload, number) => ({
      id: `${name}-${number}`,
      event: name,
      session: sessionKey(payload),
      payload,
    })),
  );
}

/**
 * What must stay in order: one pull request or issue, else what is left of one repository. Events of no
 * repository have no order to keep.
 */
function sessionKey(payload) {
  const repository = payload.repository?.full_name;
  const number = payload.pull_request?.number ?? payload.issue?.number;
  return repository && number ? `${repository}#${number}` : repository;
}

/** The ids of each session, in order. */
function sessionsOf(webhooks) {
  const sessions = new Map();
  for (const { id, session } of webhooks) {
    if (session !== undefined) sessions.set(session, [...(sessions.get(session) ?? []), id]);
  }
  return sessions;
}

/** The attempts of all handlers. */
class Log extends EventEmitter {
  attempts = [];

  add(attempt) {
    this.attempts.push(attempt);
    this.emit("attempt");
  }

  async reaches(count) {
    const signal = AbortSignal.timeout(60_000);
    while (this.attempts.length < count) await once(this, "attempt", { signal });
  }
}

/** Reads the webhook and checks that it came whole and in the right session. */
async function handle(message) {
  assert.equal(sessionKey(message.json()), message.session, "this payload is of another session");
  // Here a handler waits for a database or a peer, and others go on meanwhile.
  await new Promise(setImmediate);
  const redriven = message.headers["qrt-redrive-count"] !== undefined;
  if (message.id === FAILING && !redriven) throw new Error("the issue tracker is down");
}

/** Handles a message, and writes down how that went. */
async function attempt(message, handler, log) {
  const started = performance.now();
  let handled = false;
  try {
    await handle(message);
    handled = true;
  } finally {
    const { id, headers, attempt: number } = message;
    log.add({
      id,
      event: headers.event,
      handler,
      number,
      handled,
      started,
      ended: performance.now(),
    });
  }
}

/** Takes one session after the other and works through each, in order. */
async function workOnSessions(queue, handler, log, signal) {
  try {
    for (;;) {
      const session = await queue.acceptNextSession({ signal });
      if (session === undefined) continue;
      for (;;) {
        const [message] = await session.receive({ wait: 0 });
        if (message === undefined) break;
        await attempt(message, handler, log).then(
          () => message.ack(),
          (error) => message.nack(error.message),
        );
      }
      await session.close();
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

/** Every webhook was handled once, and all but the failing one at the first attempt. */
function checkHandled(webhooks, attempts) {
  const name = ({ id, event }) => `${id} (${event})`;
  const handled = attempts.filter(({ handled }) => handled).map(name);
  assert.deepEqual(handled.sort(), webhooks.map(name).sort());
  const numbers = attempts.filter(({ id }) => id === FAILING).map(({ number }) => number);
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 1], "its budget of 5, then redriven");
  for (const { id, number } of attempts) {
    assert.ok(id === FAILING || number === 1, `${id} was delivered again and had not failed`);
  }
}

/** In each session messages were handled as sent, one at a time. How many messages that was checked for. */
function checkOrder(sessions, attempts) {
  let checked = 0;
  for (const [session, sent] of sessions) {
    const own = attempts.filter(({ id }) => sent.includes(id));
    // Several attempts at one message in a row are one place in the order.
    const seen = own.map(({ id }) => id).filter((id, index, ids) => id !== ids[index - 1]);
    assert.deepEqual(seen, sent, session);
    for (const [index, { started }] of own.entries()) {
      assert.ok(index === 0 || started >= own[index - 1].ended, `${session}: two at one time`);
    }
    checked += sent.length;
  }
  return checked;
}

function printEvents(attempts) {
  const COLUMNS = 3;
  const counts = new Map();
  for (const { event, handled } of attempts) {
    if (handled) counts.set(event, (counts.get(event) ?? 0) + 1);
  }
  console.log(`\nHandled, by event (${counts.size} events)`);
  const cells = [...counts]
    .sort()
    .map(([event, count]) => event.padEnd(30) + String(count).padStart(4));
  const rows = Math.ceil(cells.length / COLUMNS);
  for (let row = 0; row < rows; row++) {
    console.log(`  ${cells.filter((_, index) => index % rows === row).join("   ")}`);
  }
}

/** The most attempts that went on at one time. */
function sideBySide(attempts) {
  const goingOn = (moment) =>
    attempts.filter(({ started, ended }) => started <= moment && moment < ended).length;
  return Math.max(...attempts.map(({ started }) => goingOn(started)));
}

/** From send to the end of the handling, of the webhooks whose id is picked. */
function latency(webhooks, attempts, pick) {
  const ended = new Map(attempts.map(({ id, ended }) => [id, ended]));
  const times = webhooks.filter(({ id }) => pick(id)).map(({ id, sent }) => ended.get(id) - sent);
  times.sort((a, b) => a - b);
  const at = (quantile) => `${times[Math.floor(quantile * (times.length - 1))].toFixed(1)}ms`;
  return `p50 ${at(0.5)}, p99 ${at(0.99)}`;
}

function printRows(rows) {
  for (const [name, value] of rows) console.log(`  ${name.padEnd(14)}${value}`);
}

async function main(path) {
  const webhooks = load(path);
  const sessions = sessionsOf(webhooks);
  const free = webhooks.filter(({ session }) => session === undefined).length;
  const ofFailing = [...sessions.values()].find((ids) => ids.includes(FAILING));
  const heldBack = ofFailing.slice(ofFailing.indexOf(FAILING));

  const client = await connect("memory:");
  const queue = client.queue("webhooks", { onFailure: "park" });
  const log = new Log();
  const stop = new AbortController();
  const handlers = Array.from({ length: SESSION_HANDLERS }, (_, number) =>
    workOnSessions(queue, number, log, stop.signal),
  );
  // One of a session holds that session until it is settled.
  const workers = Array.from({ length: PLAIN_HANDLERS }, (_, number) =>
    queue.process((message) => attempt(message, SESSION_HANDLERS + number, log), {
      concurrency: 1,
    }),
  );

  for (const webhook of webhooks) {
    webhook.sent = performance.now();
    const { id, event, session, payload } = webhook;
    await queue.send(payload, { id, session, headers: { event } });
  }
  console.log(
    `Sent ${webhooks.length} webhooks to memory: ${webhooks.length - free} in ${sessions.size} ` +
      `sessions (a pull request, an issue, or the rest of a repository), ${free} without one`,
  );

  // Everything is handled but what is held back: the failing webhook, which uses up its budget of 5,
  // and what is behind it in its session.
  await log.reaches(webhooks.length - heldBack.length + 5);
  const letters = await queue.deadLetters();
  console.log("\nDead letters, before they are redriven");
  for (const letter of letters) {
    printRows([
      ["message", letter.id],
      ["session", letter.session],
      ["reason", letter.reason],
      ["description", letter.description],
      ["attempts", letter.attempts],
      ["waiting", `${heldBack.length - 1} messages behind it`],
    ]);
  }
  const { redriven } = await queue.redrive();
  await log.reaches(webhooks.length + 5);

  stop.abort();
  await Promise.all([...handlers, ...workers.map((worker) => worker.drain())]);
  const { depth, dead } = await queue.statistics();
  await client.close();

  assert.deepEqual([letters.length, redriven], [1, 1], "there is one dead letter");
  assert.deepEqual([depth, dead], [0, 0], "something is left in the queue");
  const attempts = log.attempts.sort((a, b) => a.started - b.started);
  checkHandled(webhooks, attempts);
  const ordered = checkOrder(sessions, attempts);
  printEvents(attempts);
  const byHandler = new Array(SESSION_HANDLERS + PLAIN_HANDLERS).fill(0);
  for (const { handler } of attempts) byHandler[handler]++;
  console.log("\nResult");
  printRows([
    ["handled", `${webhooks.length} of ${webhooks.length}`],
    ["in order", `${ordered} messages of ${sessions.size} sessions, one at a time in each`],
    ["attempts", `${attempts.length}, ${attempts.length - webhooks.length} failed on purpose`],
    ["by handler", byHandler.join(" + ")],
    ["at one time", `up to ${sideBySide(attempts)}`],
    ["dead letters", letters.length],
    ["redriven", redriven],
    ["latency", latency(webhooks, attempts, (id) => !heldBack.includes(id))],
    [
      "held back",
      `${latency(webhooks, attempts, (id) => heldBack.includes(id))} (by the dead letter)`,
    ],
  ]);
}

await main(process.argv[2]);
