//! What the project is measured against.

pub mod bare_log;
pub mod bare_queue;
pub mod futex_pong;
pub mod heed_group;
pub mod heed_queue;
pub mod ping_pong;
pub mod redb_queue;
pub mod sqlite_queue;
