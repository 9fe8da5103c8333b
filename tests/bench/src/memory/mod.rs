//! The in-memory engine.

mod alone;
mod depth;
mod footprint;
pub mod one_thread;
mod sessions;
mod two_threads;
mod waiting;

use queue_runtime_core::{Client, Queue, QueueOptions, Runtime, RuntimeConfig};

use crate::Result;
use crate::report::Row;

pub use alone::{Loop, run_alone};

const AREA: &str = "memory";
pub const BODY: [u8; 1024] = [0x5a; 1024];

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let mut rows = Vec::new();
    rows.extend(one_thread::rows(&runtime)?);
    rows.extend(two_threads::rows(&runtime)?);
    rows.push(waiting::row(&runtime)?);
    rows.push(sessions::row()?);
    rows.extend(depth::rows(&runtime)?);
    rows.push(footprint::row(&runtime)?);
    Ok(rows)
}

/// A queue of its own, on a client of its own.
pub fn queue(runtime: &Runtime, options: QueueOptions) -> Result<Queue> {
    let client: Client = runtime.block_on(runtime.connect("memory:"))??;
    Ok(client.queue_with("bench", options)?)
}
