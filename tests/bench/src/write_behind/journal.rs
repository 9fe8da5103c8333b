//! Entries through the journal into a sink that writes at once, beside the journal's own engine.

use std::time::{Duration, Instant};

use bytes::Bytes;
use queue_runtime_core::{
    Entry, Message, QueueOptions, ReceiveOptions, Runtime, SCHEMES, SessionOptions, Verb,
    WriteBehindOptions,
};

use super::{AREA, open};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 9;
const COUNT: usize = 20_000;

pub fn rows(runtime: &Runtime) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for scheme in ["memory", "file"] {
        if SCHEMES.contains(&scheme) {
            rows.push(row(runtime, scheme, 100)?);
            rows.push(row(runtime, scheme, 1000)?);
        }
    }
    Ok(rows)
}

fn row(runtime: &Runtime, scheme: &str, batch: usize) -> Result<Row> {
    let folder = std::env::temp_dir().join(format!("qrt-bench-{}-{batch}", std::process::id()));
    let url = match scheme {
        "file" => format!("file://{}", folder.display()),
        scheme => format!("{scheme}:journal{batch}"),
    };
    let client = runtime.block_on(runtime.connect(url.as_str()))??;
    let queue = client.queue_with("yardstick", QueueOptions::default())?;
    let sut = open(
        runtime,
        WriteBehindOptions {
            journal: Some(url.as_str().into()),
            batch_size: Some(batch),
            flush_interval: Some(Duration::from_millis(5)),
            ..WriteBehindOptions::default()
        },
    )?;
    let body = Bytes::from_static(&BODY);
    let mut ours = || {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..COUNT / batch {
                let entries = (0..batch).map(|_| Entry::new(body.clone()));
                for result in sut.enqueue_many(entries).await {
                    result?;
                }
            }
            sut.flush().await?;
            Ok(rate(COUNT as u64, start))
        })?
    };
    let receive = ReceiveOptions::new().max_messages(batch as u32);
    let mut yardstick = || {
        runtime.block_on(async {
            let session = queue.accept_session(SessionOptions::id("s")).await?;
            let session = session.ok_or("no session")?;
            let start = Instant::now();
            for _ in 0..COUNT / batch {
                let messages = (0..batch).map(|_| Message::new(body.clone()).session("s"));
                for result in queue.send_many(messages).await? {
                    result?;
                }
                let received = session.receive(&receive).await?;
                let settled = received
                    .iter()
                    .map(|delivery| delivery.settlement(Verb::Ack));
                for result in queue.settle(settled.collect()).await? {
                    result?;
                }
            }
            let rate = rate(COUNT as u64, start);
            session.close().await?;
            Ok(rate)
        })?
    };
    let [ours, yardstick] = take_turns(ROUNDS, [&mut ours, &mut yardstick])?;
    runtime.block_on(sut.close(Duration::from_secs(10)))?;
    drop(std::fs::remove_dir_all(folder));
    let name = format!(
        "journal in {scheme}:, instant sink, batches of {batch}: send, receive and ack of the same"
    );
    let goal = match scheme {
        "file" => Goal::AtLeast(0.8),
        _ => Goal::None,
    };
    Ok(Row::beside(AREA, name, Unit::Rate, &ours, &yardstick, goal))
}
