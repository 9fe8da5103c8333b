//! The verbs of queues, in either face.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use queue_runtime_bindings::{
    Buffer, ConsumerOptions, Delivery, Filter, ReceiveOptions, RedriveOptions, Session,
    SettleResults, Settlements,
};

use crate::args;
use crate::consumer::ConsumerParts;
use crate::dead_letters;
use crate::delivery;
use crate::error::{Raise, invalid_argument};
use crate::message::Outgoing;
use crate::mode::{Class, Effect, Mode};
use crate::queue::Parts;
use crate::results;
use crate::session::SessionParts;

#[inline]
pub(crate) fn send<M: Mode>(queue: &Bound<'_, M::Queue>, message: Outgoing) -> PyResult<Py<PyAny>> {
    let message = [message];
    M::run(
        queue.py(),
        "Queue.send",
        queue.clone().unbind(),
        Effect::Stores,
        move |parts: &Parts, flags| parts.queue.send(&message, flags),
        |py, _, results| results::SendResult::only(py, results),
    )
}

pub(crate) fn send_many<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    messages: &Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    if messages.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "messages must be an iterable of messages, not str",
        ));
    }
    let mut outgoing = Vec::with_capacity(messages.len().unwrap_or(0));
    for message in messages.try_iter()? {
        outgoing.push(Outgoing::entry(&message?)?);
    }
    M::run(
        queue.py(),
        "Queue.send_many",
        queue.clone().unbind(),
        Effect::Stores,
        move |parts: &Parts, flags| parts.queue.send(&outgoing, flags),
        |py, _, results| results::SendResults::object(py, results),
    )
}

pub(crate) fn receive<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    options: ReceiveOptions,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.receive",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.receive(&options),
        |py, parts, batch| delivery::list::<M>(py, parts, &batch),
    )
}

#[inline]
pub(crate) fn receive_one<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    options: ReceiveOptions,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.receive_one",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.receive(&options),
        |py, parts, batch| delivery::only::<M>(py, parts, &batch),
    )
}

pub(crate) fn consume<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    options: &ConsumerOptions,
) -> PyResult<Py<PyAny>> {
    let consumer = ConsumerParts::start(queue.get(), options).raise(queue.py())?;
    M::Consumer::object(queue.py(), consumer)
}

/// The delivery that an object is.
pub(crate) fn delivery_of<'a, 'py, M: Mode>(
    object: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, M::Delivery>> {
    object.cast::<M::Delivery>().map_err(|_| {
        let class = object.get_type();
        PyTypeError::new_err(format!("deliveries are wanted, not {class}"))
    })
}

pub(crate) fn ack_many<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    deliveries: &Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    let py = queue.py();
    let mut settlements = Settlements::new().raise(py)?;
    for delivery in deliveries.try_iter()? {
        settlements
            .ack(&delivery_of::<M>(&delivery?)?.get().delivery)
            .raise(py)?;
    }
    settle_all::<M>(queue, "Queue.ack_many", settlements)
}

pub(crate) fn settle<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    entries: &Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    let py = queue.py();
    let mut settlements = Settlements::new().raise(py)?;
    for entry in entries.try_iter()? {
        add::<M>(&mut settlements, &entry?)?;
    }
    settle_all::<M>(queue, "Queue.settle", settlements)
}

/// Adds a `Settlement` of `_data.py`.
pub(crate) fn add<M: Mode>(
    settlements: &mut Settlements,
    entry: &Bound<'_, PyAny>,
) -> PyResult<()> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = entry.py();
    if !entry.is_instance(CLASS.import(py, "queue_runtime._data", "Settlement")?)? {
        let problem = format!("settlements are wanted, not {}", entry.get_type().name()?);
        return Err(PyTypeError::new_err(problem));
    }
    let some_text = |name| -> PyResult<Option<String>> { entry.getattr(name)?.extract() };
    let verb: String = entry.getattr(intern!(py, "verb"))?.extract()?;
    let delay = entry.getattr(intern!(py, "delay"))?;
    let delay = args::some_duration((!delay.is_none()).then_some(&delay), "delay")?;
    let reason = some_text("reason")?;
    let description = some_text("description")?;
    let delivery = entry.getattr(intern!(py, "delivery"))?;
    let delivery = &delivery_of::<M>(&delivery)?.get().delivery;
    let added = match verb.as_str() {
        "ack" => settlements.ack(delivery),
        "nack" => settlements.nack(delivery, reason.as_deref(), delay),
        "release" => settlements.release(delivery, delay),
        "dead_letter" => {
            let reason = reason.as_deref().unwrap_or_default();
            settlements.dead_letter(delivery, reason, description.as_deref())
        }
        other => {
            let problem =
                format!("verb is {other:?}; make settlements by Settlement.ack and so on");
            return Err(invalid_argument(py, "verb", &problem));
        }
    };
    added.raise(py)
}

