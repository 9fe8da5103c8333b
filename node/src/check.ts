/** What callers may pass. What is of the wrong type or unknown is refused by name. */

/** The most that a count can be in the native half. */
const MOST = 2 ** 32 - 1;

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value)
      ? "an array"
      : `an object of ${value.constructor?.name ?? "no class"}`;
  }
  return String(value);
}

/** The error for an argument that is of the wrong type. */
export function wrong(name: string, wanted: string, value: unknown): TypeError {
  return new TypeError(`"${name}" must be ${wanted}, but is ${show(value)}`);
}

export function checkString(name: string, value: unknown): string {
  if (typeof value !== "string") throw wrong(name, "a string", value);
  return value;
}

export function checkSomeString(name: string, value: unknown): string | undefined {
  return value === undefined ? undefined : checkString(name, value);
}

/** Milliseconds. */
export function checkDuration(name: string, value: unknown): number {
  if (typeof value !== "number" || !(value >= 0)) {
    throw wrong(name, "a number of milliseconds, 0 or more", value);
  }
  return value;
}

export function checkSomeDuration(name: string, value: unknown): number | undefined {
  return value === undefined ? undefined : checkDuration(name, value);
}

export function checkCount(name: string, value: unknown, most = MOST): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > most) {
    throw wrong(name, `a whole number from 0 to ${most}`, value);
  }
  return value as number;
}

export function checkLeast(name: string, value: unknown): number {
  if (value === 0) throw wrong(name, "at least 1", value);
  return checkCount(name, value);
}

export function checkFlag(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw wrong(name, "true or false", value);
  return value;
}

export function checkMoment(name: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const moment = value instanceof Date ? value.getTime() : Number.NaN;
  if (!(moment >= 0)) throw wrong(name, "a valid Date, not before 1970", value);
  return moment;
}

export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw wrong("signal", "an AbortSignal", value);
}

export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== "function") throw wrong(name, "a function", value);
}

/** An object whose properties all have one of these names: a misspelt option is an error. */
export function checkOptions<T extends object>(
  of: string,
  names: ReadonlySet<string>,
  value: T,
): T {
  if (typeof value !== "object" || value === null)
    throw wrong(`options of ${of}`, "an object", value);
  for (const name in value) {
    if (!names.has(name)) {
      const known = [...names].join(", ");
      throw new TypeError(`${of} has no option "${name}"; it has ${known}`);
    }
  }
  return value;
}
