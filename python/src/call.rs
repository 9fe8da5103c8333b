//! Verbs that are awaited.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTypeInfo, ffi, intern};
use queue_runtime_bindings::{Batch, Flags, Op, Output, Result, Started};

use crate::client::AsyncClient;
use crate::consumer::{self, AsyncConsumer, Feed, Next};
use crate::delivery::AsyncDelivery;
use crate::error::Raise;
use crate::event_loop::{Operation, Waiting};
use crate::mode::{Class, Effect, Mode, Subject};
use crate::producer::AsyncProducer;
use crate::queue::AsyncQueue;
use crate::runtime::Home;
use crate::session::AsyncSession;
use crate::write_behind::AsyncWriteBehind;

/// The face of event loops: `queue_runtime`.
pub(crate) struct Asyncio;

impl Mode for Asyncio {
    type Client = AsyncClient;
    type Queue = AsyncQueue;
    type Delivery = AsyncDelivery;
    type Session = AsyncSession;
    type Consumer = AsyncConsumer;
    type WriteBehind = AsyncWriteBehind;
    type Producer = AsyncProducer;

    #[inline]
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
        F: FnMut(Python<'_>, &C::Parts, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
    {
        let verb = Typed {
            of,
            effect,
            begin,
            op: None,
            finish,
        };
        Call::object(py, name, State::Verb(Box::new(verb)))
    }

    fn done(py: Python<'_>, name: &'static str, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        Call::object(py, name, State::Ended(value))
    }

    fn next<C>(py: Python<'_>, name: &'static str, consumer: Py<C>) -> PyResult<Py<PyAny>>
    where
        C: Class,
        C::Parts: Feed,
    {
        let verb = Iteration { consumer, op: None };
        Call::object(py, name, State::Verb(Box::new(verb)))
    }
}

/// A verb on its way.
trait Verb: Send + Sync {
    /// Begins it, or takes what came of it: nothing while it goes on.
    fn step(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;

    /// What goes on.
    fn operation(&self) -> Option<Arc<dyn Operation>>;

    /// The runtime it belongs to.
    fn home(&self) -> &Home;
}

/// A verb of the library: begun when it is first awaited, as everything in asyncio.
struct Typed<C, T: Output, B, F> {
    of: Py<C>,
    effect: Effect,
    begin: B,
    op: Option<Arc<Op<T>>>,
    finish: F,
}

impl<C, T, B, F> Verb for Typed<C, T, B, F>
where
    C: Class,
    T: Output + Send + Sync + 'static,
    B: FnMut(&C::Parts, Flags) -> Result<Started<T>> + Send + Sync + 'static,
    F: FnMut(Python<'_>, &C::Parts, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
{
    fn step(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let parts: &C::Parts = self.of.get();
        let ended = match &self.op {
            Some(op) => op.take().transpose(),
            None => match (self.begin)(parts, Flags::None) {
                Ok(Started::Done(value)) => Some(Ok(value)),
                Ok(Started::Pending(op)) => {
                    self.op = Some(Arc::new(op));
                    None
                }
                Err(error) => Some(Err(error)),
            },
        };
        match ended {
            None => Ok(None),
            Some(Err(_)) if self.effect == Effect::GivesBack => Ok(Some(py.None())),
            Some(ended) => (self.finish)(py, parts, ended.raise(py)?).map(Some),
        }
    }

    fn operation(&self) -> Option<Arc<dyn Operation>> {
        self.op.clone().map(|op| op as Arc<dyn Operation>)
    }

    fn home(&self) -> &Home {
        self.of.get().home()
    }
}

/// The next message of a consumer.
struct Iteration<C> {
    consumer: Py<C>,
    op: Option<Arc<Op<Batch>>>,
}

impl<C> Verb for Iteration<C>
where
    C: Class,
    C::Parts: Feed,
{
    fn step(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let feed: &C::Parts = self.consumer.get();
        let next = match &self.op {
            None => feed.next(),
            Some(op) => {
                let Some(received) = op.take().transpose() else {
                    return Ok(None);
                };
                self.op = None;
                feed.take(received)
            }
        };
        match next.raise(py)? {
            Next::Delivery(delivery) => consumer::object::<Asyncio>(py, feed, delivery).map(Some),
            Next::End => Err(PyStopAsyncIteration::new_err(())),
            Next::Receive(op) => {
                self.op = Some(op);
                Ok(None)
            }
        }
    }

    fn operation(&self) -> Option<Arc<dyn Operation>> {
        self.op.clone().map(|op| op as Arc<dyn Operation>)
    }

    fn home(&self) -> &Home {
        self.consumer.get().home()
    }
}

/// What a verb gives: to be awaited once, as a coroutine. Nothing happens before that.
///
/// Cancelled while it waits, it ends when the operation has ended, and what that brought meanwhile
/// is given back.
#[pyclass(module = "queue_runtime")]
pub(crate) struct Call {
    name: &'static str,
    state: State,
}

enum State {
    Verb(Box<dyn Verb>),
    Waits(Box<Waits>),
    Ended(Py<PyAny>),
    Over,
}

/// A verb that goes on. Dropped, it is cancelled.
struct Waits {
    verb: Box<dyn Verb>,
    waiting: Waiting,
    /// What it ends with once its cancelled operation has ended.
    thrown: Option<PyErr>,
}

enum Step {
    Wait(Py<PyAny>),
    Over(Py<PyAny>),
}

impl Call {
    fn object(py: Python<'_>, name: &'static str, state: State) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Self { name, state })?.into_any())
    }