pub(crate) fn settle_all<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    name: &'static str,
    settlements: Settlements,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        name,
        queue.clone().unbind(),
        Effect::Stores,
        move |parts: &Parts, flags| parts.queue.settle(&settlements, flags),
        |py, _, settled: SettleResults| results::SettleResults::object(py, settled),
    )
}

pub(crate) fn extend_many<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    deliveries: &Bound<'_, PyAny>,
    lock: Duration,
) -> PyResult<Py<PyAny>> {
    let mut kept: Vec<Py<M::Delivery>> = Vec::new();
    for delivery in deliveries.try_iter()? {
        kept.push(delivery_of::<M>(&delivery?)?.clone().unbind());
    }
    M::run(
        queue.py(),
        "Queue.extend_many",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| {
            let kept: Vec<&Delivery> = kept.iter().map(|kept| &kept.get().delivery).collect();
            parts.queue.extend(&kept, lock)
        },
        |py, _, settled| results::SettleResults::object(py, settled),
    )
}

pub(crate) fn session<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    id: String,
    lock: Option<Duration>,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.session",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.accept_session(&id, lock),
        session_object::<M>,
    )
}

pub(crate) fn next_session<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    wait: Duration,
    lock: Option<Duration>,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.next_session",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.accept_next_session(wait, lock),
        session_object::<M>,
    )
}

pub(crate) fn session_object<M: Mode>(
    py: Python<'_>,
    queue: &Parts,
    session: Option<Session>,
) -> PyResult<Py<PyAny>> {
    let Some(session) = session else {
        return Ok(py.None());
    };
    let queue = queue.clone();
    M::Session::object(py, Arc::new(SessionParts { session, queue }))
}

/// Makes an awaitable one that can be used as a context at once.
pub(crate) fn opening(awaitable: Py<PyAny>, py: Python<'_>) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(MAKE
        .import(py, "queue_runtime._opening", "Opening")?
        .call1((awaitable,))?
        .unbind())
}

pub(crate) fn peek<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    max: u32,
    after: u64,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.peek",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.peek(after, max),
        |py, _, peeked| dead_letters::peeked(py, &peeked),
    )
}

pub(crate) fn statistics<M: Mode>(queue: &Bound<'_, M::Queue>) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.statistics",
        queue.clone().unbind(),
        Effect::Passing,
        |parts: &Parts, _| parts.queue.statistics(),
        |py, _, statistics| dead_letters::statistics(py, &statistics),
    )
}

/// The schedule, or with an id where that message stands; `made_by` is a function of `_explain.py`.
pub(crate) fn explain<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    id: Option<String>,
    name: &'static str,
    made_by: &'static str,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        name,
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.explain(id.as_deref()),
        move |py, _, json: Option<Buffer>| {
            let json = json.map(|json| json.text()).unwrap_or_default();
            let module = py.import("queue_runtime._explain")?;
            Ok(module.call_method1(made_by, (json,))?.unbind())
        },
    )
}

pub(crate) fn create<M: Mode>(queue: &Bound<'_, M::Queue>) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.create",
        queue.clone().unbind(),
        Effect::Passing,
        |parts: &Parts, _| parts.queue.create(),
        |py, _, ()| Ok(py.None()),
    )
}

pub(crate) fn list_dead_letters<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    max: u32,
    after: u64,
    filter: Filter,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.dead_letters",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.dead_letters(&filter, after, max),
        |py, _, letters| dead_letters::dead_letters(py, &letters),
    )
}

pub(crate) fn dead_letter_statistics<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    filter: Filter,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.dead_letter_statistics",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.dead_letter_statistics(&filter),
        |py, _, statistics| dead_letters::dead_letter_statistics(py, &statistics),
    )
}

pub(crate) fn redrive<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    filter: Filter,
    options: RedriveOptions,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.redrive",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.redrive(&filter, &options),
        |py, _, report| dead_letters::redrive_report(py, &report),
    )
}

pub(crate) fn purge_dead_letters<M: Mode>(
    queue: &Bound<'_, M::Queue>,
    filter: Filter,
) -> PyResult<Py<PyAny>> {
    M::run(
        queue.py(),
        "Queue.purge_dead_letters",
        queue.clone().unbind(),
        Effect::Passing,
        move |parts: &Parts, _| parts.queue.purge_dead_letters(&filter),
        |py, _, count: u64| Ok(count.into_pyobject(py)?.into_any().unbind()),
    )
}
