// Session keys: the table that every language runs, and what is Node's own.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { InvalidConfigError, SessionKey } from "queue-runtime";

import { fresh, ready } from "./engine.mjs";

const path = new URL("../../tests/conformance/session_keys.json", import.meta.url);
const table = JSON.parse(readFileSync(path, "utf8"));

test("every key of the table finds its session", () => {
  for (const { about, key: written, headers, now = 0, session } of table.found) {
    const key = SessionKey.parse(JSON.stringify(written));
    assert.equal(key.of(headers, new Date(now)) ?? null, session, about);
    assert.deepEqual(JSON.parse(JSON.stringify(key)), written, about);
  }
});

test("every wrong key of the table is refused with what is wrong", () => {
  for (const { about, key, says } of table.refused) {
    assert.throws(
      () => SessionKey.parse(JSON.stringify(key)),
      (error) => {
        assert.ok(error instanceof InvalidConfigError, about);
        assert.equal(error.field, "session_key", about);
        assert.ok(error.message.includes(says), error.message);
        return true;
      },
    );
  }
  assert.throws(() => SessionKey.parse("{"), SyntaxError);
});

test("what is built is what is written", () => {
  const built = SessionKey.firstOf(
    SessionKey.field("customer").prefix("c-"),
    SessionKey.composite("tenant", "order").perHours(6),
    SessionKey.none().prefix("nothing to put it before"),
  );
  assert.deepEqual(JSON.parse(JSON.stringify(built)), {
    first_of: [
      { field: "customer", prefix: "c-" },
      { composite: ["tenant", "order"], per_hours: 6 },
      "none",
    ],
  });
  assert.throws(() => built.perHours(0), { name: "TypeError", message: /"hours"/ });
  assert.throws(() => built.perHours(Number.NaN), { name: "TypeError", message: /"hours"/ });
  assert.throws(() => SessionKey.firstOf("none"), { name: "TypeError", message: /"keys"/ });
  assert.throws(() => built.of({ customer: 42 }), { message: /"headers.customer"/ });
  assert.throws(() => built.of(undefined), { message: /"headers"/ });
  assert.throws(() => built.of({}, 7), { message: /"now"/ });
});

test("without a moment it is the present one", () => {
  const key = SessionKey.field("a").perHours(1);
  const [before, found, after] = [new Date(), undefined, new Date()].map((now) =>
    key.of({ a: "x" }, now),
  );
  assert.ok([before, after].includes(found));
});

test("messages go into the sessions of their keys", async (t) => {
  const { queue } = await fresh(t);
  const key = SessionKey.composite("tenant", "order");
  for (const headers of [{ tenant: "a/b", order: "1" }, { tenant: "a" }]) {
    await queue.send("x", { headers, session: key.of(headers) });
  }
  const sessions = (await ready(queue)).map((message) => message.session);
  assert.deepEqual(new Set(sessions), new Set(["a%2Fb/1", undefined]));
});
