//! Errors of the library as exceptions of the package.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use queue_runtime_bindings::{Error, Status};

use crate::at_exit;

/// The exception for an error.
#[cold]
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    if error.status == Status::CLOSED {
        // A thread that the exiting process leaves behind has nobody to tell.
        at_exit::stay_if_over(py);
    }
    match object(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// The exception for an error, as an object.
pub(crate) fn object<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime.errors", "_make")?;
    make.call1((
        error.status.name(),
        &error.message,
        &error.code,
        &error.queue,
        &error.operation,
        &error.field,
        &error.capability,
        error.retryable,
        error.retry_after_ms,
        error.until,
        error.size,
    ))
}

/// The exception for an argument whose value is wrong.
#[cold]
pub(crate) fn invalid_argument(py: Python<'_>, field: &str, problem: &str) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = MAKE
        .import(py, "queue_runtime.errors", "_invalid_argument")
        .and_then(|make| make.call1((field, problem)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// Errors of the library, where an interpreter is at hand.
pub(crate) trait Raise<T> {
    /// The value, or the exception.
    fn raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> Raise<T> for Result<T, Error> {
    #[inline]
    fn raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(py, &error))
    }
}
