//! What became of batches: result i belongs to entry i.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PySlice;
use queue_runtime_bindings as abi;

use crate::error::{Raise, object};

/// Results, of one entry's own or shared by those of a batch.
enum Kept<T> {
    Own(T),
    Shared(Arc<T>),
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Own(results) => results,
            Self::Shared(results) => results,
        }
    }
}

/// What became of a message that was sent.
#[pyclass(frozen, module = "queue_runtime")]
pub(crate) struct SendResult {
    results: Kept<abi::SendResults>,
    index: usize,
}

impl SendResult {
    /// The result of the only message; its error is raised.
    pub(crate) fn only(py: Python<'_>, results: abi::SendResults) -> PyResult<Py<PyAny>> {
        results.check(0).raise(py)?;
        let result = Self {
            results: Kept::Own(results),
            index: 0,
        };
        Ok(Py::new(py, result)?.into_any())
    }
}

#[pymethods]
impl SendResult {
    /// The id of the stored message, of the first one if it was a duplicate; `None` when it is not
    /// stored.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.results.get(self.index).ok().map(|result| result.id)
    }

    /// Whether it was not stored because one of the same dedup id was before it.
    #[getter]
    fn is_duplicate(&self) -> bool {
        self.results
            .get(self.index)
            .is_ok_and(|result| result.is_duplicate)
    }

    /// Why it is not stored; `None` when it is.
    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let error = self.results.get(self.index).err();
        error.map(|error| object(py, &error)).transpose()
    }

    fn __repr__(&self) -> String {
        match self.results.get(self.index) {
            Ok(result) if result.is_duplicate => format!("<SendResult duplicate of {}>", result.id),
            Ok(result) => format!("<SendResult {}>", result.id),
            Err(error) => format!("<SendResult {}>", error.status.name()),
        }
    }
}

/// What became of a delivery that was settled or kept.
#[pyclass(frozen, module = "queue_runtime")]
pub(crate) struct SettleResult {
    results: Kept<abi::SettleResults>,
    index: usize,
}

#[pymethods]
impl SettleResult {
    /// Why it was not done; `None` when it was.
    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let error = self.results.get(self.index).err();
        error.map(|error| object(py, &error)).transpose()
    }

    fn __repr__(&self) -> String {
        match self.results.get(self.index) {
            Ok(()) => "<SettleResult done>".to_owned(),
            Err(error) => format!("<SettleResult {}>", error.status.name()),
        }
    }
}

/// The index of an element, counted from the end when it is negative.
fn place(index: isize, len: usize) -> PyResult<usize> {
    let from_start = if index < 0 {
        index + len as isize
    } else {
        index
    };
    usize::try_from(from_start)
        .ok()
        .filter(|index| *index < len)
        .ok_or_else(|| PyIndexError::new_err("there is no such result"))
}

/// Raises for the errors of a batch, if there are any.
fn raise_for_errors(results: &Bound<'_, PyAny>, errors: bool) -> PyResult<()> {
    static RAISE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if !errors {
        return Ok(());
    }
    let raise = RAISE.import(results.py(), "queue_runtime.errors", "_raise_for_errors")?;
    raise.call1((results,)).map(drop)
}

macro_rules! sequence {
    ($(#[$doc:meta])* $class:ident of $element:ident, from $results:ty) => {
        $(#[$doc])*
        #[pyclass(frozen, sequence, module = "queue_runtime")]
        pub(crate) struct $class(Arc<$results>);

        impl $class {
            pub(crate) fn object(py: Python<'_>, results: $results) -> PyResult<Py<PyAny>> {
                Ok(Py::new(py, Self(Arc::new(results)))?.into_any())
            }

            fn element(&self, index: usize) -> $element {
                $element { results: Kept::Shared(self.0.clone()), index }
            }
        }

        #[pymethods]
        impl $class {
            fn __len__(&self) -> usize {
                self.0.len()
            }

            fn __getitem__<'py>(
                &self,
                index: Bound<'py, PyAny>,
            ) -> PyResult<Bound<'py, PyAny>> {
                let py = index.py();
                let Ok(slice) = index.cast::<PySlice>() else {
                    let element = self.element(place(index.extract()?, self.0.len())?);
                    return Ok(Bound::new(py, element)?.into_any());
                };
                let range = slice.indices(self.0.len() as isize)?;
                let mut elements = Vec::with_capacity(range.slicelength);
                for step in 0..range.slicelength as isize {
                    let index = range.start + step * range.step;
                    elements.push(Bound::new(py, self.element(index as usize))?);
                }
                Ok(elements.into_pyobject(py)?.into_any())
            }

            /// Raises `BatchError` when one of them failed.
            fn raise_for_errors(slf: &Bound<'_, Self>) -> PyResult<()> {
                let results = &slf.get().0;
                let errors = (0..results.len()).any(|index| results.get(index).is_err());
                raise_for_errors(slf.as_any(), errors)
            }

            fn __repr__(&self) -> String {
                let errors = (0..self.0.len()).filter(|index| self.0.get(*index).is_err()).count();
                format!("<{} of {}, {errors} failed>", stringify!($class), self.0.len())
            }
        }
    };
}

sequence! {
    /// What became of the messages of a `send_many`: a sequence, result i of message i.
    SendResults of SendResult, from abi::SendResults
}

sequence! {
    /// What became of the deliveries of a batch: a sequence, result i of entry i.
    SettleResults of SettleResult, from abi::SettleResults
}
