//! When a failed attempt is tried again, and when nothing is tried for a while.

mod breaker;
mod circuit;
mod retry;

pub use breaker::{Breaker, BreakerState};
pub(crate) use circuit::{Circuit, Permit, SharedCircuit};
pub use retry::Retry;
