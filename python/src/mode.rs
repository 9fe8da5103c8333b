//! The two faces of every verb: awaited, or waited for.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::{PyClass, PyTypeInfo};
use queue_runtime_bindings::{Flags, Output, Result, Started};

use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::client::ClientParts;
use crate::consumer::{ConsumerParts, Feed};
use crate::delivery::DeliveryParts;
use crate::producer::ProducerParts;
use crate::queue::QueueParts;
use crate::runtime::Home;
use crate::session::SessionParts;
use crate::write_behind::WriteBehindParts;

/// What a class of the package holds, and its verbs are about.
pub(crate) trait Subject: Send + Sync + 'static {
    /// The runtime it belongs to.
    fn home(&self) -> &Arc<Home>;

    /// Whether something could not be stored at once before: then a thread that stores does the
    /// waiting itself, which is quicker, and lets others run meanwhile.
    fn slow(&self) -> Option<&AtomicBool> {
        None
    }
}

/// A class whose objects have verbs; `Parts` is what the two faces of it have in common.
pub(crate) trait Class:
    PyClass<Frozen = True> + PyTypeInfo + Sync + Deref<Target = Self::Parts>
{
    type Parts: Subject;

    /// An object of it.
    fn object(py: Python<'_>, parts: Self::Parts) -> PyResult<Py<PyAny>>;
}

/// What a verb does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing that a disk keeps.
    Passing,
    /// It stores something, and may have to wait for a disk.
    Stores,
    /// It stores that a message goes back. Should that fail, the message comes back by itself, so
    /// that its failure is nobody's concern.
    GivesBack,
}

/// A face.
pub(crate) trait Mode: 'static {
    type Client: Class<Parts = ClientParts>;
    type Queue: Class<Parts = Arc<QueueParts>>;
    type Delivery: Class<Parts = DeliveryParts>;
    type Session: Class<Parts = Arc<SessionParts>>;
    type Consumer: Class<Parts = ConsumerParts>;
    type WriteBehind: Class<Parts = WriteBehindParts>;
    type Producer: Class<Parts = ProducerParts>;

    /// Runs a verb of an object: begins it, and makes what came of it an object of Python.
    fn run<C, T, B, F>(
        py: Python<'_>,
        name: &'static str,
        of: Py<C>,
        effect: Effect,
        begin: B,
        finish: F,
    ) -> PyResult<Py<PyAny>>
    where
        C: Class,
        T: Output + Send + Sync + 'static,
        B: FnMut(&C::Parts, Flags) -> Result<Started<T>> + Send + Sync + 'static,
        F: FnMut(Python<'_>, &C::Parts, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static;

    /// What a verb gives that has nothing to do.
    fn done(py: Python<'_>, name: &'static str, value: Py<PyAny>) -> PyResult<Py<PyAny>>;

    /// The next message of a consumer.
    fn next<C>(py: Python<'_>, name: &'static str, consumer: Py<C>) -> PyResult<Py<PyAny>>
    where
        C: Class,
        C::Parts: Feed;
}

/// Defines the two classes of one kind, each around what they have in common.
macro_rules! faces {
    ($(#[$doc:meta])* $parts:ty: $name:literal, $asyncio:ident, $blocking:ident) => {
        $(#[$doc])*
        #[pyo3::pyclass(frozen, module = "queue_runtime", name = $name)]
        pub(crate) struct $asyncio($parts);

        $(#[$doc])*
        #[pyo3::pyclass(frozen, module = "queue_runtime.sync", name = $name)]
        pub(crate) struct $blocking($parts);

        $crate::mode::faces!(@parts $parts, $asyncio);
        $crate::mode::faces!(@parts $parts, $blocking);
    };
    (@parts $parts:ty, $class:ident) => {
        impl std::ops::Deref for $class {
            type Target = $parts;

            fn deref(&self) -> &$parts {
                &self.0
            }
        }

        impl $crate::mode::Class for $class {
            type Parts = $parts;

            fn object(py: pyo3::Python<'_>, parts: $parts) -> pyo3::PyResult<pyo3::Py<pyo3::PyAny>> {
                Ok(pyo3::Py::new(py, Self(parts))?.into_any())
            }
        }
    };
}
pub(crate) use faces;

/// Adds the classes of a face to the module, their names after this.
pub(crate) fn add_classes(module: &Bound<'_, PyModule>) -> PyResult<()> {
    fn add<M: Mode>(module: &Bound<'_, PyModule>, face: &str) -> PyResult<()> {
        let py = module.py();
        module.add(format!("{face}Client").as_str(), py.get_type::<M::Client>())?;
        module.add(format!("{face}Queue").as_str(), py.get_type::<M::Queue>())?;
        module.add(
            format!("{face}Delivery").as_str(),
            py.get_type::<M::Delivery>(),
        )?;
        module.add(
            format!("{face}Session").as_str(),
            py.get_type::<M::Session>(),
        )?;
        module.add(
            format!("{face}Consumer").as_str(),
            py.get_type::<M::Consumer>(),
        )?;
        module.add(
            format!("{face}WriteBehind").as_str(),
            py.get_type::<M::WriteBehind>(),
        )?;
        module.add(
            format!("{face}Producer").as_str(),
            py.get_type::<M::Producer>(),
        )
    }
    add::<Asyncio>(module, "Async")?;
    add::<Blocking>(module, "Sync")
}
