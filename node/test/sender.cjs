// A worker thread of processes.test.mjs that ends by itself.

const { connect } = require("queue-runtime");

async function main() {
  const client = await connect("memory:shared");
  await client.queue("jobs").send("from a thread");
  await client.close();
}

main();
