//! Messages to send, and what can be read of any message.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};
use queue_runtime_bindings as abi;
use queue_runtime_bindings::MessageView;

use crate::args;
use crate::error::Raise;

/// The `json=` argument: any value, `None` among them.
pub(crate) enum Json<'py> {
    Absent,
    Value(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Json<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Value(value.to_owned()))
    }
}

/// What is said of a message beside its body.
#[derive(Default)]
pub(crate) struct Properties<'py> {
    pub id: Option<Bound<'py, PyString>>,
    pub headers: Option<Bound<'py, PyDict>>,
    pub session: Option<Bound<'py, PyString>>,
    pub correlation_id: Option<Bound<'py, PyString>>,
    pub content_type: Option<Bound<'py, PyString>>,
    pub ttl: Option<Bound<'py, PyAny>>,
    pub delay: Option<Bound<'py, PyAny>>,
    pub dedup_id: Option<Bound<'py, PyString>>,
}

impl Properties<'_> {
    fn are_none(&self) -> bool {
        self.id.is_none()
            && self.headers.is_none()
            && self.session.is_none()
            && self.correlation_id.is_none()
            && self.content_type.is_none()
            && self.ttl.is_none()
            && self.delay.is_none()
            && self.dedup_id.is_none()
    }

    fn set(&self, py: Python<'_>, message: &mut abi::Message) -> PyResult<()> {
        if let Some(id) = &self.id {
            message.set_id(id.to_str()?).raise(py)?;
        }
        if let Some(headers) = &self.headers {
            set_headers(headers, message)?;
        }
        if let Some(session) = &self.session {
            message.set_session(session.to_str()?).raise(py)?;
        }
        if let Some(id) = &self.correlation_id {
            message.set_correlation_id(id.to_str()?).raise(py)?;
        }
        if let Some(content_type) = &self.content_type {
            message.set_content_type(content_type.to_str()?).raise(py)?;
        }
        if let Some(ttl) = &self.ttl {
            message.set_ttl(args::duration(ttl, "ttl")?).raise(py)?;
        }
        if let Some(delay) = &self.delay {
            message
                .set_delay(args::duration(delay, "delay")?)
                .raise(py)?;
        }
        if let Some(id) = &self.dedup_id {
            message.set_dedup_id(id.to_str()?).raise(py)?;
        }
        Ok(())
    }
}

fn set_headers(headers: &Bound<'_, PyDict>, message: &mut abi::Message) -> PyResult<()> {
    for (name, value) in headers {
        let (name, value) = (text(&name, "a header's name")?, text(&value, "a header")?);
        message.set_header(name, value).raise(headers.py())?;
    }
    Ok(())
}

fn text<'a>(value: &'a Bound<'_, PyAny>, name: &str) -> PyResult<&'a str> {
    match value.cast::<PyString>() {
        Ok(text) => text.to_str(),
        Err(_) => {
            let problem = format!("{name} must be str, not {}", value.get_type().name()?);
            Err(PyTypeError::new_err(problem))
        }
    }
}

/// A message to send: one that was made before, or one that is made for it.
pub(crate) enum Outgoing {
    Own(abi::Message),
    Shared(Arc<abi::Message>),
}

impl std::borrow::Borrow<abi::Message> for Outgoing {
    fn borrow(&self) -> &abi::Message {
        match self {
            Self::Own(message) => message,
            Self::Shared(message) => message,
        }
    }
}

impl Outgoing {
    /// From what `send` is given.
    pub(crate) fn new<'py>(
        py: Python<'py>,
        body: Option<Bound<'py, PyAny>>,
        json: Json<'py>,
        properties: &Properties<'py>,
    ) -> PyResult<Self> {
        let made_before = body.as_ref().and_then(|body| body.cast::<Message>().ok());
        let Some(message) = made_before else {
            return make(py, body, json, properties).map(Self::Own);
        };
        if !matches!(json, Json::Absent) || !properties.are_none() {
            let problem = "a Message is sent as it is; say the rest when it is made";
            return Err(PyTypeError::new_err(problem));
        }
        Ok(Self::Shared(message.get().message.clone()))
    }

    /// From an entry of what `send_many` is given.
    pub(crate) fn entry(entry: &Bound<'_, PyAny>) -> PyResult<Self> {
        match entry.cast::<Message>() {
            Ok(message) => Ok(Self::Shared(message.get().message.clone())),
            Err(_) => with_body(entry).map(Self::Own),
        }
    }
}

