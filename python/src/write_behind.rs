//! Write-behind: entries in, and batches out to a sink of the program. The classes that a program
//! sees are `queue_runtime/_write_behind*.py`, which stand on these.

use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use queue_runtime_bindings::{
    CloseReport, Entry, RejectedEntry, Status, WriteBatch as Batch, WriteBehind, WriteBehindMetrics,
};

use crate::args;
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::error::Raise;
use crate::mode::{Class, Effect, Mode, Subject, faces};
use crate::queue::QueueParts;
use crate::results;
use crate::runtime::{Home, Runtime};

/// What a write-behind is in both faces.
pub(crate) struct WriteBehindParts {
    write_behind: WriteBehind,
    home: Arc<Home>,
    /// Whether something could not be accepted at once.
    slow: AtomicBool,
}

impl Subject for WriteBehindParts {
    fn home(&self) -> &Arc<Home> {
        &self.home
    }

    fn slow(&self) -> Option<&AtomicBool> {
        Some(&self.slow)
    }
}

type Parts = WriteBehindParts;

faces! {
    /// The native half of a `WriteBehind`.
    Parts: "NativeWriteBehind", AsyncWriteBehind, SyncWriteBehind
}

/// An entry of the program's, copied.
struct Owned {
    body: Box<[u8]>,
    key: Box<[u8]>,
}

impl Owned {
    fn new(body: &Bound<'_, PyAny>, key: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let copied = |value, name| args::with_bytes(value, name, |bytes| Ok(bytes.into()));
        Ok(Self {
            body: copied(body, "entry")?,
            key: key.map_or_else(|| Ok(Box::default()), |key| copied(key, "key"))?,
        })
    }

    fn lend(&self) -> Entry<'_> {
        Entry {
            body: &self.body,
            key: &self.key,
        }
    }
}

/// Opens one: its options as JSON, whether the program writes its batches, its runtime or the
/// shared one.
fn open<M: Mode>(
    py: Python<'_>,
    config: String,
    asked: bool,
    runtime: Option<Py<Runtime>>,
) -> PyResult<Py<PyAny>> {
    let begin = move |home: &Arc<Home>, _| match asked {
        true => WriteBehind::open_asked(&home.runtime, &config),
        false => WriteBehind::open(&home.runtime, &config),
    };
    let finish = |py: Python<'_>, home: &Arc<Home>, write_behind| {
        let parts = Parts {
            write_behind,
            home: home.clone(),
            slow: AtomicBool::new(false),
        };
        M::WriteBehind::object(py, parts)
    };
    M::run(
        py,
        "WriteBehind.open",
        Runtime::or_shared(py, runtime)?,
        Effect::Passing,
        begin,
        finish,
    )
}

#[pyfunction]
#[pyo3(signature = (config, asked, runtime, /))]
pub(crate) fn open_write_behind_async(
    py: Python<'_>,
    config: String,
    asked: bool,
    runtime: Option<Py<Runtime>>,
) -> PyResult<Py<PyAny>> {
    open::<Asyncio>(py, config, asked, runtime)
}

/// `open_write_behind_async`, waited for.
#[pyfunction]
#[pyo3(signature = (config, asked, runtime, /))]
pub(crate) fn open_write_behind_sync(
    py: Python<'_>,
    config: String,
    asked: bool,
    runtime: Option<Py<Runtime>>,
) -> PyResult<Py<PyAny>> {
    open::<Blocking>(py, config, asked, runtime)
}

fn enqueue<M: Mode>(
    this: &Bound<'_, M::WriteBehind>,
    name: &'static str,
    entry: Owned,
    wait: bool,
) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        name,
        this.clone().unbind(),
        Effect::Stores,
        move |parts: &Parts, flags| parts.write_behind.enqueue(entry.lend(), wait, flags),
        |py, _, ()| Ok(py.None()),
    )
}

