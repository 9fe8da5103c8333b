// Every conformance scenario from Node, on each target: without a server all in virtual time, those
// that make sense there in real time as well. One line each, for TAP; the rows go into the file named.
//
//     node main.mjs SCENARIOS ROWS.json

import { join } from "node:path";

import { merge, print } from "./report.mjs";
import { scenarios } from "./scenario.mjs";
import { targets } from "./target.mjs";
import { TooLate, World } from "./world.mjs";

/** In real time scenarios wait most of the time, so they wait together. */
const TOGETHER = 16;

/** How often a scenario is begun anew when the engine's thread was quicker than a cancel. */
const TRIES = 1000;

async function runOne(target, scenario, virtual) {
  for (let tries = 0; tries < TRIES; tries++) {
    const world = new World(target, scenario, virtual);
    try {
      await world.run();
      return ["pass", null];
    } catch (error) {
      if (!(error instanceof TooLate)) return ["fail", error.message];
    } finally {
      await world.close();
    }
  }
  return ["fail", "every cancel came too late"];
}

/** Why a scenario is not run: a declared capability, and nothing else. */
function skipped({ needs, lacks }, target) {
  const has = (capability) => target.has(capability);
  const lacking = needs.find((capability) => !has(capability));
  if (lacking !== undefined) return `${lacking} is unsupported`;
  const having = lacks.find(has);
  return having && `${having} is supported`;
}

async function runAll(target, provider, chosen, virtual, results) {
  const left = chosen.values();
  const work = async () => {
    for (const scenario of left) {
      const skip = skipped(scenario, target);
      const [result, reason] = skip ? ["skip", skip] : await runOne(target, scenario, virtual);
      const { theme, name } = scenario;
      const kind = skip ? "capability" : null;
      results.push({
        theme,
        row: { provider, language: "node", scenario: name, result, kind, reason },
      });
      const line = `${result === "fail" ? "not ok" : "ok"} - ${provider}::${theme}::${name}`;
      console.log(skip ? `${line} # SKIP ${skip}` : line);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, work));
}

const [folder, path] = process.argv.slice(2);
const all = scenarios(folder);
const inRealTime = all.filter(({ tags }) => tags.includes("real_time"));

const results = [];
for (const target of await targets(join(folder, "..", "targets.toml"))) {
  const { provider } = target;
  if (target.isServer) {
    await runAll(target, provider, inRealTime, false, results);
  } else {
    await runAll(target, provider, all, true, results);
    await runAll(target, `${provider}-real-time`, inRealTime, false, results);
  }
}

print(results);
merge(
  results.map(({ row }) => row),
  path,
);
const ran = results.filter(({ row }) => row.result !== "skip").length;
if (ran === 0) console.log("not ok - no scenario ran");
process.exitCode = ran === 0 || results.some(({ row }) => row.result === "fail") ? 1 : 0;
