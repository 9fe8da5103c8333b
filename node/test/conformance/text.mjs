// Values as the scenario files write them.

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration in milliseconds. */
export function span(text) {
  const [, count, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? [];
  if (unit === undefined) throw new Error(`${JSON.stringify(text)} is not a duration`);
  return Number(count) * UNITS[unit];
}

export function someSpan(text) {
  return text === undefined ? undefined : span(text);
}

/** A duration, or none. */
export function spanOrNone(text) {
  return text === "none" ? undefined : span(text);
}

/** Bytes: the text's, or after `hex:` the bytes it names. */
export function bytes(text) {
  if (!text.startsWith("hex:")) return Buffer.from(text);
  const hex = text.slice(4);
  if (!/^([0-9a-f]{2})*$/i.test(hex)) throw new Error(`${text} is not hexadecimal`);
  return Buffer.from(hex, "hex");
}

/** A value with its short forms written out: first ranges, then repetitions. */
export function expand(value) {
  if (typeof value === "string") {
    if (range(value))
      throw new Error(`the range in ${JSON.stringify(value)} stands outside of a list`);
    return repeat(value);
  }
  if (Array.isArray(value)) return value.flatMap(expandEntry);
  if (isTable(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [repeat(key), expand(inner)]),
    );
  }
  return value;
}

function expandEntry(entry) {
  const length = lengthOf(entry);
  if (length === undefined) return [expand(entry)];
  return Array.from({ length }, (_, index) => expand(pick(entry, index)));
}

/** How many entries this one stands for; all its ranges are equally long. */
function lengthOf(entry) {
  if (typeof entry === "string") {
    const found = range(entry);
    return found && found.last + 1 - found.first;
  }
  if (!isTable(entry)) return undefined;
  const lengths = Object.values(entry)
    .map(lengthOf)
    .filter((length) => length !== undefined);
  if (new Set(lengths).size > 1)
    throw new Error(`the ranges of ${JSON.stringify(entry)} differ in length`);
  return lengths[0];
}

/** The entry of this index that one stands for. */
function pick(entry, index) {
  if (typeof entry === "string") {
    const found = range(entry);
    return found ? found.before + (found.first + index) + found.after : entry;
  }
  if (!isTable(entry)) return entry;
  return Object.fromEntries(Object.entries(entry).map(([key, inner]) => [key, pick(inner, index)]));
}

/** What stands around the first braces if they hold a range, and its ends. */
function range(text) {
  const [, before, inner, after] = /^([^{]*)\{([^}]*)\}(.*)$/s.exec(text) ?? [];
  const [, first, last] = /^(\d+)\.\.(\d+)$/.exec(inner ?? "") ?? [];
  if (last === undefined || Number(first) > Number(last)) return undefined;
  return { before, first: Number(first), last: Number(last), after };
}

/** The text with each `{x*3}` written out. */
function repeat(text) {
  return text.replace(/\{([^{}]*)\*(\d+)\}/gs, (_, what, times) => what.repeat(Number(times)));
}

export function isTable(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A name of the API for one of the files. */
export function camel(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

export function camelKeys(table) {
  return Object.fromEntries(Object.entries(table ?? {}).map(([key, value]) => [camel(key), value]));
}
