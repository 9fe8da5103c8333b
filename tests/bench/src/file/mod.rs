//! The durable engine.

mod callers;
mod languages;
mod one_store;
mod opening;
mod processes;
mod waking;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use queue_runtime_core::{
    Client, Message, Queue, QueueOptions, ReceiveOptions, Runtime, RuntimeConfig, Settlement, Verb,
    blocking,
};

use crate::Result;
use crate::memory::BODY;
use crate::report::Row;

pub use processes::worker;
pub use waking::{answer, answer_by_futex};

const AREA: &str = "file";
const BATCH: usize = 100;

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let mut rows = one_store::rows()?;
    rows.push(callers::row()?);
    rows.push(processes::row()?);
    rows.push(waking::row()?);
    rows.extend(opening::rows()?);
    rows.extend(languages::rows()?);
    Ok(rows)
}

/// A folder that is gone when the row is done.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        let path = target.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn url(&self, durability: &str) -> String {
        format!("file://{}?durability={durability}", self.0.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store in use.
struct Bench {
    runtime: Runtime,
    queue: Queue,
    _client: Client,
}

impl Bench {
    fn open(url: &str) -> Result<Self> {
        Self::open_queue(url, "bench")
    }

    fn open_queue(url: &str, name: &str) -> Result<Self> {
        let runtime = Runtime::new(RuntimeConfig::default())?;
        let client = runtime.block_on(runtime.connect(url))??;
        let options = QueueOptions {
            max_messages: Some(100_000_000),
            max_bytes: Some(1 << 40),
            ..QueueOptions::default()
        };
        Ok(Self {
            queue: client.queue_with(name, options)?,
            _client: client,
            runtime,
        })
    }

    fn message(&self) -> Message {
        Message::new(self.runtime.bodies().copy(&BODY))
    }

    fn send(&self, count: usize) -> Result<()> {
        let messages: Vec<_> = (0..count).map(|_| self.message()).collect();
        for result in at_once(|| self.queue.send_many(messages))? {
            result?;
        }
        Ok(())
    }

    fn receive_and_ack(&self, count: usize) -> Result<()> {
        let options = ReceiveOptions::new()
            .max_messages(count as u32)
            .wait(Duration::ZERO);
        let deliveries = at_once(|| self.queue.receive(&options))?;
        if deliveries.len() != count {
            return Err("the batch came back in parts".into());
        }
        let acks: Vec<Settlement> = deliveries.iter().map(|d| d.settlement(Verb::Ack)).collect();
        for result in at_once(|| self.queue.settle(acks))? {
            result?;
        }
        Ok(())
    }

    /// Messages sent, received and acked in batches, the calling thread leading each flush.
    fn batches(&self, count: u64) -> Result<()> {
        for _ in 0..count / BATCH as u64 {
            self.send(BATCH)?;
            self.receive_and_ack(BATCH)?;
        }
        Ok(())
    }

    /// The same one at a time.
    fn singles(&self, count: u64) -> Result<()> {
        for _ in 0..count {
            at_once(|| self.queue.send(self.message()))?;
            let delivery = at_once(|| self.queue.receive_one(Duration::ZERO))?;
            let delivery = delivery.ok_or("the queue is empty")?;
            at_once(|| delivery.ack())?;
        }
        Ok(())
    }
}

/// The result of a verb that may wait for the disk, so that its first poll has it.
fn at_once<F: Future>(verb: impl FnOnce() -> F) -> F::Output {
    blocking(
        || match pin!(verb()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("a verb that may block did not answer"),
        },
    )
}