fn enqueue_many<M: Mode>(
    this: &Bound<'_, M::WriteBehind>,
    entries: Vec<Owned>,
) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        "WriteBehind.enqueue_many",
        this.clone().unbind(),
        Effect::Stores,
        move |parts: &Parts, flags| {
            let lent: Vec<Entry<'_>> = entries.iter().map(Owned::lend).collect();
            parts.write_behind.enqueue_many(&lent, flags)
        },
        |py, _, accepted| results::SettleResults::object(py, accepted),
    )
}

fn flush<M: Mode>(this: &Bound<'_, M::WriteBehind>) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        "WriteBehind.flush",
        this.clone().unbind(),
        Effect::Passing,
        |parts: &Parts, _| parts.write_behind.flush(),
        |py, _, ()| Ok(py.None()),
    )
}

fn feed<M: Mode>(
    this: &Bound<'_, M::WriteBehind>,
    queue: &Bound<'_, M::Queue>,
) -> PyResult<Py<PyAny>> {
    let queue: Arc<QueueParts> = queue.get().deref().clone();
    M::run(
        this.py(),
        "WriteBehind.feed",
        this.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.write_behind.feed(&queue.queue),
        |py, _, ()| Ok(py.None()),
    )
}

fn next<M: Mode>(this: &Bound<'_, M::WriteBehind>) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        "WriteBehind.next",
        this.clone().unbind(),
        Effect::Passing,
        |parts: &Parts, _| parts.write_behind.next(),
        |py, _, batch| match batch {
            Some(batch) => WriteBatch::object(py, batch),
            None => Ok(py.None()),
        },
    )
}

fn close<M: Mode>(this: &Bound<'_, M::WriteBehind>, deadline: Duration) -> PyResult<Py<PyAny>> {
    M::run(
        this.py(),
        "WriteBehind.close",
        this.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.write_behind.close(deadline),
        |py, _, report| close_report(py, &report),
    )
}

/// Body and key, as the functions of `_write_behind_data.py` take them.
type Pair<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

fn pair<'py>(py: Python<'py>, entry: Entry<'_>) -> Pair<'py> {
    let key = (!entry.key.is_empty()).then(|| PyBytes::new(py, entry.key));
    (PyBytes::new(py, entry.body), key)
}

/// A list of `RejectedEntry`.
fn rejected<'py, 'a>(
    py: Python<'py>,
    entries: impl Iterator<Item = RejectedEntry<'a>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._write_behind_data", "rejected_entry")?;
    let one = |r: RejectedEntry<'_>| {
        let entry = pair(py, r.entry);
        make.call1((entry, r.reason, r.description, r.attempts, r.enqueued_at))
    };
    entries.map(one).collect()
}

fn close_report(py: Python<'_>, report: &CloseReport) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._write_behind_data", "close_report")?;
    let unwritten: Vec<Pair<'_>> = report.unwritten().map(|entry| pair(py, entry)).collect();
    let rejected = rejected(py, report.rejected())?;
    let made = make.call1((unwritten, report.left_in_journal(), rejected))?;
    Ok(made.unbind())
}

impl Parts {
    fn take_rejected(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let taken = self.write_behind.take_rejected().raise(py)?;
        let taken = rejected(py, taken.iter())?;
        Ok(taken.into_pyobject(py)?.unbind())
    }

    fn metrics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKE.import(py, "queue_runtime._write_behind_data", "metrics")?;
        let WriteBehindMetrics {
            enqueued,
            persisted,
            failed,
            retries,
            batches,
            depth,
            timestamp,
        } = self.write_behind.metrics().raise(py)?;
        let counts = (enqueued, persisted, failed, retries, batches, depth);
        Ok(make.call1((counts, timestamp))?.unbind())
    }
}

