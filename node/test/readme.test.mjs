// The snippets of the READMEs run, and print what they say.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

for (const path of ["../../README.md", "../README.md"]) {
  test(`the snippets of ${path} print what they say`, () => check(path));
}

async function check(path) {
  const readme = readFileSync(new URL(path, import.meta.url), "utf8");
  const snippets = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  assert.ok(snippets.length > 0, "there is one");
  for (const code of snippets) {
    // What a line is said to print stands in a comment behind it.
    const expected = [...code.matchAll(/console\.log\(.*\/\/ prints: (.*)$/gm)].map(
      ([, said]) => said,
    );
    const args = ["--input-type=module", "--eval", code];
    const cwd = fileURLToPath(new URL(".", import.meta.url));
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd });
    assert.equal(stderr, "");
    const printed = stdout.trimEnd().split("\n");
    for (const line of expected) assert.ok(printed.includes(line), `${line} in ${stdout}`);
  }
}
