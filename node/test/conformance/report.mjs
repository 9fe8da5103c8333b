// What came of the scenarios: a table for people, rows for tools.

import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** Puts the rows in place of those of the same provider and language, in the file all share. */
export function merge(rows, path) {
  let all = [];
  try {
    all = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  const ours = new Set(rows.map(keyOf));
  const others = all.filter((row) => !ours.has(keyOf(row)));
  // Renamed into place: whoever reads meanwhile sees the old rows or the new ones.
  writeFileSync(`${path}.new`, JSON.stringify([...others, ...rows], null, 2));
  renameSync(`${path}.new`, path);
}

function keyOf({ provider, language }) {
  return `${provider}\n${language}`;
}

/** Counts by provider and theme, and the reason of every skip and failure. */
export function print(results) {
  const lines = new Map();
  for (const { theme, row } of results) {
    for (const about of [theme, "all"]) {
      const key = `${row.provider.padEnd(20)} ${about.padEnd(18)}`;
      const counts = lines.get(key) ?? { pass: 0, fail: 0, skip: 0 };
      counts[row.result]++;
      lines.set(key, counts);
    }
  }
  const head = `${"provider".padEnd(20)} ${"scenarios about".padEnd(18)}`;
  console.log(`# ${head} passed failed skipped`);
  for (const [key, { pass, fail, skip }] of [...lines].sort()) {
    const columns = [pass, fail, skip].map((count) => String(count).padStart(6));
    console.log(`# ${key} ${columns.join(" ")}`);
  }
  for (const { row } of results) {
    if (row.reason !== null)
      console.log(`# ${row.provider} ${row.result} ${row.scenario}: ${row.reason}`);
  }
}
