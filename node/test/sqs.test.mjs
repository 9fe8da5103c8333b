// `sqs:` and AWS's own client read each other's messages, and workers work there. Needs servers: their
// addresses are in QRT_TEST_LOCALSTACK and QRT_TEST_MINISTACK (`services localstack ministack -- node
// --test test/sqs.test.mjs`).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { connect } from "queue-runtime";

import { until } from "./engine.mjs";

const address = process.env.QRT_TEST_LOCALSTACK;
const skip = address === undefined && "no server is running";

const ministack = process.env.QRT_TEST_MINISTACK;
const skipWorker = ministack === undefined && "no server is running";

const credentials = { accessKeyId: "test", secretAccessKey: "test" };
const theirs = skip
  ? undefined
  : new SQSClient({ endpoint: address, region: "us-east-1", credentials });
after(() => theirs?.destroy());

/** A queue as both sides have it: ours, and its URL for theirs. */
async function queueOf(t, name, fifo) {
  const keys = "access_key_id=test&secret_access_key=test";
  const client = await connect(`sqs://us-east-1?endpoint=${address}&${keys}&fifo=${fifo}`);
  t.after(() => client.close());
  const QueueName = `node-${process.pid}-${name}${fifo ? ".fifo" : ""}`;
  const Attributes = fifo ? { FifoQueue: "true" } : {};
  await theirs.send(new CreateQueueCommand({ QueueName, Attributes }));
  const { QueueUrl } = await theirs.send(new GetQueueUrlCommand({ QueueName }));
  return { ours: client.queue(QueueName), QueueUrl };
}

async function receiveTheirs(QueueUrl) {
  const {
    Messages: [message],
  } = await theirs.send(
    new ReceiveMessageCommand({
      QueueUrl,
      WaitTimeSeconds: 10,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["All"],
    }),
  );
  await theirs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));
  return message;
}

test("AWS's client reads what we send", { skip }, async (t) => {
  const { ours, QueueUrl } = await queueOf(t, "to-theirs", false);
  await ours.send("grüße", { headers: { kind: "job" } });
  const message = await receiveTheirs(QueueUrl);
  assert.equal(message.Body, "grüße");
  assert.equal(message.MessageAttributes.kind.StringValue, "job");
});

test("we read what AWS's client sends", { skip }, async (t) => {
  const { ours, QueueUrl } = await queueOf(t, "from-theirs", false);
  const MessageAttributes = {
    kind: { DataType: "String", StringValue: "job" },
    raw: { DataType: "Binary", BinaryValue: Uint8Array.of(1, 2, 3) },
  };
  const MessageBody = '{"order": 7}';
  await theirs.send(new SendMessageCommand({ QueueUrl, MessageBody, MessageAttributes }));
  const [delivery] = await ours.receive({ wait: 10_000 });
  assert.deepEqual(delivery.json(), { order: 7 });
  assert.deepEqual(delivery.headers, { kind: "job", raw: "AQID" });
  await delivery.ack();
});

test("sessions are message groups, and dedup ids are the same", { skip }, async (t) => {
  const { ours, QueueUrl } = await queueOf(t, "groups", true);
  await ours.send("ours", { session: "s", dedupId: "d-1" });
  const { Attributes } = await receiveTheirs(QueueUrl);
  assert.equal(Attributes.MessageGroupId, "s");
  assert.equal(Attributes.MessageDeduplicationId, "d-1");

  const group = { MessageGroupId: "t", MessageDeduplicationId: "d-2" };
  await theirs.send(new SendMessageCommand({ QueueUrl, MessageBody: "theirs", ...group }));
  const [delivery] = await ours.receive({ wait: 10_000 });
  assert.equal(delivery.text(), "theirs");
  assert.equal(delivery.session, "t");
  await delivery.ack();
});

const OPTIONS = { lock: 5000, budget: 3, retry: "fixed:1s" };

/** Works until it is told to end. Says each message as it begins, and at its end the report. */
const WORKER = `
  import { connect, Failure } from "queue-runtime";
  const [url, name] = process.argv.slice(1);
  const client = await connect(url);
  const worker = client.queue(name, ${JSON.stringify(OPTIONS)}).process(async (message) => {
    console.log(JSON.stringify([message.text(), message.attempt]));
    if (message.text() === "fails") throw new Error("no table");
    if (message.text() === "broken") throw Failure.permanent("broken", "for good");
    if (message.text() === "hangs") await new Promise(() => {});
  }, { concurrency: 4, drain: 1000, onError: () => {} });
  console.log(JSON.stringify(await worker.run()));
  process.exit(0);
`;

test("a worker handles, fails and drains", { skip: skipWorker }, async (t) => {
  const keys = "access_key_id=test&secret_access_key=test&fifo=false";
  const url = `sqs://us-east-1?endpoint=${ministack}&${keys}`;
  const client = await connect(url);
  t.after(() => client.close());
  const queue = client.queue(`node-${process.pid}-worker`, OPTIONS);
  await queue.create();
  const good = Array.from({ length: 20 }, (_, number) => `good ${number}`);
  (await queue.sendMany([...good, "fails", "broken"])).throwForErrors();

  const args = ["--input-type=module", "--eval", WORKER, url, queue.name];
  const child = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const ended = once(child, "close");
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => JSON.parse((await said.next()).value);

  await until(async () => (await queue.deadLetters()).length === 2);
  const reasons = (await queue.deadLetters()).map((letter) => [letter.text(), letter.reason]);
  assert.deepEqual(Object.fromEntries(reasons), { fails: "max_attempts", broken: "broken" });
  await queue.send("hangs");
  const seen = [];
  while (seen.at(-1)?.[0] !== "hangs") seen.push(await line());
  child.kill("SIGTERM");
  assert.deepEqual(await line(), { finished: 0, released: 1, abandoned: 0 });
  assert.equal((await ended)[0], 0);
  // Each once, but the one that failed as often as it may.
  const expected = [...good, "broken", "hangs"].map((text) => [text, 1]);
  assert.deepEqual(seen.sort(), [...expected, ["fails", 1], ["fails", 2], ["fails", 3]].sort());
  // It was given back. A poll that the worker left behind at the server may have taken it once more;
  // then it comes when that lock ends.
  const [back] = await queue.receive({ wait: 15_000 });
  assert.equal(back.text(), "hangs");
  await back.ack();
  assert.deepEqual(await queue.receive({ wait: 0 }), []);
});
