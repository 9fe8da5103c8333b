//! Producers: messages that are sent one by one leave in batches.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};
use queue_runtime_bindings::{Producer, ProducerOptions, ProducerReport};

use crate::args;
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::error::{Raise, invalid_argument};
use crate::message::{Json, Message, Outgoing, Properties};
use crate::mode::{Effect, Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::results;
use crate::runtime::Home;

/// How long a close waits unless it is told.
const CLOSE: Duration = Duration::from_secs(30);

/// What a producer is in both faces.
pub(crate) struct ProducerParts {
    producer: Producer,
    waits: bool,
    home: Arc<Home>,
}

impl ProducerParts {
    pub(crate) fn start(
        py: Python<'_>,
        queue: &Arc<QueueParts>,
        options: &ProducerOptions,
        on_full: &str,
    ) -> PyResult<Self> {
        let waits = match on_full {
            "wait" => true,
            "error" => false,
            _ => return Err(invalid_argument(py, "on_full", "must be 'wait' or 'error'")),
        };
        Ok(Self {
            producer: Producer::start(&queue.queue, options).raise(py)?,
            waits,
            home: queue.home.clone(),
        })
    }
}

impl Subject for ProducerParts {
    fn home(&self) -> &Arc<Home> {
        &self.home
    }
}

faces! {
    /// Sends in batches what it is given one by one, in order, made by `Queue.producer`. Left, it
    /// sends what it accepted. Any number of tasks or threads may send by one.
    ProducerParts: "Producer", AsyncProducer, SyncProducer
}

fn send<M: Mode>(
    this: &Bound<'_, M::Producer>,
    name: &'static str,
    message: Outgoing,
    may_wait: bool,
) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        name,
        this.clone().unbind(),
        Effect::Passing,
        move |parts: &ProducerParts, _| {
            let waits = may_wait && parts.waits;
            parts
                .producer
                .send(std::borrow::Borrow::borrow(&message), waits)
        },
        |py, _, results| results::SendResult::only(py, results),
    )
}

fn flush<M: Mode>(this: &Bound<'_, M::Producer>) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        "Producer.flush",
        this.clone().unbind(),
        Effect::Passing,
        |parts: &ProducerParts, _| parts.producer.flush(),
        |py, _, ()| Ok(py.None()),
    )
}

fn close<M: Mode>(this: &Bound<'_, M::Producer>, deadline: Duration) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        "Producer.close",
        this.clone().unbind(),
        Effect::Passing,
        move |parts: &ProducerParts, _| parts.producer.close(deadline),
        |py, _, report| producer_report(py, &report),
    )
}

/// A `ProducerReport` of `_data.py`.
fn producer_report(py: Python<'_>, report: &ProducerReport) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._data", "ProducerReport")?;
    let unsent: Vec<Message> = report
        .unsent()
        .map(|view| view.to_message().raise(py).map(Message::given_back))
        .collect::<PyResult<_>>()?;
    let made = make.call1((report.sent(), report.failed(), unsent))?;
    Ok(made.unbind())
}

macro_rules! methods {
    ($class:ident, $mode:ty, $enter:ident, $exit:ident) => {
        #[pymethods]
        impl $class {
            /// Accepts a message, as `Queue.send` takes it, and gives its result when its batch was
            /// sent; its error is raised. While there is no room it waits, or raises `FullError`, as
            /// `on_full` says. Who stops waiting before there was room has sent nothing; after that
            /// the message is sent all the same.
            #[pyo3(signature = (
                        body=None, /, *, json=Json::Absent, id=None, headers=None, session=None,
                        correlation_id=None, content_type=None, ttl=None, delay=None, dedup_id=None,
                    ))]
            #[expect(clippy::too_many_arguments, reason = "they are keywords")]
            fn send<'py>(
                slf: &Bound<'py, Self>,
                body: Option<Bound<'py, PyAny>>,
                json: Json<'py>,
                id: Option<Bound<'py, PyString>>,
                headers: Option<Bound<'py, PyDict>>,
                session: Option<Bound<'py, PyString>>,
                correlation_id: Option<Bound<'py, PyString>>,
                content_type: Option<Bound<'py, PyString>>,
                ttl: Option<Bound<'py, PyAny>>,
                delay: Option<Bound<'py, PyAny>>,
                dedup_id: Option<Bound<'py, PyString>>,
            ) -> PyResult<Py<PyAny>> {
                let properties = Properties {
                    id,
                    headers,
                    session,
                    correlation_id,
                    content_type,
                    ttl,
                    delay,
                    dedup_id,
                };
                let message = Outgoing::new(slf.py(), body, json, &properties)?;
                send::<$mode>(slf, "Producer.send", message, true)
            }

            /// As `send` of bytes, text or a `Message`, but raises `FullError` instead of waiting for
            /// room.
            #[pyo3(signature = (message, /))]
            fn try_send(slf: &Bound<'_, Self>, message: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                let message = Outgoing::entry(&message)?;
                send::<$mode>(slf, "Producer.try_send", message, false)
            }

            /// Sends what was accepted before at once, and waits until all of it has its result.
            fn flush(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                flush::<$mode>(slf)
            }

            /// Accepts nothing more and sends what was accepted; what is left after `deadline`
            /// seconds (30 unless said) is in the report.
            #[pyo3(signature = (deadline=None))]
            fn close(
                slf: &Bound<'_, Self>,
                deadline: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let deadline = args::some_duration(deadline.as_ref(), "deadline")?;
                close::<$mode>(slf, deadline.unwrap_or(CLOSE))
            }

            fn $enter(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                let value = slf.clone().into_any().unbind();
                <$mode>::done(slf.py(), concat!("Producer.", stringify!($enter)), value)
            }

            #[pyo3(signature = (*exc_info))]
            fn $exit(slf: &Bound<'_, Self>, exc_info: Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
                let _ = exc_info;
                close::<$mode>(slf, CLOSE)
            }
        }
    };
}

methods!(AsyncProducer, Asyncio, __aenter__, __aexit__);
methods!(SyncProducer, Blocking, __enter__, __exit__);
