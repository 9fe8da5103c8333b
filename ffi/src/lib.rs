//! The C ABI of queue_runtime. File `x.rs` owns the functions `qrt_x_*`; the header
//! `include/queue_runtime.h` is generated from them, in this order.

#![allow(non_camel_case_types, clippy::too_many_arguments)]
// The safety of each function is its documentation in the header: which pointers may be NULL, who
// owns what, and on which threads it may be called.
#![allow(clippy::missing_safety_doc)]

mod abi;
mod capability;
mod client;
mod consumer;
mod dead_letter;
mod delivery;
mod error;
mod events;
mod fork;
mod log;
mod message;
mod op;
mod options;
mod queue;
mod runtime;
mod session;
mod settlement;
mod statistics;
mod version;

pub use abi::qrt_bytes_t;
pub use client::*;
pub use consumer::*;
pub use dead_letter::*;
pub use delivery::*;
pub use error::*;
pub use events::*;
pub use log::*;
pub use message::*;
pub use op::*;
pub use queue::*;
pub use runtime::*;
pub use session::*;
pub use settlement::*;
pub use statistics::*;
pub use version::*;

/// Memory for the bodies that messages copy in, for the whole process: a message belongs to no
/// runtime until it is sent.
fn bodies() -> &'static queue_runtime_core::BodyPool {
    static BODIES: std::sync::LazyLock<queue_runtime_core::BodyPool> =
        std::sync::LazyLock::new(Default::default);
    &BODIES
}
