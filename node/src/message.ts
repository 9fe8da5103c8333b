/** Messages: what is sent, and what is seen of those that were. */

import { inspect } from "node:util";

import { checkOptions, checkSomeDuration, checkSomeString, checkString, wrong } from "./check.js";
import { isPresent } from "./link.js";
import { type Page, type Request, words } from "./memory.js";

/** What a body may be: bytes and text go as they are, all else as JSON. */
export type Body<T> = T | Uint8Array | string;

/** What a message may carry beside its body. Durations are milliseconds. */
export interface MessageOptions {
  /** An id of the sender's choice, in place of one that is made. */
  id?: string | undefined;
  /** The ordered group it is in: handled in order, by one receiver at a time. */
  session?: string | undefined;
  /** What it answers or belongs to. */
  correlationId?: string | undefined;
  /** The media type of the body; `application/json` of a body that is sent as JSON. */
  contentType?: string | undefined;
  /** Within the dedup window only the first message of this dedup id is stored. */
  dedupId?: string | undefined;
  /** It appears only this long after its sending. */
  delay?: number | undefined;
  /** It expires this long after its sending. */
  ttl?: number | undefined;
  /** Names and values that travel with it. */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** A message of `sendMany`. */
export interface OutgoingMessage<T = unknown> extends MessageOptions {
  /** Bytes and text go as they are, all else as JSON. */
  body: Body<T>;
}

const OPTIONS = [
  "id",
  "session",
  "correlationId",
  "contentType",
  "dedupId",
  "delay",
  "ttl",
  "headers",
];
export const MESSAGE_OPTIONS: ReadonlySet<string> = new Set(OPTIONS);
const OUTGOING_OPTIONS: ReadonlySet<string> = new Set(["body", ...OPTIONS]);

/** A message, checked and ready to be written: writing runs nobody else's code. */
export interface Ready {
  body: Uint8Array | string;
  more: More | undefined;
}

interface More {
  texts: (string | undefined)[];
  delay: number | undefined;
  ttl: number | undefined;
  headers: [string, string][];
}

export function ready(body: unknown, options: MessageOptions | undefined): Ready {
  if (typeof body === "string" || body instanceof Uint8Array) {
    return { body, more: options && more(options) };
  }
  if (ArrayBuffer.isView(body)) {
    const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
    return { body: bytes, more: options && more(options) };
  }
  if (body instanceof ArrayBuffer || body instanceof SharedArrayBuffer) {
    return { body: new Uint8Array(body), more: options && more(options) };
  }
  const json = JSON.stringify(body);
  if (json === undefined) throw wrong("body", "bytes, a string, or what JSON can say", body);
  const with_ = more(options ?? {});
  with_.texts[3] ??= "application/json";
  return { body: json, more: with_ };
}

/** A message of `sendMany`. */
export function readyOf(message: unknown): Ready {
  if (typeof message === "string" || message instanceof Uint8Array) {
    return { body: message, more: undefined };
  }
  if (typeof message !== "object" || message === null || !("body" in message)) {
    throw wrong("message", "bytes, a string, or an object with a body", message);
  }
  checkOptions("a message", OUTGOING_OPTIONS, message);
  return ready(message.body, message as MessageOptions);
}

function more(options: MessageOptions): More {
  const { headers = {} } = options;
  if (typeof headers !== "object" || headers === null) throw wrong("headers", "an object", headers);
  return {
    // In the order of the native half.
    texts: [
      checkSomeString("id", options.id),
      checkSomeString("session", options.session),
      checkSomeString("correlationId", options.correlationId),
      checkSomeString("contentType", options.contentType),
      checkSomeString("dedupId", options.dedupId),
    ],
    delay: checkSomeDuration("delay", options.delay),
    ttl: checkSomeDuration("ttl", options.ttl),
    headers: Object.entries(headers).map(([name, value]) => [
      name,
      checkString(`headers.${name}`, value),
    ]),
  };
}

export function write(request: Request, { body, more }: Ready): void {
  if (typeof body === "string") request.text(body);
  else request.bytes(body);
  request.flag(more !== undefined);
  if (more === undefined) return;
  for (const text of more.texts) request.someText(text);
  request.someNumber(more.delay).someNumber(more.ttl).number(more.headers.length);
  for (const [name, value] of more.headers) request.text(name).text(value);
}

/** What came of a message that was sent. */
export interface SendResult {
  /** The id of the stored message; of the first one, if this was a duplicate. */
  readonly id: string;
  /** Whether it was not stored, because one of the same dedup id was before it. */
  readonly isDuplicate: boolean;
}

/** The fields of a message after its body, in the order of the native half. */
const ID = 0;
const SESSION = 1;
const CORRELATION_ID = 2;
const CONTENT_TYPE = 3;
const DEDUP_ID = 4;
const TTL = 5;

/**
 * A message as it was received or looked at. Stays bytes until it is asked for something; it can be
 * kept as long as wanted.
 */
export class ReceivedMessage<T = unknown> {
  readonly #page: Page;
  readonly #at: number;
  #body: Buffer | undefined;

