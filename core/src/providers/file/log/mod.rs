//! The log: what must survive. Records, in frames, in segments, in files.
//!
//! `record.rs` is what is said, `frame.rs` how a batch of it is framed and found again,
//! `segment.rs` the files, `superblock.rs` where the log begins.

pub(super) mod frame;
pub(super) mod record;
pub(super) mod segment;
pub(super) mod superblock;
#[cfg(test)]
mod tests;
