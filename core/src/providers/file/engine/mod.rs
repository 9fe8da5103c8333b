//! The state of the queues as it stands in the index, and the verbs as steps on it.
//!
//! A step is taken by the owner of the store's lock, at a moment. It changes the index by
//! [`Region::set`](super::index::region::Region::set) alone and adds records to a frame; at its end
//! the frame is written and the changes are committed. A step that fails, or whose process dies,
//! is rolled back as if it had not begun. There is no waiting in here and no clock; whom a step
//! lets go on is moved to the woken of their stores (`waiters.rs`).
//!
//! The behaviour is that of the memory engine, verb for verb; what differs is where the state is
//! kept, and that its lasting part goes to the log.

pub(super) mod append;
mod browse;
mod dedup;
pub(super) mod deliver;
mod graves;
mod holds;
mod members;
mod moves;
pub(super) mod queues;
mod ring;
mod send;
pub(super) mod step;
mod waiters;

pub(super) use graves::Letter;
pub(super) use send::Sent;
