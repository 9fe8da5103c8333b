// Puts the addon where the package looks for it: one that is built already, when QRT_ADDON names
// it, else one built now by cargo.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const libraries = { darwin: "libqueue_runtime_node.dylib", win32: "queue_runtime_node.dll" };
const library = libraries[process.platform] ?? "libqueue_runtime_node.so";

function build() {
  const flags = ["build", "--release", "--locked", "-p", "queue-runtime-node"];
  execFileSync("cargo", flags, { cwd: here, stdio: "inherit" });
  const target = process.env.CARGO_TARGET_DIR ?? join(here, "..", "target");
  return join(target, "release", library);
}

const addon = join(here, "dist", "queue_runtime.node");
mkdirSync(dirname(addon), { recursive: true });
// Not over the old one: a process may have it loaded.
rmSync(addon, { force: true });
copyFileSync(process.env.QRT_ADDON ?? build(), addon);