macro_rules! methods {
    ($class:ident, $mode:ty) => {
        #[pymethods]
        impl $class {
            #[pyo3(signature = (entry, key, /))]
            fn enqueue(
                slf: &Bound<'_, Self>,
                entry: Bound<'_, PyAny>,
                key: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let entry = Owned::new(&entry, key.as_ref())?;
                enqueue::<$mode>(slf, "WriteBehind.enqueue", entry, true)
            }

            #[pyo3(signature = (entry, key, /))]
            fn try_enqueue(
                slf: &Bound<'_, Self>,
                entry: Bound<'_, PyAny>,
                key: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let entry = Owned::new(&entry, key.as_ref())?;
                enqueue::<$mode>(slf, "WriteBehind.try_enqueue", entry, false)
            }

            /// Of pairs of a body and a key.
            #[pyo3(signature = (entries, /))]
            fn enqueue_many(
                slf: &Bound<'_, Self>,
                entries: Vec<(Bound<'_, PyAny>, Option<Bound<'_, PyAny>>)>,
            ) -> PyResult<Py<PyAny>> {
                let owned = entries
                    .iter()
                    .map(|(entry, key)| Owned::new(entry, key.as_ref()));
                enqueue_many::<$mode>(slf, owned.collect::<PyResult<_>>()?)
            }

            fn flush(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                flush::<$mode>(slf)
            }

            #[pyo3(signature = (queue, /))]
            fn feed(
                slf: &Bound<'_, Self>,
                queue: &Bound<'_, <$mode as Mode>::Queue>,
            ) -> PyResult<Py<PyAny>> {
                feed::<$mode>(slf, queue)
            }

            /// The next batch that the program is to write; `None` once this has closed.
            fn next(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                next::<$mode>(slf)
            }

            #[pyo3(signature = (deadline, /))]
            fn close(slf: &Bound<'_, Self>, deadline: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                close::<$mode>(slf, args::duration(&deadline, "deadline")?)
            }

            fn take_rejected(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.0.take_rejected(py)
            }

            fn metrics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.0.metrics(py)
            }

            #[getter]
            fn breaker_state(&self) -> &'static str {
                self.0.write_behind.breaker().name()
            }
        }
    };
}

methods!(AsyncWriteBehind, Asyncio);
methods!(SyncWriteBehind, Blocking);

/// A batch in the hands of a sink of the program. Lost unfinished, its entries come again.
#[pyclass(frozen, module = "queue_runtime._native")]
pub(crate) struct WriteBatch {
    /// A list of `Entry`.
    #[pyo3(get)]
    entries: Py<PyAny>,
    /// Until it is finished.
    batch: Mutex<Option<Batch>>,
}

impl WriteBatch {
    fn object(py: Python<'_>, batch: Batch) -> PyResult<Py<PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKE.import(py, "queue_runtime._write_behind_data", "entries")?;
        let pairs: Vec<Pair<'_>> = batch.iter().map(|entry| pair(py, entry)).collect();
        let made = Self {
            entries: make.call1((pairs,))?.unbind(),
            batch: Mutex::new(Some(batch)),
        };
        Ok(Py::new(py, made)?.into_any())
    }

    fn take(&self) -> Option<Batch> {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        batch.take()
    }
}

/// The kind of an error by its name.
fn status(kind: &str) -> PyResult<Status> {
    let unknown = || PyValueError::new_err(format!("there is no kind of errors named {kind}"));
    Status::of(kind).ok_or_else(unknown)
}

#[pymethods]
impl WriteBatch {
    /// Every entry is written but those refused: which, the kind of the error, and its text.
    #[pyo3(signature = (refused, /))]
    fn finish(&self, py: Python<'_>, refused: Vec<(usize, String, String)>) -> PyResult<()> {
        let Some(batch) = self.take() else {
            return Ok(());
        };
        for (index, kind, message) in refused {
            batch.refuse(index, status(&kind)?, &message).raise(py)?;
        }
        batch.finish().raise(py)
    }

    /// Nothing of it is known to be written: the kind of the error, and its text.
    #[pyo3(signature = (kind, message, /))]
    fn fail(&self, py: Python<'_>, kind: &str, message: &str) -> PyResult<()> {
        let status = status(kind)?;
        match self.take() {
            Some(batch) => batch.fail(status, message).raise(py),
            None => Ok(()),
        }
    }
}