    /// Goes on: the future to wait for, or what came of it.
    fn step(&mut self, py: Python<'_>) -> PyResult<Step> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Verb(mut verb) => match verb.step(py)? {
                Some(value) => Ok(Step::Over(value)),
                None => self.wait(py, verb),
            },
            State::Waits(waits) => self.wait_on(py, waits),
            State::Ended(value) => Ok(Step::Over(value)),
            State::Over => {
                let problem = "cannot reuse already awaited coroutine";
                Err(PyRuntimeError::new_err(problem))
            }
        }
    }

    /// Begins to wait.
    fn wait(&mut self, py: Python<'_>, verb: Box<dyn Verb>) -> PyResult<Step> {
        let Some(operation) = verb.operation() else {
            return Err(PyRuntimeError::new_err("there is nothing to wait for"));
        };
        let waiting = Waiting::new(py, verb.home(), operation)?;
        let future = waiting.future(py)?;
        self.state = State::Waits(Box::new(Waits {
            verb,
            waiting,
            thrown: None,
        }));
        Ok(Step::Wait(future))
    }

    /// Takes what came, or goes on waiting.
    fn wait_on(&mut self, py: Python<'_>, mut waits: Box<Waits>) -> PyResult<Step> {
        if let Some(thrown) = &waits.thrown {
            if waits.waiting.operation().abandon() {
                return Err(thrown.clone_ref(py));
            }
        } else if let Some(value) = waits.verb.step(py)? {
            return Ok(Step::Over(value));
        }
        // A consumer goes from one receive to the next.
        if let Some(operation) = waits.verb.operation()
            && !waits.waiting.is_for(&operation)
        {
            waits.waiting = Waiting::new(py, waits.verb.home(), operation)?;
        }
        let future = waits.waiting.future(py)?;
        self.state = State::Waits(waits);
        Ok(Step::Wait(future))
    }
}

#[pymethods]
impl Call {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.step(py)? {
            Step::Wait(future) => Ok(Some(future)),
            // Without a value the end needs no exception.
            Step::Over(value) if value.is_none(py) => Ok(None),
            Step::Over(value) => {
                // SAFETY: the interpreter's lock is held, and the value lives. That nothing is
                // given then ends the iteration with what is set here: to make an exception of it
                // is dear, and the interpreter mostly wants the value alone.
                unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) };
                Ok(None)
            }
        }
    }

    /// Goes on, as a coroutine does.
    #[pyo3(signature = (value, /))]
    fn send(&mut self, py: Python<'_>, value: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value;
        match self.step(py)? {
            Step::Wait(future) => Ok(future),
            Step::Over(value) => Err(PyStopIteration::new_err((value,))),
        }
    }

    /// Ends it with this exception: at once, or, when it is a cancellation, once the operation has
    /// ended.
    #[pyo3(signature = (typ, val=None, tb=None, /))]
    fn throw(
        &mut self,
        py: Python<'_>,
        typ: Bound<'_, PyAny>,
        val: Option<Bound<'_, PyAny>>,
        tb: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let error = thrown(typ, val, tb)?;
        match &mut self.state {
            State::Waits(waits) if waits.thrown.is_none() && is_cancellation(py, &error)? => {
                waits.thrown = Some(error);
            }
            _ => {
                self.state = State::Over;
                return Err(error);
            }
        }
        match self.step(py)? {
            Step::Wait(future) | Step::Over(future) => Ok(future),
        }
    }

    /// Ends it. What still goes on is cancelled.
    fn close(&mut self) {
        self.state = State::Over;
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        self.name
    }

    fn __repr__(&self) -> String {
        format!("<call of {}>", self.name)
    }
}

/// The exception that `throw` was given, in any of its forms.
fn thrown(
    typ: Bound<'_, PyAny>,
    val: Option<Bound<'_, PyAny>>,
    tb: Option<Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let py = typ.py();
    let exception = if pyo3::exceptions::PyBaseException::is_type_of(&typ) {
        typ
    } else {
        match val {
            Some(val) if pyo3::exceptions::PyBaseException::is_type_of(&val) => val,
            Some(val) => typ.call1((val,))?,
            None => typ.call0()?,
        }
    };
    if let Some(tb) = tb {
        exception.call_method1(intern!(py, "with_traceback"), (tb,))?;
    }
    Ok(PyErr::from_value(exception))
}

fn is_cancellation(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static CANCELLED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let cancelled = CANCELLED.import(py, "asyncio", "CancelledError")?;
    Ok(error.is_instance(py, cancelled))
}
