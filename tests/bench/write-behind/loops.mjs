// The Node row of the area write-behind: rows of 1 KiB into PostgreSQL, by this package and by hand.
// Prints a JSON object of rounds; both sides run in one process, in turns.
//
//     loops.mjs postgres://USER@HOST/DATABASE

import pg from "pg";

import { WriteBehind } from "../../../node/dist/index.mjs";

const ROUNDS = 7;
const BATCH = 1000;
const BATCHES = 20;
/** Rows of each table, all of which are there before. */
const HOT = 100_000;

/** Random ids; within a batch each comes once, since the server refuses it twice. */
const rows = Array.from({ length: BATCH * BATCHES }, (_, number) => {
  const id = Number((BigInt(number) * 2_654_435_761n) % BigInt(HOT));
  return { id, version: 7, payload: String(id).padStart(1000, "0") };
});

const url = process.argv[2];
const client = new pg.Client({ connectionString: url });
await client.connect();
for (const table of ["js_ours", "js_pg"]) {
  await client.query(
    `CREATE TABLE ${table} (id bigint PRIMARY KEY, version int, payload text);
     INSERT INTO ${table} SELECT n, 0, repeat('x', 1000) FROM generate_series(0, ${HOT} - 1) n`,
  );
}
const options = { table: "js_ours", key: "id", batchSize: BATCH };
const writeBehind = await WriteBehind.open(url, options);

async function ours() {
  for (const row of rows) await writeBehind.enqueue(row);
  await writeBehind.flush();
  if (writeBehind.metrics().totalFailed > 0) throw new Error("entries failed");
}

const places = Array.from({ length: BATCH }, (_, n) => `($${3 * n + 1}, $${3 * n + 2}, $${3 * n + 3})`);
const text = `INSERT INTO js_pg (id, version, payload) VALUES ${places.join(", ")}
  ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, payload = EXCLUDED.payload`;

async function byHand() {
  for (let start = 0; start < rows.length; start += BATCH) {
    const batch = rows.slice(start, start + BATCH);
    const values = batch.flatMap(({ id, version, payload }) => [id, version, payload]);
    await client.query({ name: "upsert", text, values });
  }
}

const sides = [
  ["ours", "js_ours", ours],
  ["pg", "js_pg", byHand],
];
const rounds = { ours: [], pg: [] };
for (let round = 0; round <= ROUNDS; round++) {
  for (let turn = 0; turn < sides.length; turn++) {
    const [name, table, side] = sides[(round + turn) % sides.length];
    // Each finds its table as the round before found it.
    await client.query(`VACUUM ${table}`);
    await client.query("CHECKPOINT");
    const start = performance.now();
    await side();
    // The first one warms up.
    if (round > 0) rounds[name].push((1000 * rows.length) / (performance.now() - start));
  }
}
console.log(JSON.stringify(rounds));
await writeBehind.close();
await client.end();
