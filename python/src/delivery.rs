//! Deliveries: messages in hand.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pyo3::PyTypeInfo;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use queue_runtime_bindings::{Batch, Delivery, Flags, Result, Started};

use crate::args::{self, Moment};
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::message;
use crate::mode::{Class, Effect, Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::runtime::Home;

/// The most characters of an exception that go into the description of a dead letter.
const REASON_CHARS: usize = 1000;

/// What a delivery is in both faces.
pub(crate) struct DeliveryParts {
    pub delivery: Delivery,
    pub queue: Arc<QueueParts>,
}

impl Subject for DeliveryParts {
    fn home(&self) -> &Arc<Home> {
        &self.queue.home
    }

    fn slow(&self) -> Option<&AtomicBool> {
        Some(&self.queue.slow)
    }
}

/// The deliveries of a batch, as a list.
pub(crate) fn list<M: Mode>(
    py: Python<'_>,
    queue: &Arc<QueueParts>,
    batch: &Batch,
) -> PyResult<Py<PyAny>> {
    let mut deliveries = Vec::with_capacity(batch.len());
    for delivery in batch.iter() {
        let queue = queue.clone();
        deliveries.push(M::Delivery::object(py, DeliveryParts { delivery, queue })?);
    }
    Ok(deliveries.into_pyobject(py)?.unbind())
}

/// The only delivery of a batch, or `None`.
pub(crate) fn only<M: Mode>(
    py: Python<'_>,
    queue: &Arc<QueueParts>,
    batch: &Batch,
) -> PyResult<Py<PyAny>> {
    match batch.get(0) {
        None => Ok(py.None()),
        Some(delivery) => {
            let queue = queue.clone();
            M::Delivery::object(py, DeliveryParts { delivery, queue })
        }
    }
}

faces! {
    /// A message in hand, until it is settled or its lock ends: ack, nack, release or dead-letter
    /// it, or use it as a context (`async with msg:`): ack when the block ends, nack when it raises,
    /// release when it is cancelled.
    ///
    /// A delivery that is dropped is not settled: it comes back when its lock ends.
    DeliveryParts: "Delivery", AsyncDelivery, SyncDelivery
}

/// Begins one of the ways a delivery ends.
fn settle<M: Mode>(
    delivery: &Bound<'_, M::Delivery>,
    name: &'static str,
    effect: Effect,
    begin: impl FnMut(&DeliveryParts, Flags) -> Result<Started<()>> + Send + Sync + 'static,
) -> PyResult<Py<PyAny>> {
    let py = delivery.py();
    M::run(
        py,
        name,
        delivery.clone().unbind(),
        effect,
        begin,
        |py, _, ()| Ok(py.None()),
    )
}

/// Settles a delivery as the block it was handled in ended, unless that was done inside.
fn settle_after<M: Mode>(
    delivery: &Bound<'_, M::Delivery>,
    name: &'static str,
    exception: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let parts: &DeliveryParts = delivery.get();
    if parts.delivery.is_settled() {
        return M::done(delivery.py(), name, delivery.py().None());
    }
    let Some(exception) = exception else {
        return settle::<M>(delivery, name, Effect::Stores, |d, flags| {
            d.delivery.ack(flags)
        });
    };
    // A cancellation, a signal or an exit is no fault of the message.
    if !PyException::is_type_of(exception) {
        return settle::<M>(delivery, name, Effect::GivesBack, |d, flags| {
            d.delivery.release(None, flags)
        });
    }
    let reason = format!("{}: {exception}", exception.get_type().name()?);
    let reason: String = reason.chars().take(REASON_CHARS).collect();
    settle::<M>(delivery, name, Effect::GivesBack, move |d, flags| {
        d.delivery.nack(Some(&reason), None, flags)
    })
}

macro_rules! methods {
    ($class:ident, $mode:ty, $enter:ident, $exit:ident) => {
        #[pymethods]
        impl $class {
            /// The message's id.
            #[getter]
            fn id(&self) -> &str {
                self.0.delivery.id()
            }

            /// The body: a copy.
            #[getter]
            fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
                PyBytes::new(py, self.0.delivery.message().body())
            }

            /// The body without a copy, read-only. It keeps the memory of the delivery, and of what
            /// was received with it. Quicker than `body` for large ones.
            #[getter]
            fn body_view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                let owner = slf.clone().into_any();
                message::memory_view(owner, slf.get().0.delivery.message().body())
            }

            /// The body as text; `UnicodeDecodeError` when it is none.
            fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
                message::decode(py, self.0.delivery.message().body())
            }

            /// The value of the body's JSON; `json.JSONDecodeError` when it is none.
            fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                message::load(py, self.0.delivery.message().body())
            }

            /// Names and values that travel with it: a dictionary of the caller's.
            #[getter]
            fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                message::headers(py, self.0.delivery.message())
            }

            /// The ordered group it belongs to.
            #[getter]
            fn session(&self) -> Option<&str> {
                self.0.delivery.message().session()
            }

            /// What it answers or belongs to.
            #[getter]
            fn correlation_id(&self) -> Option<&str> {
                self.0.delivery.message().correlation_id()
            }

            /// The media type of the body.
            #[getter]
            fn content_type(&self) -> Option<&str> {
                self.0.delivery.message().content_type()
            }

            /// The dedup id it was sent with.
            #[getter]
            fn dedup_id(&self) -> Option<&str> {
                self.0.delivery.message().dedup_id()
            }

            /// Which attempt at the message this is, from 1.
            #[getter]
            fn attempt(&self) -> u32 {
                self.0.delivery.attempt()
            }

            /// The message's place in the order of the queue.
            #[getter]
            fn sequence(&self) -> u64 {
                self.0.delivery.sequence()
            }

            /// When the message was sent.
            #[getter]
            fn enqueued_at(&self) -> Moment {
                Moment(self.0.delivery.enqueued_at())
            }

            /// When the lock ends.
            #[getter]
            fn locked_until(&self) -> Moment {
                Moment(self.0.delivery.locked_until())
            }

            /// Whether it was settled through its own methods.
            #[getter]
            fn settled(&self) -> bool {
                self.0.delivery.is_settled()
            }

            /// Why work on it is to stop, if it is: `lock_lost` (somebody else may have the message
            /// by now), `stalled` (its lock was kept for as long as it may be), or `drained` (its
            /// consumer has ended and gave it back). Always `None` where its lock is not kept.
            #[getter]
            fn cancelled(&self) -> Option<&'static str> {
                self.0.delivery.cancelled().map(|cause| cause.name())
            }

            /// Done; gone for good. `InvalidReceiptError` when it was settled before,
            /// `LockLostError` or `SessionLockLostError` when its lock ended.
            fn ack(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                settle::<$mode>(slf, "Delivery.ack", Effect::Stores, |d, flags| {
                    d.delivery.ack(flags)
                })
            }

            /// This attempt failed: the message comes back after `delay` seconds, or as the queue's
            /// retry policy says; once its budget is spent it is dead-lettered, with `reason` as
            /// the description.
            #[pyo3(signature = (reason=None, *, delay=None))]
            fn nack(
                slf: &Bound<'_, Self>,
                reason: Option<String>,
                delay: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let delay = args::some_duration(delay.as_ref(), "delay")?;
                settle::<$mode>(slf, "Delivery.nack", Effect::Stores, move |d, flags| {
                    d.delivery.nack(reason.as_deref(), delay, flags)
                })
            }

            /// Given back unblamed, after `delay` seconds or at once: the attempt does not count.
            #[pyo3(signature = (*, delay=None))]
            fn release(
                slf: &Bound<'_, Self>,
                delay: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let delay = args::some_duration(delay.as_ref(), "delay")?;
                settle::<$mode>(slf, "Delivery.release", Effect::Stores, move |d, flags| {
                    d.delivery.release(delay, flags)
                })
            }

            /// To the dead-letter queue now, for a reason in a word and a description at length.
            #[pyo3(signature = (reason, description=None))]
            fn dead_letter(
                slf: &Bound<'_, Self>,
                reason: String,
                description: Option<String>,
            ) -> PyResult<Py<PyAny>> {
                settle::<$mode>(
                    slf,
                    "Delivery.dead_letter",
                    Effect::Stores,
                    move |d, flags| {
                        d.delivery
                            .dead_letter(&reason, description.as_deref(), flags)
                    },
                )
            }

            /// Keeps the lock for this many seconds from now; of a session's message, the session's
            /// lock.
            #[pyo3(signature = (lock, /))]
            fn extend(slf: &Bound<'_, Self>, lock: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                let lock = args::duration(&lock, "lock")?;
                settle::<$mode>(slf, "Delivery.extend", Effect::Passing, move |d, _| {
                    d.delivery.extend(lock)
                })
            }

            fn $enter(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                let value = slf.clone().into_any().unbind();
                <$mode>::done(slf.py(), concat!("Delivery.", stringify!($enter)), value)
            }

            #[pyo3(signature = (typ=None, exception=None, traceback=None, /))]
            fn $exit(
                slf: &Bound<'_, Self>,
                typ: Option<Bound<'_, PyAny>>,
                exception: Option<Bound<'_, PyAny>>,
                traceback: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let _ = (typ, traceback);
                let name = concat!("Delivery.", stringify!($exit));
                settle_after::<$mode>(slf, name, exception.as_ref())
            }

            fn __repr__(&self) -> String {
                // Never the body.
                let (queue, delivery) = (&self.0.queue.name, &self.0.delivery);
                format!(
                    "<Delivery {} of {queue:?}, attempt {}>",
                    delivery.id(),
                    delivery.attempt()
                )
            }
        }
    };
}

methods!(AsyncDelivery, Asyncio, __aenter__, __aexit__);
methods!(SyncDelivery, Blocking, __enter__, __exit__);
