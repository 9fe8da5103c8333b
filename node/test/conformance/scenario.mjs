// The scenarios, as read from their files. An unknown key, anywhere, is an error.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import { parse } from "smol-toml";

import { OPTIONS } from "./consumers.mjs";
import { OPTIONS as PRODUCER } from "./producers.mjs";
import { expand, isTable } from "./text.mjs";
import { BATCHES } from "./workers.mjs";

const SCENARIO = ["name", "about", "needs", "lacks", "tags", "runtime", "options", "steps"];
const TAGS = ["real_time"];
/** What every step may say. */
const COMMON = ["client", "queue", "start", "error"];
const MESSAGE = [
  "id",
  "headers",
  "session",
  "correlation_id",
  "content_type",
  "ttl",
  "delay",
  "dedup_id",
  "duplicate_of",
];
const SEEN = [
  "body",
  "id",
  "id_of",
  "session",
  "attempt",
  "attempts",
  "headers",
  "correlation_id",
  "content_type",
  "state",
  "reason",
  "description",
  "source",
  "enqueued_at",
  "locked_until",
  "first_delivered_at",
  "dead_lettered_at",
];
const ERROR = ["kind", "field", "capability", "queue", "size", "limit"];
const FILTER = ["ids_of", "reason", "session", "header", "since", "until"];
const COUNTED = ["count", "bytes", "oldest", "newest", "by_reason", "by_source", "by_age"];
const GROUP = ["name", "count", "oldest", "newest"];
const REDRIVEN = ["matched", "redriven", "failed"];
const DRAINED = ["finished", "released", "abandoned"];
const STATUS = [
  "ready",
  "in_hand",
  "prefetched",
  "concurrency",
  "sessions",
  "paused",
  "over_memory",
  "breaker",
];
const RUNTIME = ["memory_limit"];
const PRODUCED = ["sent", "failed", "unsent"];
const COUNTS = [
  "ready",
  "in_flight",
  "delayed",
  "dead",
  "depth",
  "bytes",
  "sessions",
  "oldest_age",
];

const EXPLAINED = ["standing", "attempts", "behind", "parked", "earliest", "latest"];

/** What each verb may say beside its main argument. */
const VERBS = {
  send: [...MESSAGE, "by"],
  send_many: [],
  receive: ["wait", "lock", "from", "expect", "count", "any_order", "as"],
  ack: [],
  nack: ["reason", "delay"],
  release: ["delay"],
  dead_letter: ["reason", "description"],
  settle_many: [],
  extend: ["lock", "locked_until"],
  extend_many: ["lock"],
  drop: [],
  accept: ["lock", "as", "locked_until"],
  accept_next: ["lock", "as", "expect"],
  renew: ["lock", "locked_until"],
  close_session: [],
  drop_session: [],
  state: ["expect"],
  set_state: ["to"],
  peek: ["after", "expect"],
  dead_letters: ["where", "after", "expect"],
  redrive: ["where", "max", "per_second", "dry_run", "after", "expect"],
  purge: ["where", "expect"],
  statistics: [],
  dead_letter_statistics: ["where", "expect"],
  explain: ["expect"],
  create: [],
  consume: ["from", ...Object.keys(OPTIONS)],
  next: ["as", "expect", "count"],
  consumer_status: ["expect"],
  cancelled: ["cause"],
  drain: ["deadline", "expect"],
  stop: [],
  pause: [],
  resume: [],
  reset_breaker: [],
  drop_consumer: [],
  work: [...Object.keys(OPTIONS), ...Object.keys(BATCHES)],
  call: ["expect", "count"],
  return: ["failed"],
  produce: Object.keys(PRODUCER),
  flush: [],
  close_producer: ["deadline", "expect"],
  advance: ["times"],
  pending: [],
  cancel: [],
  connect: ["url", "url_options", "require"],
  configure: ["options"],
  close_client: [],
};
const STARTED = ["send", "receive", "accept_next", "redrive", "next", "drain", "call"];
/** What sees messages. */
const RECEIVING = ["receive", "next", "call", "peek", "dead_letters"];
const SEEING = [
  ...RECEIVING,
  "accept_next",
  "consumer_status",
  "close_producer",
  "explain",
  "dead_letter_statistics",
];

