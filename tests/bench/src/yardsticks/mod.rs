//! What the project is measured against.

pub mod bare_log;
pub mod bare_queue;
pub mod heed_queue;
pub mod ping_pong;
