// Being the second process of a scenario: takes the steps of every client but the first, as the
// standard input says. tests/conformance/README.md describes what is said.

import { createInterface } from "node:readline";

import { patiently } from "./patience.mjs";
import { readStep } from "./scenario.mjs";
import { Target } from "./target.mjs";
import { TooLate, why, World } from "./world.mjs";

/** Makes the world in which the steps are taken. */
async function begin({ url, virtual_clock, now_ms, options }) {
  const scenario = { options, steps: [] };
  const world = new World(new Target({ url }), scenario, virtual_clock);
  if (virtual_clock) await world.advance(now_ms);
  return { world, scenario, started: new Map() };
}

/** Does as it is told. Resolves with what came of it, if that is not well. */
async function obey({ world, scenario, started }, { take, advance }) {
  if (advance !== undefined) return world.advance(advance);
  forget(world, take.forget);
  learn(world, take.known);
  try {
    const step = readStep(take.step, started);
    scenario.steps.push(step);
    await patiently(world.take(step));
  } catch (error) {
    return { error: why(error), too_late: error instanceof TooLate };
  }
}

function forget(world, { deliveries, sessions }) {
  for (const name of deliveries) world.deliveries.delete(name);
  for (const name of sessions) world.sessions.delete(name);
}

/** Takes in what the other process may speak of. */
function learn(world, { ids, made, cursors }) {
  for (const [body, id] of ids) world.ids.set(body, id);
  for (const id of made) world.made.add(id);
  for (const [body, cursor] of cursors) world.cursors.set(body, cursor);
}

function say(world, outcome) {
  const names = {
    deliveries: [...world.deliveries.keys()],
    sessions: [...world.sessions.keys()],
    consumers: [...world.consumers.keys()],
    background: [...world.background.keys()],
  };
  const known = { ids: [...world.ids], made: [...world.made], cursors: [...world.cursors] };
  console.log(JSON.stringify({ error: null, ...outcome, names, known }));
}

let scene;
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let outcome;
  if (scene === undefined) {
    scene = await begin(order.begin);
  } else {
    outcome = await obey(scene, order);
    // What was let go, or is due, is done before the other process goes on.
    await scene.world.turn();
  }
  say(scene.world, outcome);
}
await scene?.world.close();
