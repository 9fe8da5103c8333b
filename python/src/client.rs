//! Clients: connections to one provider each.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use queue_runtime_bindings::Client;

use crate::args;
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::error::Raise;
use crate::mode::{Class, Effect, Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::runtime::{Home, Runtime};

/// What a client is in both faces.
pub(crate) struct ClientParts {
    client: Client,
    home: Arc<Home>,
}

impl Subject for ClientParts {
    fn home(&self) -> &Arc<Home> {
        &self.home
    }
}

faces! {
    /// A connection to one provider, made by `connect`. Any thread may use it.
    ClientParts: "Client", AsyncClient, SyncClient
}

/// Opens a client.
fn open<M: Mode>(
    py: Python<'_>,
    url: String,
    config: String,
    runtime: Option<Py<Runtime>>,
) -> PyResult<Py<PyAny>> {
    let begin = move |home: &Arc<Home>, _| Client::open(&home.runtime, &url, &config);
    let finish = |py: Python<'_>, home: &Arc<Home>, client| {
        let parts = ClientParts {
            client,
            home: home.clone(),
        };
        M::Client::object(py, parts)
    };
    M::run(
        py,
        "connect",
        Runtime::or_shared(py, runtime)?,
        Effect::Passing,
        begin,
        finish,
    )
}

/// Opens a client: its URL, its options as JSON, its runtime or the shared one.
#[pyfunction]
#[pyo3(signature = (url, config, runtime, /))]
pub(crate) fn open_async(
    py: Python<'_>,
    url: String,
    config: String,
    runtime: Option<Py<Runtime>>,
) -> PyResult<Py<PyAny>> {
    open::<Asyncio>(py, url, config, runtime)
}

/// `open_async`, waited for.
#[pyfunction]
#[pyo3(signature = (url, config, runtime, /))]
pub(crate) fn open_sync(
    py: Python<'_>,
    url: String,
    config: String,
    runtime: Option<Py<Runtime>>,
) -> PyResult<Py<PyAny>> {
    open::<Blocking>(py, url, config, runtime)
}

impl ClientParts {
    fn queue<M: Mode>(
        &self,
        py: Python<'_>,
        name: String,
        options: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let config = args::config(py, options)?;
        let queue = self.client.queue(&name, &config).raise(py)?;
        let parts = QueueParts::new(queue, name, self.home.clone());
        M::Queue::object(py, Arc::new(parts))
    }

    fn capabilities(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let json = self.client.capabilities().raise(py)?;
        let make = MAKE.import(py, "queue_runtime._data", "capabilities")?;
        Ok(make.call1((json,))?.unbind())
    }
}

fn close<M: Mode>(client: &Bound<'_, M::Client>) -> PyResult<Py<PyAny>> {
    M::run(
        client.py(),
        "Client.close",
        client.clone().unbind(),
        Effect::Passing,
        |parts: &ClientParts, _| parts.client.close(),
        |py, _, ()| Ok(py.None()),
    )
}

macro_rules! methods {
    ($class:ident, $mode:ty, $enter:ident, $exit:ident) => {
        #[pymethods]
        impl $class {
            /// Opens a queue. This asks nobody and creates nothing. Options of the queue go before
            /// those of the client.
            #[pyo3(signature = (name, /, **options))]
            fn queue(
                &self,
                py: Python<'_>,
                name: String,
                options: Option<Bound<'_, PyDict>>,
            ) -> PyResult<Py<PyAny>> {
                self.0.queue::<$mode>(py, name, options)
            }

            /// What the provider can do, and its limits.
            fn capabilities(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.0.capabilities(py)
            }

            /// Where the breaker of the whole client stands, `client_breaker`: `closed`, `half_open`
            /// or `open`. Closed where there is none.
            #[getter]
            fn breaker_state(&self) -> &'static str {
                self.0.client.breaker().name()
            }

            /// Closes the breaker of the whole client by hand, and forgets what failed. Those of its
            /// queues stay as they are.
            fn reset_breaker(&self, py: Python<'_>) -> PyResult<()> {
                self.0.client.reset_breaker().raise(py)
            }

            /// The runtime it stands on.
            #[getter]
            fn runtime(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Runtime::object(py, self.0.home.clone())
            }

            /// Ends it: verbs that wait end with `ClosedError`, later ones fail with it.
            /// Deliveries in hand come back when their locks end. Again does nothing.
            fn close(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                close::<$mode>(slf)
            }

            fn $enter(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                let value = slf.clone().into_any().unbind();
                <$mode>::done(slf.py(), concat!("Client.", stringify!($enter)), value)
            }

            #[pyo3(signature = (*exc_info))]
            fn $exit(slf: &Bound<'_, Self>, exc_info: Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
                let _ = exc_info;
                close::<$mode>(slf)
            }
        }
    };
}

methods!(AsyncClient, Asyncio, __aenter__, __aexit__);
methods!(SyncClient, Blocking, __enter__, __exit__);
