//! A safe Rust client of the C ABI: what the bindings of every language stand on, and the only
//! caller of its functions in Rust.
//!
//! Handles free themselves; bytes that are borrowed in C have lifetimes here; a verb answers
//! [`Started`]: its result if it ended at once, or an [`Op`] that an [`Events`] queue tells the end
//! of. Every type may be used from any thread, unless it takes `&mut self`. Nothing here waits but
//! [`Op::wait`] and [`Runtime::shutdown`].

mod abi;
mod breaker;
mod client;
mod consumer;
mod dead_letter_statistics;
mod delivery;
mod error;
mod events;
mod listing;
mod log;
mod message;
mod op;
mod producer;
mod queue;
mod runtime;
mod session;
mod settle;
mod write_behind;

pub use breaker::Breaker;
pub use client::Client;
pub use consumer::{BatchOptions, Consumer, ConsumerOptions, DrainReport, Sessions};
pub use dead_letter_statistics::{DeadLetterGroup, DeadLetterStatistics};
pub use delivery::{Batch, CancelCause, Delivery};
pub use error::{Details, Error, Result, Status};
pub use events::{Ended, Events, Value};
pub use listing::{DeadLetter, DeadLetters, Filter, Peeked, PeekedMessage, RedriveOptions};
pub use listing::{RedriveReport, State, Statistics};
pub use log::{Level, set_log};
pub use message::{Message, MessageView};
pub use op::{Op, Output, Started};
pub use producer::{Producer, ProducerOptions, ProducerReport};
pub use queue::{Flags, Queue, ReceiveOptions};
pub use runtime::{Buffer, Runtime};
pub use session::Session;
pub use settle::{SendResult, SendResults, SettleResults, Settlements};
pub use write_behind::{CloseReport, Entry, Rejected, RejectedEntry, WriteBatch};
pub use write_behind::{WriteBehind, WriteBehindMetrics};

/// The version of the library.
pub fn version() -> &'static str {
    // SAFETY: the text is part of the library.
    unsafe { abi::text(queue_runtime::qrt_version()) }
}