  /** @internal */
  constructor(page: Page, at: number) {
    this.#page = page;
    this.#at = at;
  }

  /**
   * The body. A view of memory that it may share with other messages: copy what is to be kept long
   * after the message, or to be changed.
   */
  get body(): Buffer {
    this.#body ??= this.#page.slice(this.#at + 1);
    return this.#body;
  }

  /** The body as text, which it must be in UTF-8. */
  text(): string {
    return this.#page.text(this.#at + 1);
  }

  /**
   * The body read as JSON.
   * @throws SyntaxError if it is none.
   */
  json(): T {
    return JSON.parse(this.text());
  }

  /** The id: the sender's, or one that was made. */
  get id(): string {
    return this.#page.text(this.#field(ID));
  }

  /** The ordered group it is in. */
  get session(): string | undefined {
    return this.#page.someText(this.#field(SESSION));
  }

  /** What it answers or belongs to. */
  get correlationId(): string | undefined {
    return this.#page.someText(this.#field(CORRELATION_ID));
  }

  /** The media type of the body. */
  get contentType(): string | undefined {
    return this.#page.someText(this.#field(CONTENT_TYPE));
  }

  /** The dedup id. */
  get dedupId(): string | undefined {
    return this.#page.someText(this.#field(DEDUP_ID));
  }

  /** How long after its sending it expires, in milliseconds. */
  get ttl(): number | undefined {
    return this.#page.someNumber(this.#field(TTL));
  }

  /** The headers. */
  get headers(): Record<string, string> {
    let at = this.#field(TTL) + 1;
    const headers: Record<string, string> = {};
    for (let left = this.#page.number(at++); left > 0; left--) {
      const name = this.#page.text(at);
      at = this.#page.after(at);
      // Also one whose name means something to objects.
      const value = this.#page.text(at);
      Object.defineProperty(headers, name, {
        value,
        enumerable: true,
        writable: true,
        configurable: true,
      });
      at = this.#page.after(at);
    }
    return headers;
  }

  /** Where a field after the body begins. */
  #field(field: number): number {
    let at = this.#at + 2 + words(this.#page.number(this.#at + 1));
    for (let passed = 0; passed < field; passed++) at = this.#page.after(at);
    return at;
  }

  /**
   * A number beside the message: so many words before it.
   * @internal
   */
  protected before(words: number): number {
    return this.#page.number(this.#at - words);
  }

  /**
   * Whether its page is the one that replies are written into.
   * @internal
   */
  protected get isYoung(): boolean {
    return isPresent(this.#page);
  }

  /** What a log shows: never the body. */
  [inspect.custom](_depth: number, options: object): string {
    return `${this.constructor.name} ${inspect(this.shown(), options)}`;
  }

  /** @internal */
  shown(): Record<string, unknown> {
    const { id, session, headers } = this;
    return { id, ...(session !== undefined && { session }), headers };
  }
}
