//! The one error of every operation. Kinds and their numbers are permanent: they cross the C ABI.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::capability::Capability;
use crate::clock::Timestamp;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a class a program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument of a call is wrong; the error names it.
    InvalidArgument = 10,
    /// A configuration value is wrong; the error names the field.
    InvalidConfig = 11,
    /// A message cannot be sent as it is; the error names the field.
    InvalidMessage = 12,
    /// A message is larger than the provider takes; the error has both sizes.
    MessageTooLarge = 13,
    /// The client, queue, session or runtime was closed.
    Closed = 20,
    /// The object belongs to the parent of this forked process.
    Forked = 21,
    /// The operation was cancelled by its caller.
    Cancelled = 22,
    /// Waiting here would wait for the calling thread itself.
    WouldDeadlock = 23,
    /// The provider cannot do this; the error names the capability.
    Unsupported = 24,
    /// There is no queue of this name.
    QueueNotFound = 30,
    /// There is a queue of this name already, or it is defined otherwise.
    AlreadyExists = 31,
    /// The credentials were not accepted.
    Unauthenticated = 40,
    /// The credentials do not allow this.
    PermissionDenied = 41,
    /// The receipt was used already, or never belonged to this queue.
    InvalidReceipt = 50,
    /// The lock of this delivery ran out; the message is not this holder's any more.
    LockLost = 51,
    /// Somebody else holds the session.
    SessionLocked = 52,
    /// The lock of this session ran out; it is not this holder's any more.
    SessionLockLost = 53,
    /// The provider did not answer in time.
    Timeout = 60,
    /// The provider asks to slow down.
    Throttled = 61,
    /// The provider cannot be reached.
    Unavailable = 62,
    /// The circuit breaker is open.
    CircuitOpen = 63,
    /// A bound of the queue or of a buffer is reached.
    Full = 64,
    /// The file system failed.
    Io = 70,
    /// A store holds something that cannot be read.
    Corrupt = 71,
    /// The provider failed in a way of its own; its code is kept.
    Provider = 80,
    /// A bug of this library, or a panic in a callback.
    Panic = 99,
}

impl ErrorKind {
    /// Every kind there is.
    pub const ALL: [ErrorKind; 26] = [
        Self::InvalidArgument,
        Self::InvalidConfig,
        Self::InvalidMessage,
        Self::MessageTooLarge,
        Self::Closed,
        Self::Forked,
        Self::Cancelled,
        Self::WouldDeadlock,
        Self::Unsupported,
        Self::QueueNotFound,
        Self::AlreadyExists,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::InvalidReceipt,
        Self::LockLost,
        Self::SessionLocked,
        Self::SessionLockLost,
        Self::Timeout,
        Self::Throttled,
        Self::Unavailable,
        Self::CircuitOpen,
        Self::Full,
        Self::Io,
        Self::Corrupt,
        Self::Provider,
        Self::Panic,
    ];

