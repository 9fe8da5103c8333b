/** Session keys: which session a message is of, by its headers. */

import { checkLeast, checkString, wrong } from "./check.js";
import { now as call, readSomeText, request } from "./link.js";
import { native } from "./native.js";

/** A key as it is written. */
type Written =
  | "none"
  | {
      field?: string;
      composite?: readonly string[];
      first_of?: readonly Written[];
      prefix?: string;
      per_hours?: number;
    };

/**
 * Which session a message is of, as a pure function of its headers: the same headers give the same
 * session in every language.
 *
 * ```js
 * const key = SessionKey.field("customer").prefix("c-");
 * await orders.send(order, { headers, session: key.of(headers) });
 * ```
 */
export class SessionKey {
  readonly #written: Written;
  readonly #text: string;

  private constructor(written: Written) {
    this.#written = written;
    this.#text = JSON.stringify(written);
    // It says what is wrong.
    this.of({}, new Date(0));
  }

  /** The value of one header. */
  static field(name: string): SessionKey {
    return new SessionKey({ field: checkString("name", name) });
  }

  /**
   * The values of several headers, of which none may be missing: different values give different
   * sessions.
   */
  static composite(...names: string[]): SessionKey {
    return new SessionKey({ composite: names.map((name) => checkString("names", name)) });
  }

  /**
   * What the first of these finds that finds anything. Give them prefixes, or what is found in one
   * header and what is found in another may be the same session.
   */
  static firstOf(...keys: SessionKey[]): SessionKey {
    return new SessionKey({ first_of: keys.map((key) => SessionKey.#writtenOf(key)) });
  }

  /** No session: nothing is in order. */
  static none(): SessionKey {
    return new SessionKey("none");
  }

  /**
   * A key of its text, which is JSON such as `{"field": "customer", "prefix": "c-"}`.
   * `InvalidConfigError` says what is wrong with it, `SyntaxError` that it is no JSON.
   */
  static parse(text: string): SessionKey {
    return new SessionKey(JSON.parse(checkString("text", text)));
  }

  /** Begins every session with this text, in place of one said before. */
  prefix(text: string): SessionKey {
    return this.#with({ prefix: checkString("text", text) });
  }

  /** Begins another session every so many hours, counted from 1970 UTC. Order holds within each. */
  perHours(hours: number): SessionKey {
    return this.#with({ per_hours: checkLeast("hours", hours) });
  }

  /**
   * The session of a message with these headers; `undefined` when it is of none. `now` is the moment
   * that `perHours` goes by; with a virtual clock pass `runtime.now`.
   */
  of(headers: Readonly<Record<string, string>>, now: Date = new Date()): string | undefined {
    if (typeof headers !== "object" || headers === null) {
      throw wrong("headers", "an object", headers);
    }
    if (!(now instanceof Date) || Number.isNaN(now.getTime())) {
      throw wrong("now", "a valid Date", now);
    }
    const all = Object.entries(headers);
    for (const [name, value] of all) checkString(`headers.${name}`, value);
    request.begin().text(this.#text).number(now.getTime()).number(all.length);
    for (const [name, value] of all) request.text(name).text(value);
    return call(native.sessionKey, readSomeText, undefined);
  }

  /** What `JSON.stringify` writes and `parse` reads. */
  toJSON(): unknown {
    return this.#written;
  }

  #with(more: { prefix?: string; per_hours?: number }): SessionKey {
    return this.#written === "none" ? this : new SessionKey({ ...this.#written, ...more });
  }

  static #writtenOf(key: SessionKey): Written {
    if (!(key instanceof SessionKey)) throw wrong("keys", "SessionKeys", key);
    return key.#written;
  }
}
