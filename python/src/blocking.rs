//! Verbs that are waited for. Waits let other threads run, and end when a signal asks for it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use queue_runtime_bindings::{Flags, Op, Output, Result, Started};

use crate::at_exit;
use crate::client::SyncClient;
use crate::consumer::{self, Feed, Next, SyncConsumer};
use crate::delivery::SyncDelivery;
use crate::error::Raise;
use crate::mode::{Class, Effect, Mode, Subject};
use crate::producer::SyncProducer;
use crate::queue::SyncQueue;
use crate::session::SyncSession;
use crate::write_behind::SyncWriteBehind;

/// How long a signal such as Ctrl-C may go unseen.
const SLICE: Duration = Duration::from_millis(50);
/// How long a wait that a signal ended gives its operation to end as well.
const GRACE: Duration = Duration::from_millis(100);

/// The face of threads: `queue_runtime.sync`.
pub(crate) struct Blocking;

impl Mode for Blocking {
    type Client = SyncClient;
    type Queue = SyncQueue;
    type Delivery = SyncDelivery;
    type Session = SyncSession;
    type Consumer = SyncConsumer;
    type WriteBehind = SyncWriteBehind;
    type Producer = SyncProducer;

    #[inline]
    fn run<C, T, B, F>(
        py: Python<'_>,
        _name: &'static str,
        of: Py<C>,
        effect: Effect,
        mut begin: B,
        mut finish: F,
    ) -> PyResult<Py<PyAny>>
    where
        C: Class,
        T: Output + Send + Sync + 'static,
        B: FnMut(&C::Parts, Flags) -> Result<Started<T>> + Send + Sync + 'static,
        F: FnMut(Python<'_>, &C::Parts, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
    {
        let parts: &C::Parts = of.get();
        let slow = if effect == Effect::Passing {
            None
        } else {
            parts.slow()
        };
        let started = if slow.is_some_and(|slow| slow.load(Relaxed)) {
            py.detach(|| begin(parts, Flags::MayBlock))
        } else {
            begin(parts, Flags::None)
        };
        let ended = match started {
            Ok(Started::Done(value)) => Ok(value),
            Ok(Started::Pending(op)) => {
                if let Some(slow) = slow {
                    slow.store(true, Relaxed);
                }
                wait(py, &op)?
            }
            Err(error) => Err(error),
        };
        match ended {
            Err(_) if effect == Effect::GivesBack => Ok(py.None()),
            ended => finish(py, parts, ended.raise(py)?),
        }
    }

    #[inline]
    fn done(_py: Python<'_>, _name: &'static str, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        Ok(value)
    }

    fn next<C>(py: Python<'_>, _name: &'static str, consumer: Py<C>) -> PyResult<Py<PyAny>>
    where
        C: Class,
        C::Parts: Feed,
    {
        let feed: &C::Parts = consumer.get();
        let mut next = feed.next();
        loop {
            match next.raise(py)? {
                Next::Delivery(delivery) => return consumer::object::<Self>(py, feed, delivery),
                Next::End => return Err(PyStopIteration::new_err(())),
                Next::Receive(op) => next = feed.take(wait(py, &op)?),
            }
        }
    }
}

/// Waits for an operation. A signal handler that raises cancels it; what it brings goes back.
fn wait<T: Output>(py: Python<'_>, op: &Op<T>) -> PyResult<Result<T>> {
    loop {
        let ended = py.detach(|| {
            let ended = op.wait(Some(SLICE));
            at_exit::park_if_over();
            ended
        });
        if ended.raise(py)? {
            let taken = op.take().transpose();
            return Ok(taken.expect("an operation that has ended has a result"));
        }
        if let Err(signal) = py.check_signals() {
            // Whatever comes of these, the signal goes first.
            let _ = op.cancel();
            let _ = py.detach(|| op.wait(Some(GRACE)));
            let _ = op.abandon();
            return Err(signal);
        }
    }
}
