//! Consumers: messages that keep coming, their locks kept, until a drain that adds up.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use queue_runtime_bindings::{
    Batch, Consumer, ConsumerOptions, Delivery, DrainReport, Op, Result, Started,
};

use crate::args;
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::delivery::{self, DeliveryParts};
use crate::error::Raise;
use crate::mode::{Class, Effect, Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::runtime::Home;
use crate::session::SessionParts;

/// How long a drain waits unless it is told.
const DRAIN: Duration = Duration::from_secs(30);

/// Messages one after the other.
pub(crate) trait Feed: Subject {
    /// The next message, or how to get it.
    fn next(&self) -> Result<Next>;

    /// Goes on with what a receive brought.
    fn take(&self, received: Result<Batch>) -> Result<Next>;

    /// Where they come from.
    fn queue(&self) -> &Arc<QueueParts>;
}

/// What is done for the next message.
pub(crate) enum Next {
    /// It is here.
    Delivery(Delivery),
    /// It is being received.
    Receive(Arc<Op<Batch>>),
    /// There is none any more.
    End,
}

/// A message as an object.
pub(crate) fn object<M: Mode>(
    py: Python<'_>,
    feed: &impl Feed,
    delivery: Delivery,
) -> PyResult<Py<PyAny>> {
    let queue = feed.queue().clone();
    M::Delivery::object(py, DeliveryParts { delivery, queue })
}

/// What a consumer is in both faces.
pub(crate) struct ConsumerParts {
    consumer: Consumer,
    queue: Arc<QueueParts>,
}

impl ConsumerParts {
    pub(crate) fn start(queue: &Arc<QueueParts>, options: &ConsumerOptions) -> Result<Self> {
        Ok(Self {
            consumer: Consumer::start(&queue.queue, options)?,
            queue: queue.clone(),
        })
    }

    pub(crate) fn of(session: &SessionParts, options: &ConsumerOptions) -> Result<Self> {
        Ok(Self {
            consumer: Consumer::start_of(&session.session, options)?,
            queue: session.queue.clone(),
        })
    }

    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let json = self.consumer.status().raise(py)?;
        let make = MAKE.import(py, "queue_runtime._data", "consumer_status")?;
        Ok(make.call1((json,))?.unbind())
    }
}

impl Feed for ConsumerParts {
    fn next(&self) -> Result<Next> {
        Ok(match self.consumer.next()? {
            Started::Done(batch) => first(&batch),
            Started::Pending(op) => Next::Receive(Arc::new(op)),
        })
    }

    fn take(&self, received: Result<Batch>) -> Result<Next> {
        received.map(|batch| first(&batch))
    }

    fn queue(&self) -> &Arc<QueueParts> {
        &self.queue
    }
}

/// The only message of a batch; without one it is the last.
fn first(batch: &Batch) -> Next {
    batch.get(0).map_or(Next::End, Next::Delivery)
}

impl Subject for ConsumerParts {
    fn home(&self) -> &Arc<Home> {
        &self.queue.home
    }
}

faces! {
    /// Messages of a queue, or of a session, one after the other, made by `consume`: fetched ahead
    /// within bounds, their locks kept by the engine's own threads. Left, it gives back what was not
    /// handed over.
    /// Any number of tasks or threads may take from one.
    ConsumerParts: "Consumer", AsyncConsumer, SyncConsumer
}

fn close<M: Mode>(consumer: &Bound<'_, M::Consumer>, name: &'static str) -> PyResult<Py<PyAny>> {
    M::run(
        consumer.py(),
        name,
        consumer.clone().unbind(),
        Effect::Passing,
        |parts: &ConsumerParts, _| parts.consumer.stop(),
        |py, _, ()| Ok(py.None()),
    )
}

fn drain<M: Mode>(consumer: &Bound<'_, M::Consumer>, deadline: Duration) -> PyResult<Py<PyAny>> {
    M::run(
        consumer.py(),
        "Consumer.drain",
        consumer.clone().unbind(),
        Effect::Passing,
        move |parts: &ConsumerParts, _| parts.consumer.drain(deadline),
        |py, _, report| drain_report(py, &report),
    )
}

