//! The index: what processes share, in a mapped file that any of them can rebuild from the log.

pub(super) mod layout;
pub(super) mod list;
pub(super) mod lock;
pub(super) mod pool;
pub(super) mod region;
#[cfg(test)]
mod tests;
pub(super) mod tree;
