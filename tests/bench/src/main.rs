//! Measures the project beside its yardsticks and prints tables; see the README beside it.

mod allocations;
mod c;
mod consumer;
mod file;
mod measure;
mod memory;
mod node;
mod python;
mod report;
mod sqs;
mod write_behind;
mod yardsticks;

use std::error::Error;

use clap::{Parser, ValueEnum};

use memory::Loop;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Whatever goes wrong ends the run.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures the project beside its yardsticks.
#[derive(Parser)]
struct Args {
    /// Measure this area; may be given several times. Every area without it.
    #[arg(long, value_enum)]
    area: Vec<Area>,
    /// Run this loop alone, once, for a profiler such as callgrind.
    #[arg(long, value_enum, conflicts_with = "area")]
    callgrind: Option<Loop>,
    /// Messages the lone loop moves.
    #[arg(long, default_value_t = 100_000, requires = "callgrind")]
    count: u64,
    /// Take part, as another process, in a row on this store.
    #[arg(long, hide = true)]
    take_part: Option<String>,
    /// Answer, as another process, in a row on this store.
    #[arg(long, hide = true)]
    answer: Option<String>,
    /// Answer, as another process, by a word of this file.
    #[arg(long, hide = true)]
    answer_by_futex: Option<String>,
    /// Run the yardstick's side of the lone loop.
    #[arg(long, requires = "callgrind")]
    yardstick: bool,
}

/// A part of the project that is measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Area {
    /// The in-memory engine.
    Memory,
    /// The C ABI.
    C,
    /// The Node package.
    Node,
    /// The Python package.
    Python,
    /// Consumers.
    Consumer,
    /// AWS SQS, on a server from a package.
    Sqs,
    /// The durable engine.
    File,
    /// Write-behind.
    WriteBehind,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(which) = args.callgrind {
        return memory::run_alone(which, args.count, args.yardstick);
    }
    if let Some(url) = args.take_part {
        return file::worker(&url);
    }
    if let Some(url) = args.answer {
        return file::answer(&url);
    }
    if let Some(path) = args.answer_by_futex {
        return file::answer_by_futex(&path);
    }
    let areas = match args.area.as_slice() {
        [] => Area::value_variants(),
        chosen => chosen,
    };
    for area in areas {
        let (name, rows) = match area {
            Area::Memory => ("memory", memory::rows()?),
            Area::C => ("c", c::rows()?),
            Area::Node => ("node", node::rows()?),
            Area::Python => ("python", python::rows()?),
            Area::Consumer => ("consumer", consumer::rows()?),
            Area::Sqs => ("sqs", sqs::rows()?),
            Area::File => ("file", file::rows()?),
            Area::WriteBehind => ("write_behind", write_behind::rows()?),
        };
        println!("{}", report::table(name, &rows));
        report::store(name, &rows)?;
    }
    Ok(())
}
