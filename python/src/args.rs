//! Arguments as Python gives them.

use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyMemoryView, PyString};

use crate::error::invalid_argument;

/// Seconds as a number, or a `timedelta`.
pub(crate) fn duration(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Duration> {
    let py = value.py();
    // What most callers give, and give for every message.
    if let Ok(whole) = value.cast_exact::<PyInt>()
        && let Ok(seconds) = whole.extract::<u32>()
    {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let seconds = if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>() {
        value.extract::<f64>()?
    } else if let Ok(total) = value.call_method0(intern!(py, "total_seconds")) {
        total.extract::<f64>()?
    } else {
        let problem = format!(
            "{name} must be a number of seconds or a timedelta, not {}",
            value.get_type().name()?
        );
        return Err(PyTypeError::new_err(problem));
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        let problem = if seconds < 0.0 {
            "must not be negative"
        } else {
            "must be finite"
        };
        invalid_argument(py, name, problem)
    })
}

/// A count that is more than nothing, if it is said.
pub(crate) fn at_least_1(py: Python<'_>, count: Option<u32>, name: &str) -> PyResult<Option<u32>> {
    match count {
        Some(0) => Err(invalid_argument(py, name, "must be at least 1")),
        count => Ok(count),
    }
}

pub(crate) fn some_duration(
    value: Option<&Bound<'_, PyAny>>,
    name: &str,
) -> PyResult<Option<Duration>> {
    value.map(|value| duration(value, name)).transpose()
}

/// A `datetime`, in milliseconds since 1970 UTC.
pub(crate) fn some_moment(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<Option<i64>> {
    let Some(value) = value else { return Ok(None) };
    let Ok(seconds) = value.call_method0(intern!(value.py(), "timestamp")) else {
        let problem = format!(
            "{name} must be a datetime, not {}",
            value.get_type().name()?
        );
        return Err(PyTypeError::new_err(problem));
    };
    Ok(Some((seconds.extract::<f64>()? * 1000.0).round() as i64))
}

/// Milliseconds since 1970, given as a `datetime` in UTC.
pub(crate) struct Moment(pub i64);

impl<'py> IntoPyObject<'py> for Moment {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        MAKE.import(py, "queue_runtime._data", "moment")?
            .call1((self.0,))
    }
}

/// Options as JSON.
pub(crate) fn config(py: Python<'_>, options: Option<Bound<'_, PyDict>>) -> PyResult<String> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Some(options) = options else {
        return Ok(String::new());
    };
    MAKE.import(py, "queue_runtime._options", "to_json")?
        .call1((options,))?
        .extract()
}

/// Calls this with the bytes of a body: of a text its UTF-8, of anything else what `bytes` makes of
/// it.
pub(crate) fn with_bytes<T>(
    body: &Bound<'_, PyAny>,
    name: &str,
    function: impl FnOnce(&[u8]) -> PyResult<T>,
) -> PyResult<T> {
    if let Ok(bytes) = body.cast::<PyBytes>() {
        return function(bytes.as_bytes());
    }
    if let Ok(text) = body.cast::<PyString>() {
        return function(text.to_str()?.as_bytes());
    }
    if body.is_instance_of::<PyByteArray>() || body.is_instance_of::<PyMemoryView>() {
        let copy = body.py().get_type::<PyBytes>().call1((body,))?;
        return function(copy.cast::<PyBytes>()?.as_bytes());
    }
    let problem = format!(
        "{name} must be bytes or str, not {}; give other values as json=",
        body.get_type().name()?
    );
    Err(PyTypeError::new_err(problem))
}
