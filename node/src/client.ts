/** Clients of a provider. */

import { checkOptions, checkSignal, checkString, wrong } from "./check.js";
import { type SignalOptions, signalOf } from "./delivery.js";
import { type Home, nothing, now, own, readNumber, readText, request, start } from "./link.js";
import { native } from "./native.js";
import {
  type BreakerState,
  type Capability,
  CLIENT_OPTIONS,
  QUEUE_OPTIONS,
  type QueueOptions,
  toJson,
} from "./options.js";
import { Queue } from "./queue.js";
import { Runtime } from "./runtime.js";

/** Options of a client; those of its queues hold for every queue that says nothing else. */
export interface ConnectOptions extends QueueOptions, SignalOptions {
  /** Capabilities without which it does not open. */
  require?: readonly Capability[] | undefined;
  /**
   * When all queues of the client leave the provider alone since it is away: failures in a row,
   * pause, and successes in a row, like `"5,30s,3"`. Off by default.
   */
  clientBreaker?: string | undefined;
  /** The threads and time it stands on; those that the process shares. */
  runtime?: Runtime | undefined;
}

/** How a provider does something. */
export type Support = "native" | "emulated" | "unsupported";

/** What a provider can do. */
export interface Capabilities {
  /** The provider. */
  readonly provider: string;
  /** How it does what, by name. */
  readonly support: Readonly<Record<Capability, Support>>;
  /** Limits of the provider's own, as numbers; `null` is none. */
  readonly limits: Readonly<Record<string, number | null>>;
}

/**
 * Opens a client of the provider that `url` names, such as `"memory:"`; an empty one takes
 * `QUEUE_RUNTIME_URL`. Creates no queue and lists none.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  checkString("url", url);
  const {
    runtime = Runtime.shared,
    signal,
    ...config
  } = checkOptions("connect", CLIENT_OPTIONS, options);
  if (!(runtime instanceof Runtime)) throw wrong("runtime", "a Runtime", runtime);
  const json = toJson("connect", CLIENT_OPTIONS, config);
  const home = { refed: true };
  request.begin().number(Runtime.slotOf(runtime)).text(url).text(json);
  const slot = await start(native.connect, readNumber, undefined, home, checkSignal(signal));
  return new Client(slot, runtime, home);
}

/** A connection to one provider. */
export class Client implements AsyncDisposable {
  /** The threads and time it stands on. */
  readonly runtime: Runtime;
  readonly #slot: number;
  readonly #home: Home;

  /** @internal */
  constructor(slot: number, runtime: Runtime, home: Home) {
    this.runtime = runtime;
    this.#slot = slot;
    this.#home = home;
    own(this, native.dropClient, slot);
  }

  /** A queue. Asks no network and creates nothing; `T` is what its messages say as JSON. */
  queue<T = unknown>(name: string, options?: QueueOptions): Queue<T> {
    checkString("name", name);
    const json = toJson("queue", QUEUE_OPTIONS, options);
    request.begin().number(this.#slot).text(name).text(json);
    const slot = now(native.openQueue, readNumber, undefined);
    return new Queue<T>(slot, { home: this.#home, name, expected: 0 });
  }

  /** What the provider can do, and its limits. */
  get capabilities(): Capabilities {
    request.begin().number(this.#slot);
    return JSON.parse(now(native.capabilities, readText, undefined));
  }

  /** Where the breaker of the whole client stands, `clientBreaker`; closed where there is none. */
  get breakerState(): BreakerState {
    request.begin().number(this.#slot);
    return now(native.clientBreakerState, readText, undefined) as BreakerState;
  }

  /**
   * Closes the breaker of the whole client by hand, and forgets what failed. Those of its queues stay
   * as they are.
   */
  resetBreaker(): void {
    request.begin().number(this.#slot);
    now(native.resetClientBreaker, nothing, undefined);
  }

  /** The metrics of all clients of its runtime, as OpenMetrics text. */
  metrics(): string {
    return this.runtime.metrics();
  }

  /**
   * Ends it: calls that wait reject with `ClosedError`, and so do later ones; loops over messages
   * end, and workers stop. Deliveries in hand come back when their locks end. Again does nothing.
   */
  async close(options?: SignalOptions): Promise<void> {
    const signal = signalOf("close", options);
    request.begin().number(this.#slot);
    return start(native.closeClient, nothing, undefined, this.#home, signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * From now on calls that wait, on whatever belongs to this client, do not keep the process alive.
   */
  unref(): this {
    this.#home.refed = false;
    return this;
  }

  /** Calls that wait keep the process alive, as they do from the start. */
  ref(): this {
    this.#home.refed = true;
    return this;
  }
}
