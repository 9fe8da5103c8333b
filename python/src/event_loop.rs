//! How an event loop hears of operations that have ended: one descriptor that it watches, for each
//! loop and runtime, and a future for each operation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyNotImplementedError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use queue_runtime_bindings::{Events, Op, Output, Result, Runtime};

use crate::at_exit;
use crate::error::Raise;
use crate::runtime::Home;

/// How many ended operations are taken from the library at once.
const BATCH: usize = 256;

/// Something of the library's that goes on.
pub(crate) trait Operation: Send + Sync {
    /// Has its end told of.
    fn watch(&self, events: &Events, tag: u64) -> Result<()>;

    /// Asks it to end, and gives back what it has brought. Whether it has ended.
    fn abandon(&self) -> bool;
}

impl<T: Output> Operation for Op<T> {
    fn watch(&self, events: &Events, tag: u64) -> Result<()> {
        events.watch(self, tag)
    }

    fn abandon(&self) -> bool {
        // An error is that of a forked child: there is nothing to wait for.
        Op::abandon(self).unwrap_or(true)
    }
}

/// What a loop calls when its descriptor is readable.
#[pyclass(frozen, module = "queue_runtime._native")]
pub(crate) struct Hub {
    events: Events,
    /// What goes on, by tags.
    entries: Mutex<HashMap<u64, Entry>>,
    next_tag: AtomicU64,
}

/// An operation, and the future that is done when it has ended.
struct Entry {
    operation: Arc<dyn Operation>,
    future: Py<PyAny>,
}

impl Hub {
    /// Never held while the interpreter is entered.
    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, tag: u64, entry: Entry) {
        let before = self.entries().insert(tag, entry);
        drop(before);
    }

    fn remove(&self, tag: u64) -> Option<Entry> {
        self.entries().remove(&tag)
    }

    /// Ends what goes on for a loop that does not.
    fn abandon(&self) {
        let entries = std::mem::take(&mut *self.entries());
        for entry in entries.values() {
            entry.operation.abandon();
        }
    }
}

