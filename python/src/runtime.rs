//! Runtimes: threads and time.

use std::ops::Deref;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use queue_runtime_bindings as abi;

use crate::args::{self, Moment};
use crate::at_exit;
use crate::error::Raise;
use crate::event_loop::Hubs;
use crate::mode::{Class, Subject};

/// A runtime of the library, and the event loops that hear of it.
pub(crate) struct Home {
    pub runtime: abi::Runtime,
    pub hubs: Hubs,
    pid: u32,
}

impl Home {
    fn new(config: &str, virtual_clock: bool) -> Result<Arc<Self>, abi::Error> {
        let home = Arc::new(Self {
            runtime: abi::Runtime::new(config, virtual_clock)?,
            hubs: Hubs::default(),
            pid: process::id(),
        });
        at_exit::watch(&home);
        Ok(home)
    }

    /// The one that clients share who name none, made at its first use in a process.
    fn shared() -> Result<Arc<Self>, abi::Error> {
        // Held with the interpreter's lock only, so that a forked child finds it unlocked.
        static SHARED: Mutex<Option<Arc<Home>>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some(home) if home.pid == process::id() => Ok(home.clone()),
            _ => {
                let home = Self::new("", false)?;
                let before = shared.replace(home.clone());
                drop(shared);
                drop(before);
                Ok(home)
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.pid == process::id() {
            // Where there is no interpreter any more there is no loop either.
            Python::try_attach(|py| {
                if let Err(error) = self.hubs.detach(py) {
                    error.write_unraisable(py, None);
                }
            });
        }
    }
}

impl Subject for Arc<Home> {
    fn home(&self) -> &Arc<Home> {
        self
    }
}

/// Threads and time that clients stand on. Most programs need none of their own: `connect` uses
/// one that is made at first use.
///
/// Args:
///     virtual_clock: time stands still until `advance` moves it, for tests.
///     options: `worker_threads` and the other options of a runtime.
#[pyclass(frozen, module = "queue_runtime", weakref)]
pub(crate) struct Runtime(Arc<Home>);

impl Deref for Runtime {
    type Target = Arc<Home>;

    fn deref(&self) -> &Arc<Home> {
        &self.0
    }
}

impl Class for Runtime {
    type Parts = Arc<Home>;

    fn object(py: Python<'_>, home: Arc<Home>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Self(home))?.into_any())
    }
}

impl Runtime {
    /// This runtime, or the shared one.
    pub(crate) fn or_shared(py: Python<'_>, runtime: Option<Py<Self>>) -> PyResult<Py<Self>> {
        match runtime {
            Some(runtime) => Ok(runtime),
            None => Py::new(py, Self(Home::shared().raise(py)?)),
        }
    }
}

#[pymethods]
impl Runtime {
    #[new]
    #[pyo3(signature = (*, virtual_clock=false, **options))]
    fn new(
        py: Python<'_>,
        virtual_clock: bool,
        options: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let config = args::config(py, options)?;
        Home::new(&config, virtual_clock).raise(py).map(Self)
    }

    /// Moves the virtual clock by this many seconds (or a `timedelta`); what is due then happens.
    #[pyo3(signature = (by, /))]
    fn advance(&self, py: Python<'_>, by: Bound<'_, PyAny>) -> PyResult<()> {
        let by = args::duration(&by, "by")?;
        py.detach(|| self.runtime.advance(by)).raise(py)
    }

    /// The present time of its clock.
    fn now(&self) -> Moment {
        Moment(self.runtime.now())
    }

    /// The metrics of all its clients, as OpenMetrics text.
    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.runtime.metrics()).raise(py)
    }

    /// Ends it: what waits ends with `ClosedError`. Waits for what has begun, at most `timeout`
    /// seconds; `TimeoutError` beyond. Done by itself when the program exits.
    #[pyo3(signature = (timeout=None))]
    fn shutdown(&self, py: Python<'_>, timeout: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = args::some_duration(timeout.as_ref(), "timeout")?;
        let timeout = timeout.unwrap_or(Duration::from_secs(30));
        py.detach(|| self.runtime.shutdown(timeout)).raise(py)
    }

    fn __repr__(&self) -> &'static str {
        "<queue_runtime.Runtime>"
    }
}
