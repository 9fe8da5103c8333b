//! A worker with a handler that does nothing, beside as many tasks that receive and ack by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use queue_runtime_core::{ConsumerOptions, Message, Queue, QueueOptions, Runtime, RuntimeConfig};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::AREA;
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 15;
const COUNT: u64 = 50_000;

/// What the same engine calls cost more.
const FOR_EACH: &str = "each delivery is registered with the keeper of locks (an allocation and an \
    entry of a heap), counted into a hand and out of it under a lock that all handlers share, and \
    put behind a pointer of its own for the handler";

pub fn row(concurrency: u32) -> Result<Row> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let queue = crate::memory::queue(&runtime, QueueOptions::default())?;
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [
            &mut || emptied(&runtime, &queue, by_worker(&queue, concurrency)),
            &mut || emptied(&runtime, &queue, by_hand(&queue, concurrency)),
        ],
    )?;
    Ok(Row::beside(
        AREA,
        format!("a worker of concurrency {concurrency}: receive + ack by hand"),
        Unit::Rate,
        &ours,
        &yardstick,
        Goal::AtLeast(0.6),
    )
    .unless_met(FOR_EACH))
}

/// Fills the queue, and measures how fast this empties it.
fn emptied(
    runtime: &Runtime,
    queue: &Queue,
    work: impl Future<Output = Result<()>>,
) -> Result<f64> {
    let messages = (0..COUNT).map(|_| Message::new(&BODY[..]));
    for result in runtime.block_on(queue.send_many(messages))?? {
        result?;
    }
    let start = Instant::now();
    runtime.block_on(work)??;
    Ok(rate(COUNT, start))
}

async fn by_worker(queue: &Queue, concurrency: u32) -> Result<()> {
    let (handled, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let told = done.clone();
    let options = ConsumerOptions::new().concurrency(concurrency);
    let worker = queue.process(options, move |_| {
        if handled.fetch_add(1, Relaxed) + 1 == COUNT {
            told.notify_one();
        }
        std::future::ready(Ok(()))
    })?;
    done.notified().await;
    worker.drain(Duration::from_secs(10)).await;
    Ok(())
}

async fn by_hand(queue: &Queue, tasks: u32) -> Result<()> {
    let mut hands = JoinSet::<queue_runtime_core::Result<()>>::new();
    for _ in 0..tasks {
        let queue = queue.clone();
        hands.spawn(async move {
            while let Some(delivery) = queue.receive_one(Duration::ZERO).await? {
                delivery.ack().await?;
                tokio::task::consume_budget().await;
            }
            Ok(())
        });
    }
    while let Some(ended) = hands.join_next().await {
        ended??;
    }
    Ok(())
}