fn drain_report(py: Python<'_>, report: &DrainReport) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._data", "DrainReport")?;
    let counts = (report.finished(), report.released(), report.abandoned());
    Ok(make.call1(counts)?.unbind())
}

fn next_batch<M: Mode>(consumer: &Bound<'_, M::Consumer>) -> PyResult<Py<PyAny>> {
    M::run(
        consumer.py(),
        "Consumer.next_batch",
        consumer.clone().unbind(),
        Effect::Passing,
        |parts: &ConsumerParts, _| parts.consumer.next_batch(),
        |py, parts, batch| delivery::list::<M>(py, &parts.queue, &batch),
    )
}

fn wait_changed<M: Mode>(consumer: &Bound<'_, M::Consumer>) -> PyResult<Py<PyAny>> {
    M::run(
        consumer.py(),
        "Consumer.wait_changed",
        consumer.clone().unbind(),
        Effect::Passing,
        |parts: &ConsumerParts, _| parts.consumer.wait_changed(),
        |py, _, ()| Ok(py.None()),
    )
}

macro_rules! methods {
    ($class:ident, $mode:ty, $iter:ident, $next:ident, $enter:ident, $exit:ident) => {
        #[pymethods]
        impl $class {
            fn $iter(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn $next(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
                <$mode>::next(py, concat!("Consumer.", stringify!($next)), slf)
            }

            /// The next batch: what is there, or as the options of batches say. An empty list is the
            /// end.
            fn next_batch(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                next_batch::<$mode>(slf)
            }

            /// Ends it, also for who waits for its next message, and gives back what was not handed
            /// over. What is in hand goes on.
            fn close(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                close::<$mode>(slf, "Consumer.close")
            }

            /// Ends it as `close` does, and waits until what is in hand is settled, at most
            /// `deadline` seconds (30 unless said); then cancels that and gives it back too.
            #[pyo3(signature = (deadline=None))]
            fn drain(
                slf: &Bound<'_, Self>,
                deadline: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let deadline = args::some_duration(deadline.as_ref(), "deadline")?;
                drain::<$mode>(slf, deadline.unwrap_or(DRAIN))
            }

            /// How it goes.
            fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.0.status(py)
            }

            /// Receives nothing and hands nothing over until `resume`; what was fetched ahead goes
            /// back unblamed. What is in hand goes on, its locks kept. Again does nothing more.
            fn pause(&self, py: Python<'_>) -> PyResult<()> {
                self.0.consumer.pause().raise(py)
            }

            /// Ends a pause. A breaker that is open, or memory that is over the runtime's limit, go
            /// on holding it back.
            fn resume(&self, py: Python<'_>) -> PyResult<()> {
                self.0.consumer.resume().raise(py)
            }

            /// Closes its breaker by hand, and forgets what failed.
            fn reset_breaker(&self, py: Python<'_>) -> PyResult<()> {
                self.0.consumer.reset_breaker().raise(py)
            }

            /// Waits until work on a message in hand is to stop (`Delivery.cancelled`), receiving
            /// fails or goes on, or what holds it back has changed (`status`), since the last such
            /// wait ended; `ClosedError` once it has ended. One at a time.
            fn wait_changed(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                wait_changed::<$mode>(slf)
            }

            fn $enter(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                let value = slf.clone().into_any().unbind();
                <$mode>::done(slf.py(), concat!("Consumer.", stringify!($enter)), value)
            }

            #[pyo3(signature = (*exc_info))]
            fn $exit(slf: &Bound<'_, Self>, exc_info: Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
                let _ = exc_info;
                close::<$mode>(slf, concat!("Consumer.", stringify!($exit)))
            }
        }
    };
}

methods!(
    AsyncConsumer,
    Asyncio,
    __aiter__,
    __anext__,
    __aenter__,
    __aexit__
);
methods!(
    SyncConsumer,
    Blocking,
    __iter__,
    __next__,
    __enter__,
    __exit__
);
