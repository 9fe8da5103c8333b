//! When a failed attempt is tried again.

mod retry;

pub use retry::Retry;
