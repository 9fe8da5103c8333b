//! Prices that change often, written behind: 10,000 changes of 100 items in batches, into the table
//! `prices` of the database that the URL names, and into a function of the program. One price that
//! the table refuses is found and given back. At the end everything must add up, or the program
//! fails.
//!
//! ```sh
//! cargo run --features sqlite --example write_behind sqlite:prices.db
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use queue_runtime_core::{Entry, ErrorKind, Runtime, WriteBehind, WriteBehindOptions};
use serde::{Deserialize, Serialize};

const CHANGES: u64 = 10_000;
const ITEMS: u64 = 100;

#[derive(Serialize, Deserialize)]
struct Price {
    item: String,
    cents: u64,
}

/// Changes of prices; the last one is free, which no price may be.
fn changes() -> impl Iterator<Item = Price> {
    let changes = (0..CHANGES).map(|n| Price {
        item: format!("item {}", n % ITEMS),
        cents: n + 1,
    });
    let free = Price {
        item: "free".to_owned(),
        cents: 0,
    };
    changes.chain([free])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: write_behind sqlite:FILE or postgres://USER@HOST/DATABASE";
    let url = std::env::args().nth(1).ok_or(usage)?;
    let scheme = url.split(':').next().unwrap_or_default();
    let into_table = WriteBehindOptions {
        sink: Some(url.as_str().into()),
        table: Some("prices".to_owned()),
        key: Some(vec!["item".to_owned()]),
        ..WriteBehindOptions::default()
    };
    let prices = WriteBehind::open(&Runtime::shared()?, into_table).await?;
    run(scheme, prices).await?;

    // Into the program: entries come in batches, and each has its result.
    let total = Arc::new(AtomicU64::new(0));
    let counted = total.clone();
    let sink = move |entries: Vec<Entry>| {
        let total = counted.clone();
        async move { Ok(entries.iter().map(|entry| count(&total, entry)).collect()) }
    };
    let options = WriteBehindOptions::default();
    let prices = WriteBehind::with_sink(&Runtime::shared()?, options, sink).await?;
    run("program", prices).await?;
    let expected = CHANGES * (CHANGES + 1) / 2;
    if total.load(Ordering::Relaxed) != expected {
        return Err(format!("the prices do not add up to {expected}").into());
    }
    Ok(())
}

fn count(total: &AtomicU64, entry: &Entry) -> queue_runtime_core::Result<()> {
    let bad = |what: String| queue_runtime_core::Error::new(ErrorKind::InvalidMessage, what);
    let price: Price = serde_json::from_slice(entry.body()).map_err(|e| bad(e.to_string()))?;
    if price.cents == 0 {
        return Err(bad(format!("{} has no price", price.item)));
    }
    total.fetch_add(price.cents, Ordering::Relaxed);
    Ok(())
}

async fn run(sink: &str, prices: WriteBehind) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    for change in changes() {
        prices.enqueue(Entry::json(&change)?).await?;
    }
    let accepted = start.elapsed();
    prices.flush().await?;
    let written = start.elapsed();
    let rejected = prices.take_rejected();
    let report = prices.close(Duration::from_secs(10)).await;
    let metrics = report.metrics;
    static HEADING: OnceLock<()> = OnceLock::new();
    HEADING.get_or_init(|| println!("sink       accepted    written  batches  persisted  failed"));
    println!(
        "{sink:9} {:>6.1} ms {:>7.1} ms  {:>7}  {:>9}  {:>6}",
        accepted.as_secs_f64() * 1e3,
        written.as_secs_f64() * 1e3,
        metrics.total_batches,
        metrics.total_persisted,
        metrics.total_failed,
    );
    let [free] = &rejected[..] else {
        return Err(format!("{} entries were given up", rejected.len()).into());
    };
    let price: Price = serde_json::from_slice(free.entry.body())?;
    if price.item != "free" || metrics.total_persisted != CHANGES || !report.unwritten.is_empty() {
        return Err("not everything was written".into());
    }
    Ok(())
}
