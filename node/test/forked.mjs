// The child of a test in processes.test.mjs.

import { connect } from "queue-runtime";

const client = await connect("memory:fork");
const queue = client.queue("jobs");
await queue.send("there");
process.send({ ready: (await queue.statistics()).ready }, () => process.disconnect());
