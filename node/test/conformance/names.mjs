// What later steps call by name.

import { check } from "./check.mjs";

export function named(names, name) {
  const thing = names.get(name);
  check(thing !== undefined, `nothing is named ${JSON.stringify(name)}`);
  return thing;
}

export function remove(names, name) {
  const thing = named(names, name);
  names.delete(name);
  return thing;
}
