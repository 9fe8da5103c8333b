//! What the project is measured against.

pub mod bare_queue;
pub mod ping_pong;