fn with_body(body: &Bound<'_, PyAny>) -> PyResult<abi::Message> {
    let py = body.py();
    args::with_bytes(body, "a body", |bytes| abi::Message::new(bytes).raise(py))
}

fn make<'py>(
    py: Python<'py>,
    body: Option<Bound<'py, PyAny>>,
    json: Json<'py>,
    properties: &Properties<'py>,
) -> PyResult<abi::Message> {
    let mut message = match (body, json) {
        (Some(body), Json::Absent) => with_body(&body)?,
        (None, Json::Value(value)) => {
            let mut message = with_body(&dump(&value)?)?;
            message.set_content_type("application/json").raise(py)?;
            message
        }
        (Some(_), Json::Value(_)) => {
            return Err(PyTypeError::new_err("give a body or json=, not both"));
        }
        (None, Json::Absent) => {
            return Err(PyTypeError::new_err("a message needs a body, or json="));
        }
    };
    properties.set(py, &mut message)?;
    Ok(message)
}

/// A value as JSON, without blanks.
fn dump<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static DUMP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DUMP.import(value.py(), "queue_runtime._data", "dump_json")?
        .call1((value,))
}

/// The value of a JSON text.
pub(crate) fn load<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static LOAD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOAD.import(py, "json", "loads")?
        .call1((PyBytes::new(py, body),))
}

/// The text of a body; `UnicodeDecodeError` when it is none.
pub(crate) fn decode<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyString>> {
    PyString::from_bytes(py, body)
}

/// A view of a body, without a copy, that keeps its owner.
pub(crate) fn memory_view<'py>(
    owner: Bound<'py, PyAny>,
    body: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    static BYTE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static VIEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = owner.py();
    // The stable ABI of 3.10 has no way to export memory; ctypes has.
    let byte = BYTE.import(py, "ctypes", "c_ubyte")?;
    let array = byte.call_method1(intern!(py, "__mul__"), (body.len(),))?;
    let array = match body.len() {
        0 => array.call0()?,
        _ => array.call_method1(intern!(py, "from_address"), (body.as_ptr() as usize,))?,
    };
    array.setattr(intern!(py, "owner"), owner)?;
    let view = VIEW.import(py, "builtins", "memoryview")?.call1((array,))?;
    let view = view.call_method1(intern!(py, "cast"), (intern!(py, "B"),))?;
    view.call_method0(intern!(py, "toreadonly"))
}

/// Headers as a dictionary of their own.
pub(crate) fn headers<'py>(
    py: Python<'py>,
    message: MessageView<'_>,
) -> PyResult<Bound<'py, PyDict>> {
    let headers = PyDict::new(py);
    for (name, value) in message.headers() {
        headers.set_item(name, value)?;
    }
    Ok(headers)
}

/// Milliseconds as seconds.
pub(crate) fn seconds(ms: Option<i64>) -> Option<f64> {
    ms.map(|ms| Duration::from_millis(ms.unsigned_abs()).as_secs_f64())
}

/// The session that a key, as JSON, finds in headers at a moment; `SessionKey` is made of it.
#[pyfunction]
#[pyo3(signature = (key, headers, now_ms, /))]
pub(crate) fn session_key(
    key: &Bound<'_, PyString>,
    headers: &Bound<'_, PyDict>,
    now_ms: i64,
) -> PyResult<Option<String>> {
    let py = key.py();
    let mut message = abi::Message::new(&[]).raise(py)?;
    set_headers(headers, &mut message)?;
    message.set_session_by(key.to_str()?, now_ms).raise(py)?;
    Ok(message.view().session().map(str::to_owned))
}

