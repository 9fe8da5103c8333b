//! The C ABI of queue_runtime. File `x.rs` owns the functions `qrt_x_*`; the header
//! `include/queue_runtime.h` is generated from them, in this order.

#![allow(non_camel_case_types, clippy::too_many_arguments)]
// The safety of each function is its documentation in the header: which pointers may be NULL, who
// owns what, and on which threads it may be called.
#![allow(clippy::missing_safety_doc)]

use std::sync::LazyLock;

use crate::fork::Generation;

mod abi;
mod capability;
mod fork;
mod options;
#[cfg(test)]
mod panics;

// The header keeps the order of these; the empty lines keep it from being sorted.
mod runtime;

mod client;

mod queue;

mod message;

mod send_results;

mod peek;

mod delivery;

mod settlement;

mod session;

mod breaker;

mod consumer_callbacks;
mod consumer_options;

mod consumer;

mod drain;

mod producer;

mod op;

mod op_take;

mod events;

mod statistics;

mod dead_letter;

mod dead_letter_statistics;

mod redrive;

mod store;

mod write_behind;

mod write_batch;

mod rejected;

mod close_report;

mod write_behind_metrics;

mod buffer;

mod error;

mod log;

mod version;

pub use abi::qrt_bytes_t;
pub use breaker::*;
pub use buffer::*;
pub use client::*;
pub use close_report::*;
pub use consumer::*;
pub use consumer_options::*;
pub use dead_letter::*;
pub use dead_letter_statistics::*;
pub use delivery::*;
pub use drain::*;
pub use error::*;
pub use events::*;
pub use log::*;
pub use message::*;
pub use op::*;
pub use op_take::*;
pub use peek::*;
pub use producer::*;
pub use queue::*;
pub use redrive::*;
pub use rejected::*;
pub use runtime::*;
pub use send_results::*;
pub use session::*;
pub use settlement::*;
pub use statistics::*;
pub use store::*;
pub use version::*;
pub use write_batch::*;
pub use write_behind::*;
pub use write_behind_metrics::*;

/// Memory for the bodies that messages copy in, for the whole process: a message belongs to no
/// runtime until it is sent. `None` in a forked child, where a thread that does not exist there
/// may have the pool in its hands.
fn bodies() -> Option<&'static queue_runtime_core::BodyPool> {
    static BODIES: LazyLock<(Generation, queue_runtime_core::BodyPool)> =
        LazyLock::new(|| (Generation::current(), Default::default()));
    let (generation, bodies) = &*BODIES;
    generation.is_here().then_some(bodies)
}