    /// The permanent number of this kind.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The permanent name of this kind, as in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::InvalidConfig => "invalid_config",
            Self::InvalidMessage => "invalid_message",
            Self::MessageTooLarge => "message_too_large",
            Self::Closed => "closed",
            Self::Forked => "forked",
            Self::Cancelled => "cancelled",
            Self::WouldDeadlock => "would_deadlock",
            Self::Unsupported => "unsupported",
            Self::QueueNotFound => "queue_not_found",
            Self::AlreadyExists => "already_exists",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::InvalidReceipt => "invalid_receipt",
            Self::LockLost => "lock_lost",
            Self::SessionLocked => "session_locked",
            Self::SessionLockLost => "session_lock_lost",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::CircuitOpen => "circuit_open",
            Self::Full => "full",
            Self::Io => "io",
            Self::Corrupt => "corrupt",
            Self::Provider => "provider",
            Self::Panic => "panic",
        }
    }

    /// Whether the same call may succeed later. For `Provider` each error says it itself.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::SessionLocked
                | Self::Timeout
                | Self::Throttled
                | Self::Unavailable
                | Self::CircuitOpen
                | Self::Full
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What failed, where, and what to do. One pointer wide, so that a result costs nothing to pass on.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    capability: Option<Capability>,
    size: Option<(u64, u64)>,
    queue: Option<String>,
    operation: Option<&'static str>,
    code: Option<String>,
    retryable: bool,
    retry_after: Option<Duration>,
    until: Option<Timestamp>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a kind. The message says what happened and what to do, and holds no secret.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            field: None,
            capability: None,
            size: None,
            queue: None,
            operation: None,
            code: None,
            retryable: kind.retryable(),
            retry_after: None,
            until: None,
            source: None,
        }))
    }

    /// `InvalidArgument` for the named argument.
    pub fn invalid_argument(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::InvalidArgument, message).with_field(field)
    }

    /// `InvalidConfig` for the named field.
    pub fn invalid_config(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::InvalidConfig, message).with_field(field)
    }

    /// `InvalidMessage` for the named field.
    pub fn invalid_message(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::InvalidMessage, message).with_field(field)
    }

    /// `MessageTooLarge` with both sizes in bytes.
    pub fn too_large(actual: u64, limit: u64) -> Self {
        let mut error = Self::new(
            ErrorKind::MessageTooLarge,
            format!("the message has {actual} bytes, the limit is {limit}"),
        );
        error.0.size = Some((actual, limit));
        error
    }

    /// `Unsupported` for the named capability.
    pub fn unsupported(capability: Capability) -> Self {
        let what = format!("this provider does not support {}", capability.name());
        Self::unsupported_since(capability, what)
    }

    /// `Unsupported` for what needs ordered sessions, in a queue that has none.
    pub(crate) fn unsupported_by_groups(capability: Capability) -> Self {
        let what = format!(
            "a queue with fair_groups=true does not support {}: its sessions are groups that nobody \
             holds",
            capability.name()
        );
        Self::unsupported_since(capability, what)
    }

    fn unsupported_since(capability: Capability, what: String) -> Self {
        let mut error = Self::new(ErrorKind::Unsupported, what);
        error.0.capability = Some(capability);
        error
    }

    /// `Closed` for a thing that was closed.
    pub fn closed(what: &'static str) -> Self {
        Self::new(ErrorKind::Closed, format!("the {what} is closed"))
    }

    /// Names the argument, configuration field or message field at fault.
    pub fn with_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Names the queue, if no inner layer did.
    pub fn with_queue(mut self, queue: &str) -> Self {
        self.0.queue.get_or_insert_with(|| queue.to_owned());
        self
    }

    /// Names the operation, if no inner layer did.
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Keeps the provider's own code.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Says whether the same call may succeed later; for kind `Provider`.
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Says when to try again at the earliest.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Says until when the lock in the way is held, or until when the lost one was.
    pub fn with_until(mut self, until: Timestamp) -> Self {
        self.0.until = Some(until);
        self
    }

    /// Keeps the error below this one.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text for a person, without the place it happened at.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The argument, configuration field or message field at fault.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The capability that is missing, for `Unsupported`.
    pub fn capability(&self) -> Option<Capability> {
        self.0.capability
    }

    /// Actual size and limit in bytes, for `MessageTooLarge`.
    pub fn size(&self) -> Option<(u64, u64)> {
        self.0.size
    }

    /// The queue concerned.
    pub fn queue(&self) -> Option<&str> {
        self.0.queue.as_deref()
    }

    /// The operation that failed: a verb of this library.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The provider's own code.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        self.0.retryable
    }

    /// When to try again at the earliest, where known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Until when the lock in question is or was held, where known.
    pub fn until(&self) -> Option<Timestamp> {
        self.0.until
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(operation) = inner.operation {
            write!(f, "{operation}")?;
            if let Some(queue) = &inner.queue {
                write!(f, " on queue {queue:?}")?;
            }
            f.write_str(": ")?;
        } else if let Some(queue) = &inner.queue {
            write!(f, "queue {queue:?}: ")?;
        }
        if let Some(field) = &inner.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(code) = &inner.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)?;
        if let Some(source) = &self.0.source {
            write!(f, " caused by {source:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
