//! The engine of queue_runtime: queue semantics, providers and the runtime, for Rust directly and
//! for every other language through the C ABI.
//!
//! ```
//! use queue_runtime_core::{Message, ReceiveOptions, connect};
//!
//! # async fn example() -> queue_runtime_core::Result<()> {
//! let client = connect("memory:").await?;
//! let orders = client.queue("orders")?;
//! orders.send(Message::new("two lattes").session("table-7")).await?;
//! for delivery in orders.receive(&ReceiveOptions::new().max_messages(10)).await? {
//!     println!("{:?}", delivery.body());
//!     delivery.ack().await?;
//! }
//! # Ok(())
//! # }
//! # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
//! ```

mod blocking;
mod body_pool;
mod capability;
mod client;
mod clock;
pub mod codec;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod consumer;
pub mod dead_letter;
mod delivery;
mod error;
mod message;
mod producer;
pub mod provider;
mod providers;
mod queue;
mod reply;
mod resilience;
mod room;
mod runtime;
mod sessions;
mod settlement;
mod sync;
mod telemetry;
pub mod write_behind;

pub use blocking::blocking;
pub use body_pool::BodyPool;
pub use capability::{Capabilities, Capability, Limits, Support};
pub use client::{Client, connect};
pub use clock::{Clock, Tick, Timestamp};
pub use config::*;
#[doc(hidden)]
pub use consumer::Standing;
pub use consumer::{
    Batch, BatchOptions, CancelCause, Consumer, ConsumerOptions, ConsumerStatus, DrainReport,
    Failure, Failures, Worker,
};
pub use dead_letter::{
    DeadLetter, DeadLetterAge, DeadLetterFilter, DeadLetterGroup, DeadLetterStatistics,
    RedriveOptions, RedriveReport,
};
pub use delivery::Delivery;
pub use error::{Error, ErrorKind, Result};
pub use message::{Headers, Message, MessageId, Properties, SendResult};
pub use producer::{Producer, ProducerOptions, ProducerReport, Sending};
pub use providers::SCHEMES;
pub use queue::explain::{self, Explanation, MessageExplanation};
pub use queue::{MessageState, Outlook, Peeked, Queue, ReceiveOptions, SessionOptions, Statistics};
pub use reply::Reply;
pub use resilience::{Breaker, BreakerState, Retry};
pub use runtime::Runtime;
pub use sessions::{Session, SessionKey};
pub use settlement::{Guard, Receipt, Settlement, Verb};
pub use write_behind::{Entry, WriteBehind, WriteBehindMetrics, WriteBehindOptions};

/// Looking at the folder of a `file:` store from outside: nothing is changed.
#[cfg(all(feature = "file", target_os = "linux"))]
pub mod store {
    pub use crate::providers::file::{
        DamagedPart, QueueCount, SegmentFile, StoreReport, dump, verify,
    };
}

/// Runs the README's code.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