#[pymethods]
impl Hub {
    /// Wakes who waits for what has ended.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let tags = self.events.drain_tags(BATCH);
            let is_last = tags.len() < BATCH;
            // A thread that the exiting process leaves behind is not to be woken any more.
            if !at_exit::is_over() {
                for tag in tags {
                    let Some(entry) = self.remove(tag) else {
                        continue;
                    };
                    let future = entry.future.bind(py);
                    // What goes wrong with one must not keep the others.
                    if let Err(error) = wake(future) {
                        error.write_unraisable(py, Some(future));
                    }
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

fn wake(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    // It may have been cancelled meanwhile.
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

/// The hubs of a runtime.
#[derive(Default)]
pub(crate) struct Hubs(Mutex<Vec<Attached>>);

/// A hub and the loop that watches it.
struct Attached {
    event_loop: Py<PyWeakrefReference>,
    hub: Py<Hub>,
}

impl Hubs {
    fn list(&self) -> MutexGuard<'_, Vec<Attached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running loop, and its hub.
    fn of_running_loop(&self, py: Python<'_>, runtime: &Runtime) -> PyResult<(Py<PyAny>, Py<Hub>)> {
        static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let event_loop = GET.import(py, "asyncio", "get_running_loop")?.call0()?;
        let hub = self.get(&event_loop, runtime)?;
        Ok((event_loop.unbind(), hub))
    }

    /// The hub of a loop, made at its first use.
    fn get(&self, event_loop: &Bound<'_, PyAny>, runtime: &Runtime) -> PyResult<Py<Hub>> {
        let py = event_loop.py();
        // Looking through a weak reference runs no code of Python's.
        let is_of_loop = |attached: &&Attached| {
            let upgraded = attached.event_loop.bind(py).upgrade();
            upgraded.is_some_and(|other| other.is(event_loop))
        };
        let found = self
            .list()
            .iter()
            .find(is_of_loop)
            .map(|attached| attached.hub.clone_ref(py));
        if let Some(hub) = found {
            return Ok(hub);
        }
        self.forget_closed_loops(py)?;
        let hub = Hub {
            events: Events::new(runtime).raise(py)?,
            entries: Mutex::default(),
            next_tag: AtomicU64::new(0),
        };
        let fd = hub.events.fd().ok_or_else(|| {
            PyNotImplementedError::new_err(
                "asyncio needs a descriptor to watch, which there is none of on this platform; \
                 use queue_runtime.sync",
            )
        })?;
        let hub = Py::new(py, hub)?;
        event_loop.call_method1(intern!(py, "add_reader"), (fd, &hub))?;
        let attached = Attached {
            event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
            hub: hub.clone_ref(py),
        };
        self.list().push(attached);
        Ok(hub)
    }

    /// Frees what belongs to loops that are gone or closed.
    fn forget_closed_loops(&self, py: Python<'_>) -> PyResult<()> {
        let all = std::mem::take(&mut *self.list());
        let mut open = Vec::new();
        for attached in all {
            if is_open(attached.event_loop.bind(py))?.is_some() {
                open.push(attached);
            } else {
                attached.hub.get().abandon();
            }
        }
        self.list().extend(open);
        Ok(())
    }

    /// Has no loop watch any more. In the process that made it only: a child has its parent's
    /// selectors.
    pub(crate) fn detach(&self, py: Python<'_>) -> PyResult<()> {
        let all = std::mem::take(&mut *self.list());
        for attached in all {
            let Some(event_loop) = is_open(attached.event_loop.bind(py))? else {
                continue;
            };
            let Some(fd) = attached.hub.get().events.fd() else {
                continue;
            };
            if running_loop(py)?.is_some_and(|running| running.is(&event_loop)) {
                event_loop.call_method1(intern!(py, "remove_reader"), (fd,))?;
            } else {
                // It belongs to another thread, which lets go of the hub when it has done this.
                let remove = event_loop.getattr(intern!(py, "remove_reader"))?;
                let later = intern!(py, "call_soon_threadsafe");
                event_loop.call_method1(later, (LetGo::new(attached.hub, remove, fd),))?;
            }
        }
        Ok(())
    }
}

/// Ends the watching of a hub on the thread of its loop.
#[pyclass(frozen, module = "queue_runtime._native")]
struct LetGo {
    /// Kept until then: its descriptor must not be another's by then.
    _hub: Py<Hub>,
    remove_reader: Py<PyAny>,
    fd: i32,
}

impl LetGo {
    fn new(hub: Py<Hub>, remove_reader: Bound<'_, PyAny>, fd: i32) -> Self {
        Self {
            _hub: hub,
            remove_reader: remove_reader.unbind(),
            fd,
        }
    }
}

#[pymethods]
impl LetGo {
    fn __call__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.remove_reader.call1(py, (self.fd,))
    }
}

/// The loop, unless it is gone or closed.
fn is_open<'py>(
    event_loop: &Bound<'py, PyWeakrefReference>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(event_loop) = event_loop.upgrade() else {
        return Ok(None);
    };
    let is_closed = event_loop.call_method0(intern!(event_loop.py(), "is_closed"))?;
    Ok((!is_closed.is_truthy()?).then_some(event_loop))
}

fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = GET.import(py, "asyncio", "_get_running_loop")?.call0()?;
    Ok((!event_loop.is_none()).then_some(event_loop))
}

/// An operation's place in a hub. Dropped, the operation is abandoned.
pub(crate) struct Waiting {
    hub: Py<Hub>,
    event_loop: Py<PyAny>,
    operation: Arc<dyn Operation>,
    tag: u64,
}

impl Waiting {
    /// A place in the hub of the running loop.
    pub(crate) fn new(
        py: Python<'_>,
        home: &Home,
        operation: Arc<dyn Operation>,
    ) -> PyResult<Self> {
        let found = home.hubs.of_running_loop(py, &home.runtime);
        let (event_loop, hub) = found.inspect_err(|_| {
            operation.abandon();
        })?;
        let tag = hub.get().next_tag.fetch_add(1, Relaxed) & Events::MAX_TAG;
        operation.watch(&hub.get().events, tag).raise(py)?;
        Ok(Self {
            hub,
            event_loop,
            operation,
            tag,
        })
    }

    pub(crate) fn operation(&self) -> &dyn Operation {
        &*self.operation
    }

    pub(crate) fn is_for(&self, operation: &Arc<dyn Operation>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.operation), Arc::as_ptr(operation))
    }

    /// A future that is done when the operation has ended, as a task wants to be given it. Only on
    /// the loop's own thread, so that the end is not told of before.
    pub(crate) fn future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let future = self
            .event_loop
            .call_method0(py, intern!(py, "create_future"))?;
        future.setattr(py, intern!(py, "_asyncio_future_blocking"), true)?;
        let operation = self.operation.clone();
        let entry = Entry {
            operation,
            future: future.clone_ref(py),
        };
        self.hub.get().set(self.tag, entry);
        Ok(future)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.hub.get().remove(self.tag));
        self.operation.abandon();
    }
}
