//! Consumers: messages one after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use queue_runtime_bindings::{Batch, Delivery, Flags, Op, ReceiveOptions, Result, Started, Status};

use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::delivery::DeliveryParts;
use crate::mode::{Class, Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::runtime::Home;
use crate::session::SessionParts;

/// How long one receive waits where the consumer waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where messages come from.
pub(crate) enum Source {
    Queue(Arc<QueueParts>),
    Session(Arc<SessionParts>),
}

impl Source {
    pub(crate) fn queue(&self) -> &Arc<QueueParts> {
        match self {
            Self::Queue(queue) => queue,
            Self::Session(session) => &session.queue,
        }
    }

    pub(crate) fn receive(&self, options: &ReceiveOptions) -> Result<Started<Batch>> {
        match self {
            Self::Queue(queue) => queue.queue.receive(options),
            Self::Session(session) => session.session.receive(options),
        }
    }
}

/// Messages that were received and not yet handed over. Dropped, it gives them back.
pub(crate) struct Feed {
    source: Source,
    options: ReceiveOptions,
    /// Whether it ends when no message comes for as long as it waits.
    ends: bool,
    ready: Mutex<VecDeque<Delivery>>,
    /// Receives that go on, to be cancelled when it is closed.
    receives: Mutex<Vec<Weak<Op<Batch>>>>,
    over: AtomicBool,
}

/// What a consumer does for its next message.
pub(crate) enum Next {
    /// It is here.
    Delivery(Delivery),
    /// It is being received.
    Receive(Arc<Op<Batch>>),
    /// There is none any more.
    End,
}

impl Feed {
    pub(crate) fn new(
        source: Source,
        prefetch: u32,
        wait: Option<Duration>,
        lock: Option<Duration>,
    ) -> Self {
        let options = ReceiveOptions {
            max_messages: prefetch,
            flags: Flags::None,
            wait: wait.unwrap_or(PATIENCE),
            lock,
        };
        Self {
            source,
            options,
            ends: wait.is_some(),
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

    /// The next message, or how to get it.
    pub(crate) fn next(&self) -> Result<Next> {
        loop {
            if let Some(delivery) = self.ready().pop_front() {
                return Ok(Next::Delivery(delivery));
            }
            if self.over.load(Relaxed) {
                return Ok(Next::End);
            }
            match self.source.receive(&self.options)? {
                Started::Done(batch) => self.fill(batch),
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

    /// Takes what a receive brought.
    pub(crate) fn take(&self, received: Result<Batch>) -> Result<()> {
        match received {
            Ok(batch) => self.fill(batch),
            // It was cancelled by `close`.
            Err(error) if error.status == Status::CANCELLED && self.over.load(Relaxed) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn fill(&self, batch: Batch) {
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

    pub(crate) fn object<M: Mode>(
        &self,
        py: Python<'_>,
        delivery: Delivery,
    ) -> PyResult<Py<PyAny>> {
        let queue = self.source.queue().clone();
        M::Delivery::object(py, DeliveryParts { delivery, queue })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Subject for Arc<Feed> {
    fn home(&self) -> &Arc<Home> {
        &self.source.queue().home
    }
}

faces! {
    /// Messages one after the other, made by `consume`. It goes on until it is left: what was
    /// received and not handed over is then given back.
    Arc<Feed>: "Consumer", AsyncConsumer, SyncConsumer
}

#[pymethods]
impl AsyncConsumer {
    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Asyncio::next(py, slf)
    }

    /// Ends it, also for who waits for its next message, and gives back what was not handed over.
    fn close(&self) {
        self.0.close();
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Asyncio::done(py, "Consumer.__aenter__", slf.into_any())
    }

    #[pyo3(signature = (*exc_info))]
    fn __aexit__(&self, py: Python<'_>, exc_info: Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let _ = exc_info;
        self.0.close();
        Asyncio::done(py, "Consumer.__aexit__", py.None())
    }
}

#[pymethods]
impl SyncConsumer {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Blocking::next(py, slf)
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
