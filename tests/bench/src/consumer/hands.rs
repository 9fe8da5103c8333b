//! Handlers that wait: 64 at a time, beside 64 times one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use queue_runtime_core::{ConsumerOptions, Message, Queue, QueueOptions, Runtime, RuntimeConfig};
use tokio::sync::Notify;

use super::AREA;
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 7;
const EACH: u64 = 200;
const HANDS: u32 = 64;

pub fn row() -> Result<Row> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let queue = crate::memory::queue(&runtime, QueueOptions::default())?;
    let handled = |hands: u32| runtime.block_on(handled(&queue, hands))?;
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [&mut || handled(HANDS), &mut || {
            Ok(f64::from(HANDS) * handled(1)?)
        }],
    )?;
    Ok(Row::beside(
        AREA,
        "handlers that sleep 1 ms, 64 at a time: 64 times one at a time",
        Unit::Rate,
        &ours,
        &yardstick,
        Goal::AtLeast(0.9),
    ))
}

async fn handled(queue: &Queue, hands: u32) -> Result<f64> {
    let count = EACH * u64::from(hands);
    queue
        .send_many((0..count).map(|_| Message::new(&BODY[..])))
        .await?;
    let (handled, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let told = done.clone();
    let start = Instant::now();
    let worker = queue.process(ConsumerOptions::new().concurrency(hands), move |_| {
        let (handled, told) = (handled.clone(), told.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if handled.fetch_add(1, Relaxed) + 1 == count {
                told.notify_one();
            }
            Ok(())
        }
    })?;
    done.notified().await;
    let rate = rate(count, start);
    worker.drain(Duration::from_secs(10)).await;
    Ok(rate)
}
