//! Rows into PostgreSQL, beside upserts by hand: the same server, the same rows, the same batches.

use std::time::{Duration, Instant};

use bytes::Bytes;
use queue_runtime_core::{Entry, Runtime, WriteBehind, WriteBehindOptions};
use tokio_postgres::{Client, NoTls};

use self::server::Server;
use super::AREA;
use crate::Result;
use crate::measure::{Samples, rate, take_turns};
use crate::report::{Goal, Row, Unit};

#[path = "../../../services/postgres.rs"]
#[allow(dead_code)] // the benches never restart it
pub(super) mod server;

const ROUNDS: usize = 9;
const BATCH: usize = 1000;
const BATCHES: usize = 20;
/// Rows of each table, all of which are there before.
const HOT: u64 = 100_000;

/// The same rows in both forms.
struct Rows {
    ids: Vec<i64>,
    texts: Vec<String>,
    entries: Vec<Bytes>,
}

impl Rows {
    /// Random ids; within a batch each comes once, since the server refuses it twice.
    fn new() -> Self {
        let ids: Vec<i64> = (0..(BATCH * BATCHES) as u64)
            .map(|n| (n.wrapping_mul(2_654_435_761) % HOT) as i64)
            .collect();
        let texts: Vec<String> = ids.iter().map(|id| format!("{id:01000}")).collect();
        let entry = |(id, text): (&i64, &String)| {
            Bytes::from(format!(
                r#"{{"id": {id}, "version": 7, "payload": "{text}"}}"#
            ))
        };
        let entries = ids.iter().zip(&texts).map(entry).collect();
        Self {
            ids,
            texts,
            entries,
        }
    }
}

/// A server that keeps what it commits, for all rows of the area.
pub fn start() -> Result<Server> {
    let settings = ["fsync=on", "max_wal_size=4GB", "checkpoint_timeout=1h"];
    Server::start(&settings).ok_or("PostgreSQL is needed: scripts/setup installs it".into())
}

pub fn rows(runtime: &Runtime, server: &Server) -> Result<Vec<Row>> {
    let rows = Rows::new();
    let by_hand = runtime.block_on(connect(server))??;
    let open = |table: &str, writers: usize| -> Result<WriteBehind> {
        runtime.block_on(async {
            let create = format!(
                "CREATE TABLE {table} (id bigint PRIMARY KEY, version int, payload text); \
                 INSERT INTO {table} SELECT n, 0, repeat('x', 1000) \
                 FROM generate_series(0, {HOT} - 1) n"
            );
            by_hand.batch_execute(&create).await?;
            let options = WriteBehindOptions {
                sink: Some(server.url.as_str().into()),
                table: Some(table.to_owned()),
                key: Some(vec!["id".to_owned()]),
                batch_size: Some(BATCH),
                writers: Some(writers),
                flush_interval: Some(Duration::from_millis(50)),
                ..WriteBehindOptions::default()
            };
            Ok(WriteBehind::open(runtime, options).await?)
        })?
    };
    let (one, two) = (open("one", 1)?, open("two", 2)?);
    open("hand", 1)?;
    let ours = |sut: &WriteBehind, table: &str| -> Result<f64> {
        runtime.block_on(async {
            clean(&by_hand, table).await?;
            let start = Instant::now();
            for entry in &rows.entries {
                sut.enqueue(Entry::new(entry.clone())).await?;
            }
            sut.flush().await?;
            let rate = rate(rows.entries.len() as u64, start);
            match sut.metrics().total_failed {
                0 => Ok(rate),
                failed => Err(format!("{failed} entries failed").into()),
            }
        })?
    };
    let mut hand = || -> Result<f64> {
        runtime.block_on(async {
            clean(&by_hand, "hand").await?;
            let start = Instant::now();
            upsert_by_hand(&by_hand, &rows).await?;
            Ok(rate(rows.ids.len() as u64, start))
        })?
    };
    let [one, two, hand]: [Samples; 3] = take_turns(
        ROUNDS,
        [
            &mut || ours(&one, "one"),
            &mut || ours(&two, "two"),
            &mut hand,
        ],
    )?;
    let row = |name: &str, side, goal| Row::beside(AREA, name, Unit::Rate, side, &hand, goal);
    Ok(vec![
        row(
            "PostgreSQL, enqueue one at a time: tokio-postgres UNNEST upserts of 1,000 by hand",
            &one,
            Goal::AtLeast(0.95),
        )
        .unless_met(
            "The entries are JSON, which is read on our side of the clock; two writers do it beside \
             the server's work.",
        ),
        row("the same with two writers", &two, Goal::None),
    ])
}

async fn connect(server: &Server) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(&server.url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Each round finds its table as the one before found it.
async fn clean(client: &Client, table: &str) -> Result<()> {
    client.batch_execute(&format!("VACUUM {table}")).await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

async fn upsert_by_hand(client: &Client, rows: &Rows) -> Result<()> {
    let statement = client
        .prepare(
            "INSERT INTO hand (id, version, payload) \
             SELECT * FROM UNNEST($1::bigint[], $2::int[], $3::text[]) \
             ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, payload = EXCLUDED.payload",
        )
        .await?;
    for (ids, texts) in rows.ids.chunks(BATCH).zip(rows.texts.chunks(BATCH)) {
        let versions = vec![7i32; ids.len()];
        client
            .execute(&statement, &[&ids, &versions, &texts])
            .await?;
    }
    Ok(())
}
