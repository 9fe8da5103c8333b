//! Write-behind: what an enqueue costs, and how fast entries reach a database.

mod enqueue;
mod journal;
mod languages;
mod postgres;

use queue_runtime_core::write_behind::Sink;
use queue_runtime_core::{Entry, Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions};

use crate::Result;
use crate::report::Row;

const AREA: &str = "write_behind";

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let mut rows = enqueue::rows(&runtime)?;
    rows.extend(journal::rows(&runtime)?);
    let server = postgres::start()?;
    rows.extend(postgres::rows(&runtime, &server)?);
    rows.extend(languages::rows(&server)?);
    Ok(rows)
}

/// A sink that writes nothing, at once.
fn instant() -> impl Sink {
    |entries: Vec<Entry>| async move { Ok(entries.iter().map(|_| Ok(())).collect()) }
}

fn open(runtime: &Runtime, options: WriteBehindOptions) -> Result<WriteBehind> {
    let opening = WriteBehind::with_sink(runtime, options, instant());
    Ok(runtime.block_on(opening)??)
}
