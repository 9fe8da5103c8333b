//! Queues: send, receive, settle, look.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use queue_runtime_bindings::{
    BatchOptions, ConsumerOptions, Flags, ProducerOptions, Queue, ReceiveOptions, RedriveOptions,
    Sessions,
};

use crate::args;
use crate::blocking::Blocking;
use crate::call::Asyncio;
use crate::dead_letters::filter;
use crate::error::{Raise, invalid_argument};
use crate::message::{Json, Outgoing, Properties};
use crate::mode::{Class, Mode, Subject, faces};
use crate::producer::ProducerParts;
use crate::queue_verbs::*;
use crate::runtime::Home;

/// How long a receive waits unless it is told.
const WAIT: Duration = Duration::from_secs(10);

/// What a queue is in both faces.
pub(crate) struct QueueParts {
    pub queue: Queue,
    pub name: String,
    pub home: Arc<Home>,
    /// Whether something could not be stored at once.
    pub slow: AtomicBool,
}

impl QueueParts {
    pub(crate) fn new(queue: Queue, name: String, home: Arc<Home>) -> Self {
        Self {
            queue,
            name,
            home,
            slow: AtomicBool::new(false),
        }
    }
}

impl Subject for Arc<QueueParts> {
    fn home(&self) -> &Arc<Home> {
        &self.home
    }

    fn slow(&self) -> Option<&AtomicBool> {
        Some(&self.slow)
    }
}

pub(crate) type Parts = Arc<QueueParts>;

faces! {
    /// A queue of a client. Any thread may use it.
    Parts: "Queue", AsyncQueue, SyncQueue
}

/// What to receive, as the arguments of the receiving verbs say it.
pub(crate) fn receive_options(
    max_messages: u32,
    wait: Option<&Bound<'_, PyAny>>,
    lock: Option<&Bound<'_, PyAny>>,
    keep_lock: bool,
) -> PyResult<ReceiveOptions> {
    Ok(ReceiveOptions {
        max_messages,
        flags: Flags::None,
        wait: args::some_duration(wait, "wait")?.unwrap_or(WAIT),
        lock: args::some_duration(lock, "lock")?,
        keep_lock,
    })
}