/** Every scenario of a folder, with the theme of its file. */
export function scenarios(folder) {
  const files = readdirSync(folder).sort();
  const all = files.flatMap((file) => {
    const { scenario, ...rest } = parse(readFileSync(join(folder, file), "utf8"));
    checkKeys(file, rest, []);
    return scenario.map((written) => read(basename(file, ".toml"), written));
  });
  const names = new Set(all.map(({ name }) => name));
  if (names.size < all.length) throw new Error("two scenarios have one name");
  return all;
}

function read(theme, written) {
  const { name } = written;
  try {
    checkKeys("the scenario", written, SCENARIO);
    const { needs = [], lacks = [], tags = [], runtime = {}, options = {} } = written;
    checkKeys("runtime", runtime, RUNTIME);
    for (const tag of tags) if (!TAGS.includes(tag)) throw new Error(`there is no tag ${tag}`);
    const started = new Map();
    const steps = written.steps.map((step) => readStep(step, started));
    if (started.size > 0) throw new Error("a step is started and neither joined nor cancelled");
    return { theme, name, needs, lacks, tags, runtime, options, steps };
  } catch (error) {
    throw new Error(`${theme}: ${name}: ${error.message}`);
  }
}

/** A step: its verb and its arguments, those of a started one in its join. */
export function readStep(written, started) {
  const text = JSON.stringify(written);
  try {
    let step = expand(written);
    const join = step.join;
    if (join !== undefined) {
      const { start: _, ...whole } = take(started, join);
      step = { ...whole, ...step };
      delete step.join;
    }
    if (step.cancel !== undefined) take(started, step.cancel);
    const verbs = Object.keys(step).filter((key) => key in VERBS);
    if (verbs.length !== 1) throw new Error(`the verbs are ${verbs.join(", ") || "none"}`);
    const [verb] = verbs;
    checkStep(verb, step, join !== undefined);
    if (step.start !== undefined) started.set(step.start, step);
    return { ...step, verb, text, join };
  } catch (error) {
    throw new Error(`${text}: ${error.message}`);
  }
}

function take(started, name) {
  const step = started.get(name);
  if (!started.delete(name)) throw new Error(`${name} was not started`);
  return step;
}

function checkStep(verb, step, joined) {
  checkKeys(verb, step, [verb, ...COMMON, ...VERBS[verb]]);
  if (step.start !== undefined && (joined || !STARTED.includes(verb))) {
    throw new Error("this step cannot be started");
  }
  const says = step.expect !== undefined || step.count !== undefined;
  if (SEEING.includes(verb) && !says && step.error === undefined && step.start === undefined) {
    throw new Error("it must say what comes");
  }
  checkError(step.error);
  if (RECEIVING.includes(verb)) {
    for (const seen of step.expect ?? []) if (isTable(seen)) checkKeys("expect", seen, SEEN);
  }
  if (step.where !== undefined) checkKeys("where", step.where, FILTER);
  const table = {
    dead_letter_statistics: COUNTED,
    redrive: REDRIVEN,
    drain: DRAINED,
    consumer_status: STATUS,
    close_producer: PRODUCED,
    explain: EXPLAINED,
  }[verb];
  if (table !== undefined) checkKeys("expect", step.expect ?? {}, table);
  for (const list of ["by_reason", "by_source"]) {
    for (const group of step.expect?.[list] ?? []) checkKeys(list, group, GROUP);
  }
  if (verb === "cancelled" && step.cause === undefined) throw new Error("it must say the cause");
  if (verb === "statistics") checkKeys(verb, step.statistics, COUNTS);
  const entries = {
    send_many: ["body", "error", ...MESSAGE],
    settle_many: [
      "ack",
      "nack",
      "release",
      "dead_letter",
      "reason",
      "description",
      "delay",
      "error",
    ],
    extend_many: ["extend", "error"],
  }[verb];
  if (entries !== undefined) {
    for (const entry of step[verb]) {
      if (!isTable(entry)) continue;
      checkKeys(verb, entry, entries);
      checkError(entry.error);
    }
  }
}

function checkError(error) {
  if (isTable(error)) checkKeys("error", error, ERROR);
}

function checkKeys(of, table, known) {
  for (const key of Object.keys(table)) {
    if (!known.includes(key)) throw new Error(`${of} has the unknown key ${key}`);
  }
}
