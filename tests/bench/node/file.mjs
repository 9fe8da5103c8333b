// The loops of the area `file` in Node, in turns: ours beside a queue by hand on better-sqlite3, in
// batches, flushed each time (`commit`) and not (`os`). Prints messages a second, round by round, as
// JSON.
//
//     node file.mjs FOLDER

import Database from "better-sqlite3";

import { connect } from "../../../node/dist/index.mjs";

const [folder] = process.argv.slice(2);
const BODY = Buffer.alloc(1024, 0x5a);
const ROUNDS = 5;
const BATCH = 100;
const COUNTS = { commit: 5_000, os: 20_000 };

function check(holds, what) {
  if (!holds) throw new Error(what);
}

async function ours(queue, count) {
  for (let done = 0; done < count; done += BATCH) {
    const sent = await queue.sendMany(Array.from({ length: BATCH }, () => BODY));
    sent.throwForErrors();
    const deliveries = await queue.receive({ maxMessages: BATCH, wait: 0 });
    check(deliveries.length === BATCH, "the batch came back in parts");
    const settled = await queue.settle(deliveries.map((delivery) => ({ ack: delivery })));
    settled.throwForErrors();
  }
}

function byHand(durability) {
  const db = new Database(`${folder}/better-sqlite-${durability}.db`);
  db.pragma("journal_mode = WAL");
  db.pragma(`synchronous = ${durability === "commit" ? "FULL" : "OFF"}`);
  db.exec("CREATE TABLE q (id INTEGER PRIMARY KEY, body BLOB, locked INTEGER)");
  db.exec("CREATE INDEX ready ON q (locked, id)");
  const insert = db.prepare("INSERT INTO q (body, locked) VALUES (?, 0)");
  const select = db.prepare("SELECT id, body FROM q WHERE locked = 0 ORDER BY id LIMIT ?");
  const lock = db.prepare("UPDATE q SET locked = ? WHERE id = ?");
  const remove = db.prepare("DELETE FROM q WHERE id = ?");
  const send = db.transaction(() => {
    for (let n = 0; n < BATCH; n++) insert.run(BODY);
  });
  const receive = db.transaction(() => {
    const rows = select.all(BATCH);
    for (const { id } of rows) lock.run(Date.now() + 30_000, id);
    return rows;
  });
  const ack = db.transaction((rows) => {
    for (const { id } of rows) remove.run(id);
  });
  return (count) => {
    for (let done = 0; done < count; done += BATCH) {
      send.immediate();
      const rows = receive.immediate();
      check(rows.length === BATCH, "the batch came back in parts");
      ack.immediate(rows);
    }
  };
}

async function measured(durability, count) {
  const client = await connect(`file://${folder}/${durability}?durability=${durability}`);
  const queue = client.queue("bench");
  const hand = byHand(durability);
  const sides = { batches: () => ours(queue, count), sqlite: async () => hand(count) };
  const samples = { batches: [], sqlite: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    const order = round % 2 === 0 ? ["batches", "sqlite"] : ["sqlite", "batches"];
    for (const side of order) {
      const start = performance.now();
      await sides[side]();
      samples[side].push(count / ((performance.now() - start) / 1000));
    }
  }
  await client.close();
  // The first round was to warm up.
  return { batches: samples.batches.slice(1), sqlite: samples.sqlite.slice(1) };
}

const rounds = {};
for (const [durability, count] of Object.entries(COUNTS)) {
  rounds[durability] = await measured(durability, count);
}
console.log(JSON.stringify(rounds));
