//! Send, receive and ack on one thread, in C and in Rust.

use std::ffi::c_void;
use std::time::Instant;

use queue_runtime_core::{QueueOptions, Runtime, RuntimeConfig};

use super::{AREA, CQueue};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::memory::one_thread::{ours_in_batches, ours_one_at_a_time};
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 21;
const COUNT: u64 = 100_000;

/// Why C is slower than Rust.
const COST: &str = "a message is made in a box of the caller's and shared with the queue, where \
    Rust gives it away; settlements are copied out of the caller's list";

unsafe extern "C" {
    fn c_one_at_a_time(queue: *mut c_void, count: u64) -> u64;
    fn c_batches(queue: *mut c_void, count: u64) -> u64;
}

pub fn rows() -> Result<[Row; 2]> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let rust = crate::memory::queue(&runtime, QueueOptions::default())?;
    let c = CQueue::open()?;
    let [one, rust_one, many, rust_many] = take_turns(
        ROUNDS,
        [
            &mut || {
                let start = Instant::now();
                c.run(c_one_at_a_time, COUNT)?;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                runtime.block_on(ours_one_at_a_time(&rust, runtime.bodies(), COUNT))??;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                c.run(c_batches, COUNT)?;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                runtime.block_on(ours_in_batches(&rust, runtime.bodies(), COUNT))??;
                Ok(rate(COUNT, start))
            },
        ],
    )?;
    let row = |name: &str, ours, yardstick, goal| {
        let name = format!("send + receive + ack, one thread, {name}: the same from Rust");
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
    };
    Ok([
        row("one at a time", &one, &rust_one, 0.7).unless_met(COST),
        row("batches of 100", &many, &rust_many, 0.85).unless_met(COST),
    ])
}
