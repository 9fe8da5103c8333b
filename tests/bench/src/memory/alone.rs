//! One loop alone, for a profiler.

use clap::ValueEnum;
use queue_runtime_core::{QueueOptions, Runtime};

use super::one_thread::{bare_in_batches, bare_one_at_a_time, ours_in_batches, ours_one_at_a_time};
use super::queue;
use crate::Result;
use crate::yardsticks::bare_queue::BareQueue;

/// A loop that can run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Loop {
    /// Send, receive and ack, one at a time.
    OneAtATime,
    /// Send, receive and ack, in batches of 100.
    Batches,
}

/// Moves this many messages through the loop, ours or the bare queue's.
pub fn run_alone(which: Loop, count: u64, yardstick: bool) -> Result<()> {
    if yardstick {
        let bare = BareQueue::new(100_000);
        return measured_loop(|| match which {
            Loop::OneAtATime => bare_one_at_a_time(&bare, count),
            Loop::Batches => bare_in_batches(&bare, count),
        });
    }
    // On this thread alone: callgrind loses its toggle where threads change.
    let thread = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let runtime = {
        let _entered = thread.enter();
        Runtime::current()?
    };
    let queue = queue(&runtime, QueueOptions::default())?;
    measured_loop(|| {
        thread.block_on(async {
            match which {
                Loop::OneAtATime => ours_one_at_a_time(&queue, runtime.bodies(), count).await,
                Loop::Batches => ours_in_batches(&queue, runtime.bodies(), count).await,
            }
        })
    })
}

/// A name of its own, at which a profiler begins and ends to count.
#[inline(never)]
fn measured_loop(run: impl FnOnce() -> Result<()>) -> Result<()> {
    run()
}