/// A message to send, as often as wanted: bytes or text as its body, or any value as `json=`, and
/// what is said of it.
///
/// Args:
///     body: bytes, or text, which is sent as UTF-8.
///     json: a value to send as JSON instead.
///     id: an id of the sender's choice; else it gets one.
///     headers: names and values that travel with it.
///     session: the ordered group it belongs to.
///     correlation_id: what it answers or belongs to.
///     content_type: the media type of the body.
///     ttl: it expires this many seconds (or a `timedelta`) after its sending.
///     delay: it appears this many seconds (or a `timedelta`) after its sending.
///     dedup_id: within the dedup window only the first message of this id is stored.
#[pyclass(frozen, module = "queue_runtime", weakref)]
pub(crate) struct Message {
    message: Arc<abi::Message>,
    id: Option<String>,
}

impl Message {
    /// One that was to be sent, and was not.
    pub(crate) fn given_back(message: abi::Message) -> Self {
        Self {
            message: Arc::new(message),
            id: None,
        }
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (
        body=None, /, *, json=Json::Absent, id=None, headers=None, session=None,
        correlation_id=None, content_type=None, ttl=None, delay=None, dedup_id=None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new<'py>(
        py: Python<'py>,
        body: Option<Bound<'py, PyAny>>,
        json: Json<'py>,
        id: Option<Bound<'py, PyString>>,
        headers: Option<Bound<'py, PyDict>>,
        session: Option<Bound<'py, PyString>>,
        correlation_id: Option<Bound<'py, PyString>>,
        content_type: Option<Bound<'py, PyString>>,
        ttl: Option<Bound<'py, PyAny>>,
        delay: Option<Bound<'py, PyAny>>,
        dedup_id: Option<Bound<'py, PyString>>,
    ) -> PyResult<Self> {
        let kept = id
            .as_ref()
            .map(|id| id.to_str().map(str::to_owned))
            .transpose()?;
        let properties = Properties {
            id,
            headers,
            session,
            correlation_id,
            content_type,
            ttl,
            delay,
            dedup_id,
        };
        let message = Arc::new(make(py, body, json, &properties)?);
        Ok(Self { message, id: kept })
    }

    /// The id that was given to it.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The body: a copy.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.view().body())
    }

    /// The body without a copy, read-only.
    #[getter]
    fn body_view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        memory_view(slf.clone().into_any(), slf.get().message.view().body())
    }

    /// The body as text; `UnicodeDecodeError` when it is none.
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        decode(py, self.message.view().body())
    }

    /// The value of the body's JSON; `json.JSONDecodeError` when it is none.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        load(py, self.message.view().body())
    }

    /// Names and values that travel with it: a dictionary of the caller's.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        headers(py, self.message.view())
    }

    /// The ordered group it belongs to.
    #[getter]
    fn session(&self) -> Option<&str> {
        self.message.view().session()
    }

    /// What it answers or belongs to.
    #[getter]
    fn correlation_id(&self) -> Option<&str> {
        self.message.view().correlation_id()
    }

    /// The media type of the body.
    #[getter]
    fn content_type(&self) -> Option<&str> {
        self.message.view().content_type()
    }

    /// Within the dedup window only the first message of this id is stored.
    #[getter]
    fn dedup_id(&self) -> Option<&str> {
        self.message.view().dedup_id()
    }

    /// It expires this many seconds after its sending.
    #[getter]
    fn ttl(&self) -> Option<f64> {
        seconds(self.message.view().ttl_ms())
    }

    /// It appears this many seconds after its sending.
    #[getter]
    fn delay(&self) -> Option<f64> {
        seconds(self.message.view().delay_ms())
    }

    fn __repr__(&self) -> String {
        // Never the body.
        let of_session = self
            .session()
            .map(|session| format!(" of session {session:?}"));
        let size = self.message.view().body().len();
        format!(
            "<Message of {size} bytes{}>",
            of_session.unwrap_or_default()
        )
    }
}
