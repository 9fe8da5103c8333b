// A scenario while it runs: its clients and queues, and what later steps call by name.

import { setTimeout as sleep } from "node:timers/promises";

import { AlreadyExistsError, connect, Runtime } from "queue-runtime";
import { TestEngine } from "queue-runtime/testing";

import { Broken, check } from "./check.mjs";
import { collected } from "./garbage.mjs";
import { named, remove } from "./names.mjs";
import { patiently } from "./patience.mjs";
import { camelKeys, span, spanOrNone } from "./text.mjs";
import { begin, finish } from "./verbs.mjs";

/** A send was done before it could be given up: what the scenario is about did not come to be. */
export class TooLate extends Error {}

/** What a step failed with. */
export function why(error) {
  return error instanceof Broken ? error.message : String(error?.stack ?? error);
}

export class World {
  /** Moments are counted from here. */
  start;
  deliveries = new Map();
  sessions = new Map();
  /** Consumers and workers. */
  consumers = new Map();
  /** The calls of workers, as they come. */
  workers = new Map();
  /** Calls of handlers that go on. */
  calls = new Set();
  producers = new Map();
  /** Ids of sent messages, by their bodies. */
  ids = new Map();
  /** Ids that no sender chose. */
  made = new Set();
  /** Where listings go on, by the body of what was listed. */
  cursors = new Map();
  /** Steps that were started. */
  background = new Map();

  target;
  #store;
  #scenario;
  #engine;
  #runtime;
  #clients = new Map();
  #queues = new Map();
  #options = new Map();

  constructor(target, scenario, virtual) {
    this.target = target;
    this.#store = target.store();
    this.#scenario = scenario;
    const options = { workerThreads: 1, ...camelKeys(scenario.runtime) };
    if (virtual) this.#engine = new TestEngine(options);
    this.#runtime = this.#engine?.runtime ?? new Runtime(options);
    this.start = this.#runtime.now.getTime();
  }

  /** Takes every step. What it throws says which one failed, and how. */
  async run() {
    const { steps } = this.#scenario;
    for (const [index, step] of steps.entries()) {
      try {
        await patiently(this.take(step, steps[index + 1]));
      } catch (error) {
        if (error instanceof TooLate) throw error;
        throw new Broken(`step ${index + 1} ${step.text}: ${why(error)}`);
      }
    }
  }

  /** Closes every client, whatever became of the scenario. */
  async close() {
    for (const calls of this.workers.values()) calls.close();
    for (const call of this.calls) call.end([]);
    const workers = [...this.workers.keys()].map((name) => this.consumers.get(name));
    await Promise.all(workers.map((worker) => worker.drain(0)));
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
    this.#store.remove();
  }

  /** Takes a step, with a view to the one after it. */
  async take(step, next) {
    switch (step.verb) {
      case "advance":
        return this.advance(span(step.advance), step.times);
      case "pending":
        await this.turn();
        return check(!named(this.background, step.pending).ended, "it has ended");
      case "cancel":
        return this.#cancel(remove(this.background, step.cancel));
      case "drop":
        return this.#drop(step.drop);
      case "drop_session":
        // Forgotten as by leaving its scope.
        return remove(this.sessions, step.drop_session)[Symbol.asyncDispose]();
      case "drop_consumer":
        return remove(this.consumers, step.drop_consumer)[Symbol.asyncDispose]();
      case "configure":
        this.#options.set(step.configure, step.options);
        return this.#reopen(step.configure);
    }
    if (step.join !== undefined) {
      return finish(this, step, remove(this.background, step.join).came);
    }
    const giveUp = new AbortController();
    const { came } = await begin(this, step, step.start && giveUp.signal);
    // What is given up next is given up before what this step woke has its turn.
    if (next?.verb === "cancel") this.background.get(next.cancel)?.giveUp.abort();
    if (step.start === undefined) return finish(this, step, came);
    const background = { verb: step.verb, came, giveUp, ended: false };
    const end = () => {
      background.ended = true;
    };
    came.then(end, end);
    this.background.set(step.start, background);
  }

  /** Lets so many milliseconds pass. */
  async advance(by, times = 1) {
    for (let time = 0; time < times; time++) {
      await (this.#engine === undefined ? sleep(by) : this.#engine.advance(by));
    }
  }

  async #cancel({ verb, came, giveUp }) {
    giveUp.abort();
    // It may have ended unseen; what it brought is then as if its program had lost it.
    const ended = await came.catch(() => undefined);
    if (verb === "send" && ended !== undefined) throw new TooLate();
    await ended?.close?.();
  }

  async #drop(name) {
    const lost = this.#forget(name);
    // Nothing hears of it before it is collected; a consumer counts it as in hand until then.
    const consumes = this.#scenario.steps.some(({ verb }) => verb === "consume");
    if (consumes) await collected(lost);
  }

  /** Forgets a delivery. Waits for nothing, so that nothing of it is left in what waits. */
  #forget(name) {
    const dropped = named(this.deliveries, name);
    // Its other names would keep it.
    for (const [name, other] of this.deliveries) {
      if (other === dropped) this.deliveries.delete(name);
    }
    return new WeakRef(dropped);
  }

  /** Whatever is to end a step in the background, and was woken before, has its turn. */
  async turn() {
    if (this.#engine !== undefined) return this.#engine.settled();
    const client = await this.client("a turn");
    const giveUp = new AbortController();
    const wait = client.queue("turn").receive({ signal: giveUp.signal });
    giveUp.abort();
    await wait.catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** The client of this name, connected at its first use. */
  async client(name) {
    return this.#clients.get(name) ?? this.#connect(name, this.#store.url, {});
  }

  async #connect(name, url, options) {
    const client = await connect(url, { ...options, runtime: this.#runtime });
    this.#clients.set(name, client);
    return client;
  }

  /** Connects a client in a way of its own. */
  async connect({ connect: name, url = this.#store.url, url_options: query, require }) {
    const whole = query === undefined ? url : `${url}${url.includes("?") ? "&" : "?"}${query}`;
    await this.#connect(name, whole, { require });
    this.#reopen(name);
  }

  #reopen(client) {
    for (const key of this.#queues.keys()) {
      if (key.startsWith(`${client}\n`)) this.#queues.delete(key);
    }
  }

  /** The queue of a step, opened, and created, at its first use. */
  async queue({ client = "a", queue = "jobs" }) {
    const key = `${client}\n${queue}`;
    let opened = this.#queues.get(key);
    if (opened === undefined) {
      const options = this.#options.get(client) ?? this.#scenario.options;
      const opener = await this.client(client);
      opened = opener.queue(this.queueName(queue), camelKeys(options));
      // Where its first use does not.
      const byItself = opener.capabilities.support.create_at_first_use !== "unsupported";
      if (!byItself && options?.create !== "never") {
        await opened.create().catch((error) => {
          if (!(error instanceof AlreadyExistsError)) throw error;
        });
      }
      this.#queues.set(key, opened);
    }
    return opened;
  }

  /** The name that a queue of the scenario has in the store. */
  queueName(name) {
    return this.#store.queueName(name);
  }

  /** A moment of the scenario. */
  moment(text) {
    const since = text === undefined ? undefined : spanOrNone(text);
    return since === undefined ? undefined : new Date(this.start + since);
  }
}
