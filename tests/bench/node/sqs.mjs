// The loops of the area `sqs` in Node: ours and those of AWS's client, in turns. Prints the
// processor's time for a message in microseconds, round by round, as JSON.
//
//     node sqs.mjs ADDRESS

import { createRequire } from "node:module";

import { connect } from "../../../node/dist/index.mjs";

// It is installed beside the package.
const aws = createRequire(new URL("../../../node/package.json", import.meta.url))(
  "@aws-sdk/client-sqs",
);

const ROUNDS = 5;
const LOOPS = 8;
const BATCH = 10;
const MESSAGES = 2000;
const BODY = "x".repeat(1024);

const [address] = process.argv.slice(2);

async function ours(queue) {
  const sent = await queue.sendMany(Array.from({ length: BATCH }, () => BODY));
  sent.throwForErrors();
  for (let left = BATCH; left > 0;) {
    const deliveries = await queue.receive({ maxMessages: BATCH, wait: 2000 });
    if (deliveries.length === 0) return;
    await queue.settle(deliveries.map((delivery) => ({ ack: delivery })));
    left -= deliveries.length;
  }
}

async function theirs(sqs, QueueUrl) {
  const bodies = Array.from({ length: BATCH }, (_, n) => ({ Id: `${n}`, MessageBody: BODY }));
  await sqs.send(new aws.SendMessageBatchCommand({ QueueUrl, Entries: bodies }));
  for (let left = BATCH; left > 0;) {
    const limits = { MaxNumberOfMessages: BATCH, WaitTimeSeconds: 2 };
    const { Messages = [] } = await sqs.send(
      new aws.ReceiveMessageCommand({ QueueUrl, ...limits }),
    );
    if (Messages.length === 0) return;
    const Entries = Messages.map(({ ReceiptHandle }, n) => ({ Id: `${n}`, ReceiptHandle }));
    await sqs.send(new aws.DeleteMessageBatchCommand({ QueueUrl, Entries }));
    left -= Messages.length;
  }
}

/** Microseconds of the processor for a message. */
async function cost(work) {
  const before = process.cpuUsage();
  let left = MESSAGES / BATCH;
  const loop = async () => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: LOOPS }, loop));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / MESSAGES;
}

const keys = "access_key_id=test&secret_access_key=test";
const client = await connect(`sqs://us-east-1?endpoint=${address}&${keys}`);
const queue = client.queue("node-ours");
await queue.create();
const credentials = { accessKeyId: "test", secretAccessKey: "test" };
const sqs = new aws.SQSClient({ endpoint: address, region: "us-east-1", credentials });
const { QueueUrl } = await sqs.send(new aws.CreateQueueCommand({ QueueName: "node-theirs" }));

const sides = { ours: () => ours(queue), theirs: () => theirs(sqs, QueueUrl) };
const samples = { ours: [], theirs: [] };
for (let round = 0; round <= ROUNDS; round++) {
  const order = round % 2 === 0 ? ["ours", "theirs"] : ["theirs", "ours"];
  for (const side of order) samples[side].push(await cost(sides[side]));
}
await client.close();
sqs.destroy();
// The first round was to warm up.
console.log(JSON.stringify({ ours: samples.ours.slice(1), theirs: samples.theirs.slice(1) }));
