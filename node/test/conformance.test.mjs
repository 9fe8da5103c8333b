// The interpreter of the conformance scenarios finds out what is not so.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { scenarios } from "./conformance/scenario.mjs";
import { Target } from "./conformance/target.mjs";
import { World } from "./conformance/world.mjs";

const MEMORY = await new Target({ provider: "memory", url: "memory:conformance" }).open();

/** The scenario of these steps, as read from a file. */
function scenario(steps, more = "") {
  const folder = mkdtempSync(join(tmpdir(), "queue-runtime-scenarios-"));
  try {
    const text = `[[scenario]]\nname = 'n'\nabout = 'a'\n${more}steps = [${steps}]\n`;
    writeFileSync(join(folder, "theme.toml"), text);
    return scenarios(folder)[0];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function outcome(steps) {
  const world = new World(
    MEMORY,
    scenario(steps, "options = { lock = '30s', retry = 'none' }\n"),
    true,
  );
  try {
    await world.run();
    return "passed";
  } catch (error) {
    return error.message;
  } finally {
    await world.close();
  }
}

const SENT = "{ send = 'a', headers = { h = 'v' } }, { receive = 1, count = 1 }";

const DEAD =
  "{ send = 'a' }, { receive = 1, count = 1 }, { dead_letter = 'a', reason = 'r' }, { dead_letter_statistics = true";
const CONSUMED = "{ send = 'a' }, { consume = 'c' }, { next = 'c', count = 1 }";

/** None of these promises is kept. */
const BROKEN = [
  ["{ send = 'a' }, { receive = 1, expect = [] }", /got 1/],
  ["{ receive = 1, expect = ['a'] }", /got 0/],
  ["{ receive = 1, count = 1 }", /deliveries is 0/],
  ["{ send = 'a' }, { receive = 1, expect = ['b'] }", /body is/],
  ["{ send = 'a' }, { receive = 1, expect = [{ body = 'a', attempt = 2 }] }", /attempt is/],
  ["{ send = 'a' }, { receive = 1, expect = [{ body = 'a', headers = { h = '' } }] }", /header/],
  [
    "{ send = 'a' }, { receive = 1, expect = [{ body = 'a', locked_until = '1s' }] }",
    /locked_until is/,
  ],
  ["{ send_many = ['a', 'b'] }, { receive = 2, expect = ['b', 'a'] }", /message 1/],
  [
    "{ send_many = ['a', 'b'] }, { receive = 2, any_order = true, expect = ['b', 'b'] }",
    /not among/,
  ],
  ["{ send = 'a', duplicate_of = 'a' }", /duplicate is false/],
  ["{ send = 'a', error = 'full' }", /succeeded/],
  ["{ send = 'a', queue = '' }", /InvalidArgumentError/],
  ["{ send = 'a', queue = '', error = 'invalid_config' }", /the error is InvalidArgument/],
  [
    "{ send = 'a', queue = '', error = { kind = 'invalid_argument', field = 'x' } }",
    /its field is/,
  ],
  [`${SENT}, { advance = '30s' }, { ack = 'a' }`, /LockLostError/],
  [`${SENT}, { ack = 'a' }, { ack = 'a', error = 'lock_lost' }`, /the error is InvalidReceipt/],
  [`${SENT}, { settle_many = [{ ack = 'a', error = 'lock_lost' }] }`, /entry 1: succeeded/],
  [`${SENT}, { extend = 'a', lock = '1m', locked_until = '61s' }`, /locked_until is/],
  [
    "{ receive = 1, wait = '1s', start = 'r' }, { send = 'a' }, { pending = 'r' }, { cancel = 'r' }",
    /it has ended/,
  ],
  [
    "{ receive = 1, wait = '1s', start = 'r' }, { send = 'a' }, { join = 'r', expect = [] }",
    /got 1/,
  ],
  ["{ accept_next = '0s', expect = ['s'] }", /the session is/],
  ["{ accept = 's' }, { state = 's', expect = ['x'] }", /the state is/],
  ["{ send = 'a' }, { peek = 1, expect = [] }", /got 1/],
  ["{ dead_letters = 1, expect = ['a'] }", /got 0/],
  ["{ redrive = true, expect = { matched = 1, redriven = 1 } }", /matched is/],
  ["{ purge = true, expect = 1 }", /the count is/],
  ["{ statistics = { depth = 1 } }", /depth is 0/],
  ["{ dead_letter_statistics = true, expect = { newest = '0s' } }", /newest is/],
  [`${DEAD}, expect = { by_reason = [{ name = 'r', count = 2 }] } }`, /by_reason is/],
  [
    `${DEAD}, expect = { by_source = [{ name = 'jobs', count = 1, oldest = '1s' }] } }`,
    /oldest of jobs is/,
  ],
  [`${DEAD}, expect = { by_age = [0, 1, 0, 0, 0] } }`, /by_age is/],
  ["{ consume = 'c', idle = '0s' }, { next = 'c', expect = ['a'] }", /got 0/],
  [`${CONSUMED}, { drain = 'c', deadline = '0s', expect = { finished = 1 } }`, /finished is 0/],
  [
    `${CONSUMED}, { drain = 'c', deadline = '0s' }, { cancelled = 'a', cause = 'none' }`,
    /the cause is/,
  ],
  [`${CONSUMED}, { advance = '30s' }, { ack = 'a' }`, /LockLostError/],
  ["{ ack = 'a' }", /nothing is named/],
  ["{ connect = 'b', url = 'nowhere:' }", /InvalidConfigError/],
];

test("what is not so is found out", async () => {
  for (const [steps, why] of BROKEN) assert.match(await outcome(steps), why, steps);
  assert.equal(await outcome(`${SENT}, { ack = 'a' }`), "passed");
});

test("what is not of the format is refused", () => {
  for (const [steps, why] of [
    ["{ sned = 'a' }", /none/],
    ["{ send = 'a', ack = 'a' }", /send, ack/],
    ["{ send = 'a', colour = 'blue' }", /unknown key colour/],
    ["{ receive = 1 }", /must say what comes/],
    ["{ peek = 1, expect = [{ body = 'a', colour = 'blue' }] }", /unknown key colour/],
    ["{ send = 'a', error = { kind = 'full', colour = 'blue' } }", /unknown key colour/],
    ["{ settle_many = [{ ack = 'a', colour = 'blue' }] }", /unknown key colour/],
    ["{ join = 'r' }", /was not started/],
    ["{ receive = 1, start = 'r' }", /neither joined nor cancelled/],
    ["{ advance = '1s', start = 'r' }, { cancel = 'r' }", /cannot be started/],
    ["{ send_many = [{ body = 'm{0..1}', id = 'i{0..2}' }] }", /differ in length/],
    ["{ send = 'm{0..1}' }", /outside of a list/],
  ]) {
    assert.throws(() => scenario(steps), why, steps);
  }
  assert.throws(() => scenario("", "colour = 'blue'\n"), /unknown key colour/);
});

test("short forms are written out", () => {
  const { steps } = scenario(
    "{ send_many = ['m{9..11}', '{xy*2}-{-*3}', { body = 'b{0..1}', id = 'i{5..6}' }] }",
  );
  assert.deepEqual(steps[0].send_many, [
    "m9",
    "m10",
    "m11",
    "xyxy----",
    { body: "b0", id: "i5" },
    { body: "b1", id: "i6" },
  ]);
});
