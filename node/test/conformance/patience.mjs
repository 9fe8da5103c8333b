// How long things may take in real time.

import { setTimeout as sleep } from "node:timers/promises";

import { Broken } from "./check.mjs";

/** How long a step may take before it is given up. */
const PATIENCE = 30_000;

/** What a step comes to, if it ends. */
export async function patiently(step) {
  let timer;
  const patience = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Broken("it did not end")), PATIENCE);
  });
  try {
    return await Promise.race([step, patience]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks until this holds. */
export async function eventually(look) {
  const end = performance.now() + PATIENCE / 2;
  while (performance.now() < end) {
    try {
      return look();
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
    }
    await sleep(1);
  }
  look();
}
