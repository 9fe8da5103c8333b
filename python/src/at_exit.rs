//! The end of the process: runtimes end before the interpreter does, and threads that it leaves
//! behind are not let into it any more.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use pyo3::prelude::*;

use crate::runtime::Home;

/// How long what has begun may take to end.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that ends the process.
static EXITING: OnceLock<ThreadId> = OnceLock::new();
static RUNTIMES: Mutex<Vec<Weak<Home>>> = Mutex::new(Vec::new());

/// Has this runtime shut down at exit. Called with the interpreter's lock, as is what reads the
/// list: a forked child finds it unlocked.
pub(crate) fn watch(home: &Arc<Home>) {
    let mut runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
    runtimes.retain(|other| other.strong_count() > 0);
    runtimes.push(Arc::downgrade(home));
}

/// Whether the process ends and the calling thread is one it leaves behind.
pub(crate) fn is_over() -> bool {
    EXITING
        .get()
        .is_some_and(|exiting| *exiting != thread::current().id())
}

/// Keeps a thread that the process leaves behind from going back to the interpreter, which may be
/// gone. Not to be called with the interpreter's lock.
pub(crate) fn park_if_over() {
    while is_over() {
        thread::park();
    }
}

/// `park_if_over`, for who has the interpreter's lock.
pub(crate) fn stay_if_over(py: Python<'_>) {
    if is_over() {
        py.detach(park_if_over);
    }
}

/// Shuts every runtime down.
#[pyfunction]
fn shut_down(py: Python<'_>) {
    let _ = EXITING.set(thread::current().id());
    let runtimes = {
        let mut runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *runtimes)
    };
    let homes: Vec<Arc<Home>> = runtimes.iter().filter_map(Weak::upgrade).collect();
    py.detach(|| {
        for home in &homes {
            // There is nobody left to tell that something hangs.
            let _ = home.runtime.shutdown(TIMEOUT);
        }
    });
}

/// Has Python call this when it exits.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    let function = wrap_pyfunction!(shut_down, py)?;
    py.import("atexit")?.call_method1("register", (function,))?;
    Ok(())
}
