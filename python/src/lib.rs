//! The native module of the Python package `queue_runtime`, named `queue_runtime._native`: the
//! classes that a program calls for every message. What is called now and then is Python, in
//! `queue_runtime/`.
//!
//! Every verb is written once and has two faces (`mode`): for `asyncio` it gives an awaitable
//! (`call`), for threads it waits (`blocking`). Operations that cannot end at once are told of
//! by one descriptor for each event loop (`event_loop`); no thread of ours ever enters the
//! interpreter, and no lock is held while it is entered.

mod args;
mod at_exit;
mod blocking;
mod call;
mod client;
mod consumer;
mod dead_letters;
mod delivery;
mod error;
mod event_loop;
mod message;
mod mode;
mod producer;
mod queue;
mod queue_verbs;
mod results;
mod runtime;
mod session;
mod write_behind;

use pyo3::prelude::*;

/// The classes of `queue_runtime` that are native. Private: import them from `queue_runtime`, or
/// `queue_runtime.sync`.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::call::Call;
    #[pymodule_export]
    use crate::client::{open_async, open_sync};
    #[pymodule_export]
    use crate::message::{Message, session_key};
    #[pymodule_export]
    use crate::results::{SendResult, SendResults, SettleResult, SettleResults};
    #[pymodule_export]
    use crate::runtime::Runtime;
    #[pymodule_export]
    use crate::write_behind::{WriteBatch, open_write_behind_async, open_write_behind_sync};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::mode::add_classes(module)?;
        module.add("__version__", queue_runtime_bindings::version())?;
        crate::at_exit::register(module.py())
    }
}
