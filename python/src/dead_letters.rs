//! What is seen of a queue without taking anything from it, as objects of `queue_runtime._data`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};
use queue_runtime_bindings::{
    DeadLetterGroup, DeadLetterStatistics, DeadLetters, Filter, MessageView, Peeked, RedriveReport,
    Statistics,
};

use crate::args;
use crate::message;

/// What every look at a message begins with: see `_Seen` in `_data.py`.
type Seen<'py> = (
    Bound<'py, PyString>,
    Bound<'py, PyBytes>,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyString>>,
    Option<Bound<'py, PyString>>,
    Option<Bound<'py, PyString>>,
    Option<Bound<'py, PyString>>,
);

fn seen<'py>(py: Python<'py>, id: &str, message: MessageView<'_>) -> PyResult<Seen<'py>> {
    let some = |text: Option<&str>| text.map(|text| PyString::new(py, text));
    Ok((
        PyString::new(py, id),
        PyBytes::new(py, message.body()),
        message::headers(py, message)?.into_any(),
        some(message.session()),
        some(message.correlation_id()),
        some(message.content_type()),
        some(message.dedup_id()),
    ))
}

/// A list of `PeekedMessage`.
pub(crate) fn peeked(py: Python<'_>, peeked: &Peeked) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._data", "peeked_message")?;
    let one = |seen_message: queue_runtime_bindings::PeekedMessage<'_>| {
        let m = seen_message;
        let seen = seen(py, m.id, m.message)?;
        make.call1((seen, m.state.name(), m.sequence, m.attempts, m.enqueued_at))
    };
    let all = peeked.iter().map(one).collect::<PyResult<Vec<_>>>()?;
    Ok(all.into_pyobject(py)?.unbind())
}

/// A list of `DeadLetter`.
pub(crate) fn dead_letters(py: Python<'_>, letters: &DeadLetters) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._data", "dead_letter")?;
    let one = |letter: queue_runtime_bindings::DeadLetter<'_>| {
        make.call1((
            seen(py, letter.id, letter.message)?,
            letter.reason,
            letter.description,
            letter.attempts,
            letter.source,
            letter.number,
            letter.enqueued_at,
            letter.first_delivered_at,
            letter.dead_lettered_at,
        ))
    };
    let all = letters.iter().map(one).collect::<PyResult<Vec<_>>>()?;
    Ok(all.into_pyobject(py)?.unbind())
}

/// A `DeadLetterStatistics`.
pub(crate) fn dead_letter_statistics(
    py: Python<'_>,
    statistics: &DeadLetterStatistics,
) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let module = "queue_runtime._dead_letter_statistics";
    let make = MAKE.import(py, module, "dead_letter_statistics")?;
    let fields = |group: DeadLetterGroup<'_>| {
        let name = PyString::new(py, group.name).unbind();
        (name, group.count, group.oldest, group.newest)
    };
    let age = |(up_to, count)| (message::seconds(up_to), count);
    let s = statistics;
    let arguments = (
        s.count(),
        s.bytes(),
        s.oldest(),
        s.newest(),
        s.by_reason().map(fields).collect::<Vec<_>>(),
        s.by_source().map(fields).collect::<Vec<_>>(),
        s.by_age().map(age).collect::<Vec<_>>(),
    );
    Ok(make.call1(arguments)?.unbind())
}

/// A `RedriveReport`.
pub(crate) fn redrive_report(py: Python<'_>, report: &RedriveReport) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._data", "RedriveReport")?;
    let failed: Vec<(&str, &str)> = report.failed().collect();
    let failed = pyo3::types::PyDict::from_sequence(&failed.into_pyobject(py)?)?;
    let arguments = (report.matched(), report.redriven(), report.last(), failed);
    Ok(make.call1(arguments)?.unbind())
}

/// A `Statistics`.
pub(crate) fn statistics(py: Python<'_>, statistics: &Statistics) -> PyResult<Py<PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "queue_runtime._data", "Statistics")?;
    let s = statistics;
    let arguments = (
        s.ready(),
        s.in_flight(),
        s.delayed(),
        s.depth(),
        s.dead(),
        s.bytes(),
        s.sessions(),
        message::seconds(s.oldest_age_ms()),
    );
    Ok(make.call1(arguments)?.unbind())
}

/// The filter of the arguments that all verbs of dead letters have.
pub(crate) fn filter(
    ids: Vec<String>,
    reason: Option<String>,
    session: Option<String>,
    header: Option<(String, String)>,
    since: Option<Bound<'_, PyAny>>,
    until: Option<Bound<'_, PyAny>>,
) -> PyResult<Filter> {
    Ok(Filter {
        ids,
        reason,
        session,
        header,
        since: args::some_moment(since.as_ref(), "since")?,
        until: args::some_moment(until.as_ref(), "until")?,
    })
}
