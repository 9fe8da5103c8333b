// `sqs:` and AWS's own client read each other's messages. Needs a server: its address is in
// QRT_TEST_LOCALSTACK (`services localstack -- node --test test/sqs.test.mjs`).

import assert from "node:assert/strict";
import { after, test } from "node:test";

import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { connect } from "queue-runtime";

const address = process.env.QRT_TEST_LOCALSTACK;
const skip = address === undefined && "no server is running";

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
