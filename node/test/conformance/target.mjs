// What the scenarios run against: the entries of targets.toml.

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { connect } from "queue-runtime";
import { parse } from "smol-toml";

import { span } from "./text.mjs";

export class Target {
  provider;
  /** Whether it is a server, which is not empty at the start of a scenario. */
  isServer;
  /** How late its messages may be, in milliseconds. */
  slack;
  /** How it has each capability. */
  support;
  #url;
  #stores = 0;

  constructor({ provider, url, server, slack = "0s" }) {
    this.provider = provider;
    this.isServer = server !== undefined;
    this.slack = span(slack);
    this.#url = url.replace("{address}", process.env[server]);
  }

  has(capability) {
    return this.support[capability] !== "unsupported";
  }

  /** Asks it what it can do. */
  async open() {
    const store = this.store();
    const client = await connect(store.url);
    this.support = client.capabilities.support;
    await client.close();
    store.remove();
    return this;
  }

  /** A store that nobody else uses, for one scenario. */
  store() {
    const folder = this.#url.includes("{folder}")
      ? mkdtempSync(join(tmpdir(), "queue-runtime-"))
      : undefined;
    const prefix = this.isServer ? `js${process.pid}-${this.#stores++}-` : "";
    return {
      url: this.#url.replace("{folder}", folder),
      // An empty name stays empty: it is a mistake on purpose.
      queueName: (name) => name && prefix + name,
      remove: () => removeFolder(folder),
    };
  }
}

/** Threads of the store may outlive its last client by the work they are at. */
function removeFolder(folder) {
  while (folder !== undefined && existsSync(folder)) {
    try {
      rmSync(folder, { recursive: true });
    } catch (error) {
      if (!["ENOTEMPTY", "ENOENT"].includes(error.code)) throw error;
    }
  }
}

/** Those without a server, and those whose server is running. */
export function targets(path) {
  const { target } = parse(readFileSync(path, "utf8"));
  const running = target.filter(({ server }) => server === undefined || server in process.env);
  return Promise.all(running.map((entry) => new Target(entry).open()));
}
