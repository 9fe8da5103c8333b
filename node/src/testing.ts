/** For tests: a fresh engine, and time that moves when it is told to. */

import { type Client, type ConnectOptions, connect } from "./client.js";
import type { RuntimeOptions } from "./options.js";
import { Runtime, virtualRuntime } from "./runtime.js";

/**
 * An engine of its own, empty, in which time stands still: locks, delays, time to live, retries and
 * waits all follow `advance`.
 *
 * ```js
 * await using engine = new TestEngine();
 * const client = await engine.connect();
 * ```
 */
export class TestEngine implements AsyncDisposable {
  /** Its threads and time, for `connect`. */
  readonly runtime: Runtime;
  readonly #clients: Client[] = [];

  /** Makes it, of one thread unless the options say otherwise. */
  constructor(options: RuntimeOptions = {}) {
    // Of one thread, background work is done in its order: what `settled` waits for comes last.
    this.runtime = virtualRuntime({ workerThreads: 1, maxBlockingThreads: 4, ...options });
  }

  /** The present time. */
  get now(): Date {
    return this.runtime.now;
  }

  /** A client of this engine. All share their queues, unless the URL says otherwise. */
  async connect(url = "memory:test", options?: Omit<ConnectOptions, "runtime">): Promise<Client> {
    const client = await connect(url, { ...options, runtime: this.runtime });
    this.#clients.push(client);
    return client;
  }

  /**
   * Lets so many milliseconds pass. When it resolves, whatever was due has happened, and promises
   * that could settle have.
   */
  async advance(by: number): Promise<void> {
    Runtime.advance(this.runtime, by);
    await this.settled();
  }

  /** Resolves when everything has happened that can happen at the present time. */
  async settled(): Promise<void> {
    // A wait that is given up ends on the engine's one thread, after all that was to be done there.
    const client = await connect("memory:", { runtime: this.runtime });
    const giveUp = new AbortController();
    const wait = client.queue("turn").receive({ signal: giveUp.signal });
    giveUp.abort();
    await wait.catch(() => {});
    await client.close();
    // And those who were told have their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Closes its clients. */
  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
