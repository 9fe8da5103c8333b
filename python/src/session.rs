//! Sessions: ordered groups with one holder at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use queue_runtime_bindings::{Buffer, ConsumerOptions, Result, Session, Started};

use crate::args::{self, Moment};
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::consumer::ConsumerParts;
use crate::delivery;
use crate::error::Raise;
use crate::mode::{Class, Effect, Mode, Subject, faces};
use crate::queue::{QueueParts, receive_options};
use crate::runtime::Home;

/// What a session is in both faces.
pub(crate) struct SessionParts {
    pub session: Session,
    pub queue: Arc<QueueParts>,
}

impl Subject for Arc<SessionParts> {
    fn home(&self) -> &Arc<Home> {
        &self.queue.home
    }

    fn slow(&self) -> Option<&AtomicBool> {
        Some(&self.queue.slow)
    }
}

faces! {
    /// A held session: an ordered group of messages that nobody else gets meanwhile. Let go by
    /// `close`, at the end of its block (`async with`), when it is dropped, or when its lock ends.
    Arc<SessionParts>: "Session", AsyncSession, SyncSession
}

/// Begins a verb that has no result.
fn run<M: Mode>(
    session: &Bound<'_, M::Session>,
    name: &'static str,
    begin: impl FnMut(&Arc<SessionParts>) -> Result<Started<()>> + Send + Sync + 'static,
) -> PyResult<Py<PyAny>> {
    let (py, mut begin) = (session.py(), begin);
    let of = session.clone().unbind();
    let begin = move |parts: &Arc<SessionParts>, _| begin(parts);
    M::run(py, name, of, Effect::Passing, begin, |py, _, ()| {
        Ok(py.None())
    })
}

fn receive<M: Mode>(
    session: &Bound<'_, M::Session>,
    max_messages: u32,
    wait: Option<Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let options = receive_options(max_messages, wait.as_ref(), None, false)?;
    M::run(
        session.py(),
        "Session.receive",
        session.clone().unbind(),
        Effect::Passing,
        move |parts: &Arc<SessionParts>, _| parts.session.receive(&options),
        |py, parts, batch| delivery::list::<M>(py, &parts.queue, &batch),
    )
}

fn receive_one<M: Mode>(
    session: &Bound<'_, M::Session>,
    wait: Option<Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let options = receive_options(1, wait.as_ref(), None, false)?;
    M::run(
        session.py(),
        "Session.receive_one",
        session.clone().unbind(),
        Effect::Passing,
        move |parts: &Arc<SessionParts>, _| parts.session.receive(&options),
        |py, parts, batch| delivery::only::<M>(py, &parts.queue, &batch),
    )
}

fn consume<M: Mode>(
    session: &Bound<'_, M::Session>,
    prefetch: u32,
    idle: Option<Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let options = ConsumerOptions {
        prefetch: Some(prefetch),
        idle: args::some_duration(idle.as_ref(), "idle")?,
        ..ConsumerOptions::default()
    };
    let parts: &Arc<SessionParts> = session.get();
    let consumer = ConsumerParts::of(parts, &options).raise(session.py())?;
    M::Consumer::object(session.py(), consumer)
}

fn renew<M: Mode>(session: &Bound<'_, M::Session>, lock: Option<Duration>) -> PyResult<Py<PyAny>> {
    run::<M>(session, "Session.renew", move |parts| {
        parts.session.renew(lock)
    })
}

fn state<M: Mode>(session: &Bound<'_, M::Session>) -> PyResult<Py<PyAny>> {
    M::run(
        session.py(),
        "Session.state",
        session.clone().unbind(),
        Effect::Passing,
        |parts: &Arc<SessionParts>, _| parts.session.state(),
        |py, _, state: Option<Buffer>| {
            let bytes = state.map(|state| PyBytes::new(py, state.bytes()).into_any().unbind());
            Ok(bytes.unwrap_or_else(|| py.None()))
        },
    )
}

fn set_state<M: Mode>(
    session: &Bound<'_, M::Session>,
    state: Option<Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let own =
        |state: Bound<'_, PyAny>| args::with_bytes(&state, "a state", |bytes| Ok(bytes.to_vec()));
    let state = state.map(own).transpose()?;
    run::<M>(session, "Session.set_state", move |parts| {
        parts.session.set_state(state.as_deref())
    })
}

fn close<M: Mode>(session: &Bound<'_, M::Session>) -> PyResult<Py<PyAny>> {
    run::<M>(session, "Session.close", |parts| parts.session.close())
}

macro_rules! methods {
    ($class:ident, $mode:ty, $enter:ident, $exit:ident) => {
        #[pymethods]
        impl $class {
            /// Its id.
            #[getter]
            fn id(&self) -> &str {
                self.0.session.id()
            }

            /// When its lock ends.
            #[getter]
            fn locked_until(&self) -> Moment {
                Moment(self.0.session.locked_until())
            }

            /// Receives up to `max_messages` of its messages, in order: as soon as one is there,
            /// with what else is ready; an empty list after `wait` seconds without one.
            #[pyo3(signature = (max_messages=1, wait=None))]
            fn receive(
                slf: &Bound<'_, Self>,
                max_messages: u32,
                wait: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                receive::<$mode>(slf, max_messages, wait)
            }

            /// Receives its next message; `None` after `wait` seconds without one.
            #[pyo3(signature = (wait=None))]
            fn receive_one(
                slf: &Bound<'_, Self>,
                wait: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                receive_one::<$mode>(slf, wait)
            }

            /// Its messages, one at a time and in order: the next when the one before is settled or
            /// dropped. Its lock is kept as long as this goes on; when that is lost,
            /// `SessionLockLostError`. Up to `prefetch` messages are fetched ahead. Without `idle` it
            /// goes on until it is left; with `idle` it ends after so many seconds without a message,
            /// with 0 when there is none.
            #[pyo3(signature = (prefetch=1, *, idle=None))]
            fn consume(
                slf: &Bound<'_, Self>,
                prefetch: u32,
                idle: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                consume::<$mode>(slf, prefetch, idle)
            }

            /// Keeps it, and all its deliveries, for `lock` seconds from now, or for its lock time.
            #[pyo3(signature = (lock=None))]
            fn renew(slf: &Bound<'_, Self>, lock: Option<Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
                renew::<$mode>(slf, args::some_duration(lock.as_ref(), "lock")?)
            }

            /// The bytes kept with it, across holders; `None` when there are none.
            fn state(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                state::<$mode>(slf)
            }

            /// Keeps these bytes, or the UTF-8 of this text, with it; `None` removes them.
            #[pyo3(signature = (state, /))]
            fn set_state(
                slf: &Bound<'_, Self>,
                state: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                set_state::<$mode>(slf, state)
            }

            /// Lets it go. What is not settled goes back to its place, its attempt used.
            fn close(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                close::<$mode>(slf)
            }

            fn $enter(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                let value = slf.clone().into_any().unbind();
                <$mode>::done(slf.py(), concat!("Session.", stringify!($enter)), value)
            }

            #[pyo3(signature = (*exc_info))]
            fn $exit(slf: &Bound<'_, Self>, exc_info: Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
                let _ = exc_info;
                close::<$mode>(slf)
            }

            fn __repr__(&self) -> String {
                format!(
                    "<Session {:?} of {:?}>",
                    self.0.session.id(),
                    self.0.queue.name
                )
            }
        }
    };
}

methods!(AsyncSession, Asyncio, __aenter__, __aexit__);
methods!(SyncSession, Blocking, __enter__, __exit__);
