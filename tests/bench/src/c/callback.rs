//! Receive by callback, beside receive and ack by hand: both in C, in batches of 64.

use std::ffi::c_void;
use std::thread;
use std::time::Instant;

use super::{AREA, CQueue};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 15;
/// A multiple of both batch sizes.
const COUNT: u64 = 64_000;

/// Why it is not faster.
const HAND_OVER: &str = "both do the same calls; the pump adds a task, credits and a cancellation \
    check for each batch";

unsafe extern "C" {
    fn c_fill(queue: *mut c_void, count: u64) -> u64;
    fn c_receive_by_hand(queue: *mut c_void, count: u64) -> u64;
    fn c_receive_by_callback(queue: *mut c_void, count: u64) -> u64;
}

pub fn row() -> Result<Row> {
    let queue = CQueue::open()?;
    let emptied = |run| {
        // By a thread of its own: neither side frees memory that it allocated itself.
        let filled = thread::scope(|scope| scope.spawn(|| queue.run(c_fill, COUNT)).join());
        filled.map_err(|_| "the filling thread panicked")??;
        let start = Instant::now();
        queue.run(run, COUNT)?;
        Ok(rate(COUNT, start))
    };
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [&mut || emptied(c_receive_by_callback), &mut || {
            emptied(c_receive_by_hand)
        }],
    )?;
    Ok(Row::beside(
        AREA,
        "receive + ack by callback, batches of 64: by hand",
        Unit::Rate,
        &ours,
        &yardstick,
        Goal::AtLeast(1.0),
    )
    .unless_met(HAND_OVER))
}
