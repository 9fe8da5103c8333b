// A worker thread of processes.test.mjs: busy in every way until it is terminated.

const { parentPort } = require("node:worker_threads");

const { connect } = require("queue-runtime");

async function main() {
  const client = await connect("memory:threads");
  const shared = client.queue("jobs");
  const own = client.queue("own");
  for (let number = 0; number < 20; number++) own.receive().catch(() => {});
  own.process(() => {}, { concurrency: 2 });
  shared.receive({ lock: 3_600_000 }).catch(() => {});
  parentPort.postMessage("busy");
  for (;;) {
    await own.sendMany(["a", "b", "c"]);
    await own.receive({ maxMessages: 2 });
    await new Promise(setImmediate);
  }
}

main();
