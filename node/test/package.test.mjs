// The package as others see it: both module systems, types, and what the addon shows.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import * as esm from "queue-runtime";
import * as esmTesting from "queue-runtime/testing";

const require = createRequire(import.meta.url);
const here = fileURLToPath(new URL("..", import.meta.url));

test("both module systems see the same classes", async () => {
  const cjs = require("queue-runtime");
  const cjsTesting = require("queue-runtime/testing");
  const names = Object.keys(cjs).sort();
  assert.deepEqual(
    Object.keys(esm)
      .filter((name) => name !== "__esModule")
      .sort(),
    names,
  );
  for (const name of names) assert.equal(esm[name], cjs[name], name);
  assert.equal(esmTesting.TestEngine, cjsTesting.TestEngine);
  const client = await cjs.connect("memory:");
  await assert.rejects(client.queue("q").send("x", { id: "" }), esm.QueueError);
  await client.close();
});

test("every kind of error has its class", () => {
  for (const [name, value] of Object.entries(esm)) {
    if (!name.endsWith("Error")) continue;
    assert.equal(value.prototype.name, name);
    assert.ok(name === "QueueError" || value.prototype instanceof esm.QueueError);
  }
});

for (const type of ["module", "commonjs"]) {
  test(`a consumer's strict TypeScript compiles as ${type}`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "queue-runtime-types-"));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type }));
    // As installed: by its exports, with Node's types beside it.
    symlinkSync(join(here, "test", "types", "sample.ts"), join(folder, "sample.ts"));
    mkdirSync(join(folder, "node_modules", "@types"), { recursive: true });
    symlinkSync(here, join(folder, "node_modules", "queue-runtime"));
    for (const name of ["@types/node", "undici-types"]) {
      symlinkSync(join(here, "node_modules", name), join(folder, "node_modules", name));
    }
    const options = {
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      module: "node16",
      target: "es2022",
      lib: ["es2022", "esnext.disposable"],
      types: ["node"],
      noEmit: true,
      preserveSymlinks: true,
    };
    const config = { compilerOptions: options, files: ["sample.ts"] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const tsc = join(here, "node_modules", "typescript", "bin", "tsc");
    try {
      execFileSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" });
    } catch (error) {
      assert.fail(error.stdout);
    }
  });
}

test("the addon shows nothing but its registration", { skip: process.platform !== "linux" }, () => {
  const addon = join(here, "dist", "queue_runtime.node");
  const shown = execFileSync("nm", ["-D", "--defined-only", addon], { encoding: "utf8" });
  const names = shown
    .trim()
    .split("\n")
    .map((line) => line.split(" ").at(-1));
  assert.deepEqual(names.sort(), ["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
});