macro_rules! methods {
    ($class:ident, $mode:ty, $session:expr) => {
        #[pymethods]
        impl $class {
            /// Its name.
            #[getter]
            fn name(&self) -> &str {
                &self.0.name
            }

            /// Sends a message: bytes, text, or any value as `json=`, with what else is said of it;
            /// or a `Message` made before. Waits for room when the queue is full.
            #[pyo3(signature = (
                body=None, /, *, json=Json::Absent, id=None, headers=None, session=None,
                correlation_id=None, content_type=None, ttl=None, delay=None, dedup_id=None,
            ))]
            #[expect(clippy::too_many_arguments, reason = "they are keywords")]
            fn send<'py>(
                slf: &Bound<'py, Self>,
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
            ) -> PyResult<Py<PyAny>> {
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
                let message = Outgoing::new(slf.py(), body, json, &properties)?;
                send::<$mode>(slf, message)
            }

            /// Sends many: each bytes, text, or a `Message`. Result i is that of message i; some
            /// may fail and others not, which raises nothing unless the results are asked to.
            #[pyo3(signature = (messages, /))]
            fn send_many(
                slf: &Bound<'_, Self>,
                messages: Bound<'_, PyAny>,
            ) -> PyResult<Py<PyAny>> {
                send_many::<$mode>(slf, &messages)
            }

            /// Receives up to `max_messages`: as soon as one is there, with what else is ready; an
            /// empty list after `wait` seconds (10 unless said; 0 looks once) without one. They are
            /// locked for `lock` seconds, or for as long as the queue says. With `keep_lock` their
            /// locks are kept, for up to 10 minutes, until each is settled or all are dropped.
            #[pyo3(signature = (max_messages=1, wait=None, *, lock=None, keep_lock=false))]
            fn receive(
                slf: &Bound<'_, Self>,
                max_messages: u32,
                wait: Option<Bound<'_, PyAny>>,
                lock: Option<Bound<'_, PyAny>>,
                keep_lock: bool,
            ) -> PyResult<Py<PyAny>> {
                let (wait, lock) = (wait.as_ref(), lock.as_ref());
                let options = receive_options(max_messages, wait, lock, keep_lock)?;
                receive::<$mode>(slf, options)
            }

            /// Receives one message; `None` after `wait` seconds (10 unless said; 0 looks once)
            /// without one. It is locked for `lock` seconds, or for as long as the queue says. With
            /// `keep_lock` its lock is kept, for up to 10 minutes, until it is settled or dropped.
            #[pyo3(signature = (wait=None, *, lock=None, keep_lock=false))]
            fn receive_one(
                slf: &Bound<'_, Self>,
                wait: Option<Bound<'_, PyAny>>,
                lock: Option<Bound<'_, PyAny>>,
                keep_lock: bool,
            ) -> PyResult<Py<PyAny>> {
                let options = receive_options(1, wait.as_ref(), lock.as_ref(), keep_lock)?;
                receive_one::<$mode>(slf, options)
            }

            /// Messages, one after the other, their locks kept until each is settled or dropped. It
            /// goes on until it is left: what was fetched and not handed over goes back, unblamed.
            ///
            /// Args:
            ///     concurrency: messages in hand at one time: handed over, and neither settled nor
            ///         dropped.
            ///     min_concurrency: scales: begins with so many in hand, and moves between this number
            ///         and `concurrency`: up while work waits, back when that made handlers slower and
            ///         got no more done, down when hands lay idle.
            ///     scale_cooldown: how long each limit of one that scales stays; 5 seconds.
            ///     prefetch: messages fetched ahead; as many as may be in hand.
            ///     prefetch_bytes: nothing more is fetched ahead while it has this many bytes.
            ///     max_messages: messages of one receive; as many as are wanted.
            ///     wait: how long each receive waits at the provider; 10 seconds.
            ///     lock: how long messages are locked, and locked again; as long as the queue says.
            ///     max_lock_renewal: for how long a lock is kept; 10 minutes.
            ///     reconnect: when a receive that failed is tried again, written as the queue's
            ///         `retry`; `exponential:100ms,2,30s,jitter`.
            ///     breaker: when to leave messages alone since their handlers fail: failures in a row,
            ///         pause, successes in a row, such as `5,30s,3`. A failure is a message that is
            ///         nacked, or released with a delay; until it is closed again no attempt is used.
            ///     idle: it ends when nothing came for so many seconds; with 0 when nothing is there.
            ///     max_sessions: works through held sessions, at most so many at a time.
            ///     session_idle: for how long one that has nothing is held while no other one waits;
            ///         60 seconds.
            ///     session_max_messages: after so many messages one makes room for another.
            ///     session_max_time: after so long a time one makes room for another.
            ///     max_in_flight_per_group: of one group at most so many messages are in hand; for
            ///         queues with fair groups.
            ///     batch_size: `next_batch` waits until a batch has so many messages; without it a
            ///         batch is what is there, and none of the following counts.
            ///     batch_bytes: or until it has so many bytes; 4 MiB.
            ///     batch_linger: or until its first message has waited so long; 5 milliseconds.
            ///     min_batch_size: the least size, where sizes adapt; 1.
            ///     target_batch_duration: sizes adapt so that a batch takes about so long until its
            ///         last message is settled.
            #[pyo3(signature = (
                *, concurrency=None, min_concurrency=None, scale_cooldown=None, prefetch=None,
                prefetch_bytes=67_108_864, max_messages=None,
                wait=None, lock=None, max_lock_renewal=None, reconnect=None, idle=None,
                breaker=None,
                max_sessions=None, session_idle=None, session_max_messages=None,
                session_max_time=None, max_in_flight_per_group=None,
                batch_size=None, batch_bytes=None, batch_linger=None, min_batch_size=None,
                target_batch_duration=None,
            ))]
            #[expect(clippy::too_many_arguments, reason = "they are keywords")]
            fn consume(
                slf: &Bound<'_, Self>,
                concurrency: Option<u32>,
                min_concurrency: Option<u32>,
                scale_cooldown: Option<Bound<'_, PyAny>>,
                prefetch: Option<u32>,
                prefetch_bytes: u64,
                max_messages: Option<u32>,
                wait: Option<Bound<'_, PyAny>>,
                lock: Option<Bound<'_, PyAny>>,
                max_lock_renewal: Option<Bound<'_, PyAny>>,
                reconnect: Option<String>,
                idle: Option<Bound<'_, PyAny>>,
                breaker: Option<String>,
                max_sessions: Option<u32>,
                session_idle: Option<Bound<'_, PyAny>>,
                session_max_messages: Option<u32>,
                session_max_time: Option<Bound<'_, PyAny>>,
                max_in_flight_per_group: Option<u32>,
                batch_size: Option<u32>,
                batch_bytes: Option<u64>,
                batch_linger: Option<Bound<'_, PyAny>>,
                min_batch_size: Option<u32>,
                target_batch_duration: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let linger = args::some_duration(batch_linger.as_ref(), "batch_linger")?;
                let target = target_batch_duration.as_ref();
                let target = args::some_duration(target, "target_batch_duration")?;
                let batches = batch_size.map(|size| {
                    let defaults = BatchOptions::default();
                    BatchOptions {
                        size,
                        bytes: batch_bytes.unwrap_or(defaults.bytes),
                        linger: linger.unwrap_or(defaults.linger),
                        min_size: min_batch_size.unwrap_or(defaults.min_size),
                        target_duration: target,
                    }
                });
                let wait = args::some_duration(wait.as_ref(), "wait")?;
                let longest = args::some_duration(max_lock_renewal.as_ref(), "max_lock_renewal")?;
                let defaults = ConsumerOptions::default();
                let options = ConsumerOptions {
                    concurrency: concurrency.or(batch_size).unwrap_or(defaults.concurrency),
                    min_concurrency: args::at_least_1(slf.py(), min_concurrency, "min_concurrency")?,
                    scale_cooldown: args::some_duration(scale_cooldown.as_ref(), "scale_cooldown")?,
                    prefetch,
                    prefetch_bytes,
                    max_messages,
                    wait: wait.unwrap_or(defaults.wait),
                    lock: args::some_duration(lock.as_ref(), "lock")?,
                    max_lock_renewal: longest.unwrap_or(defaults.max_lock_renewal),
                    reconnect,
                    idle: args::some_duration(idle.as_ref(), "idle")?,
                    breaker,
                    sessions: Sessions {
                        max: args::at_least_1(slf.py(), max_sessions, "max_sessions")?,
                        idle: args::some_duration(session_idle.as_ref(), "session_idle")?,
                        max_messages: args::at_least_1(slf.py(), session_max_messages,
                            "session_max_messages",
                        )?,
                        max_time: args::some_duration(session_max_time.as_ref(), "session_max_time")?,
                    },
                    max_in_flight_per_group: args::at_least_1(slf.py(), max_in_flight_per_group,
                        "max_in_flight_per_group",
                    )?,
                    batches,
                };
                consume::<$mode>(slf, &options)
            }

            /// Sends in batches what many parts of a program give it one by one.
            ///
            /// Args:
            ///     batch_size: messages of a batch, at most; as many are sent at once.
            ///     batch_bytes: their bytes, at most (one message may have more).
            ///     linger: how long a message waits for others at most; 5 milliseconds.
            ///     max_pending: messages accepted and not yet sent, at most.
            ///     max_pending_bytes: their bytes, at most.
            ///     on_full: whether `send` waits for room or raises `FullError`.
            #[pyo3(signature = (
                *, batch_size=100, batch_bytes=4_194_304, linger=None, max_pending=10_000,
                max_pending_bytes=67_108_864, on_full="wait",
            ))]
            fn producer(
                slf: &Bound<'_, Self>,
                batch_size: u32,
                batch_bytes: u64,
                linger: Option<Bound<'_, PyAny>>,
                max_pending: u64,
                max_pending_bytes: u64,
                on_full: &str,
            ) -> PyResult<Py<PyAny>> {
                let linger = args::some_duration(linger.as_ref(), "linger")?;
                let options = ProducerOptions {
                    batch_size,
                    batch_bytes,
                    linger: linger.unwrap_or(ProducerOptions::default().linger),
                    max_pending,
                    max_pending_bytes,
                };
                let parts = ProducerParts::start(slf.py(), slf.get(), &options, on_full)?;
                <$mode as Mode>::Producer::object(slf.py(), parts)
            }

            /// Acks many deliveries of this queue: result i is that of delivery i.
            #[pyo3(signature = (deliveries, /))]
            fn ack_many(
                slf: &Bound<'_, Self>,
                deliveries: Bound<'_, PyAny>,
            ) -> PyResult<Py<PyAny>> {
                ack_many::<$mode>(slf, &deliveries)
            }

            /// Ends many deliveries of this queue, each as its `Settlement` says: result i is that
            /// of entry i.
            #[pyo3(signature = (settlements, /))]
            fn settle(
                slf: &Bound<'_, Self>,
                settlements: Bound<'_, PyAny>,
            ) -> PyResult<Py<PyAny>> {
                settle::<$mode>(slf, &settlements)
            }

            /// Keeps the locks of many deliveries of this queue for `lock` seconds from now: result
            /// i is that of delivery i.
            #[pyo3(signature = (deliveries, lock, /))]
            fn extend_many(
                slf: &Bound<'_, Self>,
                deliveries: Bound<'_, PyAny>,
                lock: Bound<'_, PyAny>,
            ) -> PyResult<Py<PyAny>> {
                extend_many::<$mode>(slf, &deliveries, args::duration(&lock, "lock")?)
            }

            /// Takes the session of this id, locked for `lock` seconds, or for as long as the queue
            /// says. `SessionLockedError` when somebody holds it.
            #[pyo3(signature = (id, /, *, lock=None))]
            fn session(
                slf: &Bound<'_, Self>,
                id: String,
                lock: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let lock = args::some_duration(lock.as_ref(), "lock")?;
                let finish: fn(Py<PyAny>, Python<'_>) -> PyResult<Py<PyAny>> = $session;
                finish(session::<$mode>(slf, id, lock)?, slf.py())
            }

            /// Takes whichever session has work; `None` when none has within `wait` seconds (10
            /// unless said; 0 looks once).
            #[pyo3(signature = (wait=None, *, lock=None))]
            fn next_session(
                slf: &Bound<'_, Self>,
                wait: Option<Bound<'_, PyAny>>,
                lock: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let wait = args::some_duration(wait.as_ref(), "wait")?.unwrap_or(WAIT);
                next_session::<$mode>(slf, wait, args::some_duration(lock.as_ref(), "lock")?)
            }

            /// Looks at up to `max_messages` in the order of their sending, from after the sequence
            /// number `after` on, without taking them.
            #[pyo3(signature = (max_messages=100, *, after=0))]
            fn peek(slf: &Bound<'_, Self>, max_messages: u32, after: u64) -> PyResult<Py<PyAny>> {
                peek::<$mode>(slf, max_messages, after)
            }

            /// Counts and ages.
            fn statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                statistics::<$mode>(slf)
            }

            /// When its messages are tried again after they failed, as it is in force: budget, waits,
            /// and where it ends. `print` it.
            fn explain(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                explain::<$mode>(slf, None, "Queue.explain", "explanation")
            }

            /// Where the message of this id stands, and when the next attempt at it comes. `print` it.
            /// It is looked for among all messages. `UnsupportedError` without the capability `peek`.
            #[pyo3(signature = (id, /))]
            fn explain_message(slf: &Bound<'_, Self>, id: String) -> PyResult<Py<PyAny>> {
                if id.is_empty() {
                    return Err(invalid_argument(slf.py(), "id", "must not be empty"));
                }
                let made_by = "message_explanation";
                explain::<$mode>(slf, Some(id), "Queue.explain_message", made_by)
            }

            /// Where the breaker of its sends stands: `closed`, `half_open` or `open`.
            #[getter]
            fn breaker_state(&self) -> &'static str {
                self.0.queue.breaker().name()
            }

            /// Closes the breaker of its sends by hand, and forgets what failed.
            fn reset_breaker(&self, py: Python<'_>) -> PyResult<()> {
                self.0.queue.reset_breaker().raise(py)
            }

            /// Creates the queue by explicit call; `AlreadyExistsError` if it is there.
            fn create(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                create::<$mode>(slf)
            }

            /// Lists up to `max_messages` dead letters, oldest first, from after the number `after`
            /// on; those that all the filters match.
            #[pyo3(signature = (
                max_messages=100, *, after=0, ids=Vec::new(), reason=None, session=None,
                header=None, since=None, until=None,
            ))]
            #[expect(clippy::too_many_arguments, reason = "they are keywords")]
            fn dead_letters(
                slf: &Bound<'_, Self>,
                max_messages: u32,
                after: u64,
                ids: Vec<String>,
                reason: Option<String>,
                session: Option<String>,
                header: Option<(String, String)>,
                since: Option<Bound<'_, PyAny>>,
                until: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let filter = filter(ids, reason, session, header, since, until)?;
                list_dead_letters::<$mode>(slf, max_messages, after, filter)
            }

            /// Counts dead letters by their reason, their source and their age, those that all the
            /// filters match. They are listed for it, 1,000 at a time and with their bodies, so its
            /// cost grows with them; it takes nothing. Those that die while it goes on may be left
            /// out. `UnsupportedError` without the capability `dead_letter_list`.
            #[pyo3(signature = (
                *, ids=Vec::new(), reason=None, session=None, header=None, since=None, until=None,
            ))]
            fn dead_letter_statistics(
                slf: &Bound<'_, Self>,
                ids: Vec<String>,
                reason: Option<String>,
                session: Option<String>,
                header: Option<(String, String)>,
                since: Option<Bound<'_, PyAny>>,
                until: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let filter = filter(ids, reason, session, header, since, until)?;
                dead_letter_statistics::<$mode>(slf, filter)
            }

            /// Sends dead letters back, oldest first, those that all the filters match: their
            /// budget is whole again. At most `max_messages`, from after the number `after` on, at
            /// most `per_second`; with `dry_run` they are only counted.
            #[pyo3(signature = (
                *, max_messages=None, after=0, per_second=None, dry_run=false, ids=Vec::new(),
                reason=None, session=None, header=None, since=None, until=None,
            ))]
            #[expect(clippy::too_many_arguments, reason = "they are keywords")]
            fn redrive(
                slf: &Bound<'_, Self>,
                max_messages: Option<u64>,
                after: u64,
                per_second: Option<u32>,
                dry_run: bool,
                ids: Vec<String>,
                reason: Option<String>,
                session: Option<String>,
                header: Option<(String, String)>,
                since: Option<Bound<'_, PyAny>>,
                until: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let filter = filter(ids, reason, session, header, since, until)?;
                let options = RedriveOptions {
                    max: limit(slf.py(), max_messages, "max_messages")?,
                    after,
                    per_second: limit(slf.py(), per_second, "per_second")?,
                    dry_run,
                };
                redrive::<$mode>(slf, filter, options)
            }

            /// Deletes dead letters for good, those that all the filters match: how many.
            #[pyo3(signature = (
                *, ids=Vec::new(), reason=None, session=None, header=None, since=None, until=None,
            ))]
            fn purge_dead_letters(
                slf: &Bound<'_, Self>,
                ids: Vec<String>,
                reason: Option<String>,
                session: Option<String>,
                header: Option<(String, String)>,
                since: Option<Bound<'_, PyAny>>,
                until: Option<Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                let filter = filter(ids, reason, session, header, since, until)?;
                purge_dead_letters::<$mode>(slf, filter)
            }

            fn __repr__(&self) -> String {
                format!("<Queue {:?}>", self.0.name)
            }
        }
    };
}

/// A bound that, given, is not zero: to the library zero is none.
fn limit<T: Default + PartialEq>(py: Python<'_>, value: Option<T>, name: &str) -> PyResult<T> {
    match value {
        Some(value) if value == T::default() => {
            Err(invalid_argument(py, name, "must be at least 1"))
        }
        value => Ok(value.unwrap_or_default()),
    }
}

methods!(AsyncQueue, Asyncio, opening);
methods!(SyncQueue, Blocking, |session, _| Ok(session));
