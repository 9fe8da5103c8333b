//! The messages of a held session, one after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use queue_runtime_bindings::{Batch, Delivery, Flags, Op, ReceiveOptions, Result, Started, Status};

use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::consumer::{Feed, Next};
use crate::mode::{Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::runtime::Home;
use crate::session::SessionParts;

/// How long one receive waits where it waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);

/// Messages of a session that were received and not yet handed over. Dropped, it gives them back.
pub(crate) struct SessionFeed {
    session: Arc<SessionParts>,
    options: ReceiveOptions,
    /// Whether it ends when no message comes for as long as it waits.
    ends: bool,
    ready: Mutex<VecDeque<Delivery>>,
    /// Receives that go on, to be cancelled when it is closed.
    receives: Mutex<Vec<Weak<Op<Batch>>>>,
    over: AtomicBool,
}

impl SessionFeed {
    pub(crate) fn new(session: Arc<SessionParts>, prefetch: u32, idle: Option<Duration>) -> Self {
        let options = ReceiveOptions {
            max_messages: prefetch,
            flags: Flags::None,
            wait: idle.unwrap_or(PATIENCE),
            lock: None,
            keep_lock: false,
        };
        Self {
            session,
            options,
            ends: idle.is_some(),
            ready: Mutex::default(),
            receives: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receives(&self) -> MutexGuard<'_, Vec<Weak<Op<Batch>>>> {
        self.receives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, batch: &Batch) {
        if self.ends && batch.is_empty() {
            self.over.store(true, Relaxed);
        }
        self.ready().extend(batch.iter());
        if self.over.load(Relaxed) {
            self.give_back();
        }
    }

    /// Hands nothing over any more. Who waits for the next message is told that there is none.
    fn close(&self) {
        self.over.store(true, Relaxed);
        let receives = std::mem::take(&mut *self.receives());
        for receive in receives {
            if let Some(op) = receive.upgrade() {
                // What cannot be cancelled, in a forked child, does not wait either.
                let _ = op.cancel();
            }
        }
        self.give_back();
    }

    fn give_back(&self) {
        let ready = std::mem::take(&mut *self.ready());
        for delivery in ready {
            // What cannot be given back now comes back when its lock ends.
            let _ = delivery.release(None, Flags::None);
        }
    }
}

impl Feed for Arc<SessionFeed> {
    fn next(&self) -> Result<Next> {
        loop {
            if let Some(delivery) = self.ready().pop_front() {
                return Ok(Next::Delivery(delivery));
            }
            if self.over.load(Relaxed) {
                return Ok(Next::End);
            }
            match self.session.session.receive(&self.options)? {
                Started::Done(batch) => self.fill(&batch),
                Started::Pending(op) => {
                    let op = Arc::new(op);
                    let mut receives = self.receives();
                    receives.retain(|receive| receive.strong_count() > 0);
                    receives.push(Arc::downgrade(&op));
                    return Ok(Next::Receive(op));
                }
            }
        }
    }

    fn take(&self, received: Result<Batch>) -> Result<Next> {
        match received {
            Ok(batch) => self.fill(&batch),
            // It was cancelled by `close`.
            Err(error) if error.status == Status::CANCELLED && self.over.load(Relaxed) => {}
            Err(error) => return Err(error),
        }
        self.next()
    }

    fn queue(&self) -> &Arc<QueueParts> {
        &self.session.queue
    }
}

impl Drop for SessionFeed {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Subject for Arc<SessionFeed> {
    fn home(&self) -> &Arc<Home> {
        &self.session.queue.home
    }
}

faces! {
    /// The messages of a session one after the other, made by `Session.consume`. It goes on until it
    /// is left: what was received and not handed over is then given back.
    Arc<SessionFeed>: "SessionConsumer", AsyncSessionConsumer, SyncSessionConsumer
}

#[pymethods]
impl AsyncSessionConsumer {
    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Asyncio::next(py, "SessionConsumer.__anext__", slf)
    }

    /// Ends it, also for who waits for its next message, and gives back what was not handed over.
    fn close(&self) {
        self.0.close();
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Asyncio::done(py, "SessionConsumer.__aenter__", slf.into_any())
    }

    #[pyo3(signature = (*exc_info))]
    fn __aexit__(&self, py: Python<'_>, exc_info: Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let _ = exc_info;
        self.0.close();
        Asyncio::done(py, "SessionConsumer.__aexit__", py.None())
    }
}

#[pymethods]
impl SyncSessionConsumer {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Blocking::next(py, "SessionConsumer.__next__", slf)
    }

    /// Ends it, also for who waits for its next message, and gives back what was not handed over.
    fn close(&self) {
        self.0.close();
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*exc_info))]
    fn __exit__(&self, exc_info: Bound<'_, PyTuple>) {
        let _ = exc_info;
        self.0.close();
    }
}
