// A PostgreSQL server of a test's own, through the script that starts one for all languages.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("../../tests/services/postgres", import.meta.url));

/** A server while it runs. It ends with this process, however that ends. */
export class Server {
  #script = spawn("python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
  #answers = createInterface({ input: this.#script.stdout })[Symbol.asyncIterator]();
  url;

  /** Starts one; `undefined` where PostgreSQL is not installed. */
  static async start() {
    const server = new Server();
    const [said, url] = (await server.#answers.next()).value.split(" ");
    server.url = url;
    return said === "ready" ? server : undefined;
  }

  /** The rows of a query, or of statements, as text. */
  ask(query) {
    const command = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", query, this.url];
    return execFileSync("psql", command, { encoding: "utf8" }).trim();
  }

  /** Ends it as a crash would. */
  async kill() {
    await this.#tell("kill");
  }

  /** Starts it again, at the same URL. */
  async restart() {
    await this.#tell("start");
  }

  async close() {
    this.#script.stdin.end();
    await once(this.#script, "exit");
  }

  async #tell(command) {
    this.#script.stdin.write(`${command}\n`);
    if ((await this.#answers.next()).done) throw new Error("the script ended");
  }
}
