//! Real servers that nobody here wrote, for the tests, and a proxy that breaks the way to them.
//!
//! A [`Service`] is installed from its package at the first use, into cargo's target folder, and
//! started on a free port of the loopback. It ends when it is dropped, and also when the process
//! that started it dies in whatever way. A [`Proxy`] stands before a server and injects faults.

mod proxy;
mod service;

pub use proxy::{Fault, Proxy};
pub use service::{Service, names};
