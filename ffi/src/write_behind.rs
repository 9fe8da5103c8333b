//! Write-behind: entries that are written to a database or to the program in batches.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use queue_runtime_core::write_behind::Sink;
use queue_runtime_core::{Entry, Error, ErrorKind, Result, WriteBehind, WriteBehindOptions};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::abi::{
    borrow, call, check_flags, duration, free, get, handle_output, qrt_bytes_t, run, slice,
};
use crate::breaker::{QRT_BREAKER_CLOSED, code};
use crate::close_report::qrt_close_report_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::options::{Options, read};
use crate::queue::{QRT_MAY_BLOCK, qrt_queue_t, start_verb};
use crate::rejected::qrt_rejected_t;
use crate::runtime::{Home, qrt_runtime_t};
use crate::settlement::qrt_settle_results_t;
use crate::write_batch::qrt_write_batch_t;
use crate::write_behind_metrics::qrt_write_behind_metrics_t;

/// An enqueue with this flag answers `QRT_ERR_FULL` instead of waiting for room.
pub const QRT_NO_WAIT: u32 = 4;

/// Something to be written. Both borrow for the length of the call. Frozen for ever.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_entry_t {
    /// A JSON object for a table, any bytes for a sink of the program.
    pub body: qrt_bytes_t,
    /// Entries of one key keep their order, and the last of them stands for all in a batch. Empty:
    /// none. A table finds the key in the body.
    pub key: qrt_bytes_t,
}

/// A sink of the program. Begin with `QRT_SINK_INIT`. The callback runs on a thread of the runtime,
/// for several batches at once where there are several writers, with no lock held; it may call
/// every function but those that wait, and should return quickly: the batch may be finished later,
/// by any thread. It must not throw or unwind.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_sink_t {
    /// `sizeof(qrt_sink_t)` of the caller.
    pub struct_size: usize,
    /// Takes a batch, which the callee owns and finishes. NULL: batches are asked for, by
    /// `qrt_write_behind_next`.
    pub on_batch:
        Option<unsafe extern "C" fn(user_data: *mut c_void, batch: *mut qrt_write_batch_t)>,
    /// Passed to the callback.
    pub user_data: *mut c_void,
    /// Frees `user_data`, once, after the last callback has returned; at once when nothing is
    /// opened. May be NULL.
    pub free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

impl Options for qrt_sink_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        on_batch: None,
        user_data: std::ptr::null_mut(),
        free: None,
    };
}

/// Accepts entries and writes them in batches. Thread-safe.
pub struct qrt_write_behind_t {
    inner: std::mem::ManuallyDrop<Arc<Inner>>,
    home: Home,
}

struct Inner {
    write_behind: WriteBehind,
    /// Batches of a program that asks for them.
    asked: Option<Mutex<mpsc::UnboundedReceiver<Box<qrt_write_batch_t>>>>,
}

impl qrt_write_behind_t {
    fn usable(&self) -> Result<&Arc<Inner>> {
        self.home.check()?;
        Ok(&self.inner)
    }
}

impl Drop for qrt_write_behind_t {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here; leaked in a forked child.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.inner) };
        }
    }
}

/// The callback of a sink.
struct Callback {
    on_batch: Option<unsafe extern "C" fn(*mut c_void, *mut qrt_write_batch_t)>,
    user_data: *mut c_void,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the contract of `qrt_sink_t` says that the callback runs on other threads.
unsafe impl Send for Callback {}
// SAFETY: and for several batches at once.
unsafe impl Sync for Callback {}

/// The program as a sink: each batch goes to its callback, or to whoever asks.
struct Program {
    callback: Callback,
    /// There are no more batches here than writers: each waits for the end of its own.
    asked: mpsc::UnboundedSender<Box<qrt_write_batch_t>>,
    home: Home,
}

impl Program {
    fn hand_over(&self, batch: Box<qrt_write_batch_t>) {
        match self.callback.on_batch {
            // SAFETY: as the contract says; the callee owns the batch.
            Some(on_batch) => unsafe { on_batch(self.callback.user_data, Box::into_raw(batch)) },
            // Nobody asks any more: the batch says so when it is dropped.
            None => drop(self.asked.send(batch)),
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: called once, after every callback.
            unsafe { free(self.user_data) };
        }
    }
}

impl Sink for Program {
    async fn upsert_many(&self, entries: Vec<Entry>) -> Result<Vec<Result<()>>> {
        let (finish, finished) = oneshot::channel();
        self.hand_over(qrt_write_batch_t::new(entries, finish, self.home.clone()));
        finished.await.unwrap_or_else(|_| {
            let what = "the program let go of a batch without finishing it";
            Err(Error::new(ErrorKind::Unavailable, what))
        })
    }
}

/// Opens a write-behind. `config` is options as JSON, such as `{"sink": "postgres://app@db/app",
/// "table": "prices", "key": "item"}`. `sink` is NULL for a table, or the program's own. The table
/// is looked at: `QRT_ERR_INVALID_CONFIG` says what does not fit.
///
/// `QRT_OK`: `*write_behind` is there, the caller owns it. `QRT_PENDING`: `done` will run, and
/// `qrt_op_take_write_behind` gives it. Takes the sink's `user_data`: its `free` runs also when the
/// call or its operation fails. Copies its other inputs. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_open(
    runtime: *mut qrt_runtime_t,
    config: qrt_bytes_t,
    sink: *const qrt_sink_t,
    done: qrt_completion_t,
    write_behind: *mut *mut qrt_write_behind_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let callback = match sink.is_null() {
                true => None,
                false => Some(Callback::of(read(sink)?)),
            };
            let op = op_place(op);
            let place = handle_output(write_behind, "write_behind")?;
            let home = borrow(runtime, "runtime")?.0.clone();
            home.check()?;
            let options = match config.some_text("config")? {
                Some(json) => WriteBehindOptions::from_json(json)?,
                None => WriteBehindOptions::default(),
            };
            let opening = open(home.clone(), options, callback);
            start_future(&home, opening, done, place, op)
        })
    }
}

impl Callback {
    fn of(sink: qrt_sink_t) -> Self {
        Self {
            on_batch: sink.on_batch,
            user_data: sink.user_data,
            free: sink.free,
        }
    }
}

async fn open(
    home: Home,
    options: WriteBehindOptions,
    callback: Option<Callback>,
) -> Result<Box<qrt_write_behind_t>> {
    let runtime = home.runtime();
    let (write_behind, asked) = match callback {
        None => (WriteBehind::open(runtime, options).await?, None),
        Some(callback) => {
            let (asked, asking) = mpsc::unbounded_channel();
            let asking = callback.on_batch.is_none().then(|| Mutex::new(asking));
            let program = Program {
                callback,
                asked,
                home: home.clone(),
            };
            let opened = WriteBehind::with_sink(runtime, options, program).await?;
            (opened, asking)
        }
    };
    let inner = Arc::new(Inner {
        write_behind,
        asked,
    });
    Ok(Box::new(qrt_write_behind_t {
        inner: std::mem::ManuallyDrop::new(inner),
        home,
    }))
}

/// An entry of the caller's, copied.
///
/// # Safety
/// The bytes are readable.
unsafe fn copy(entry: &qrt_entry_t) -> Result<Entry> {
    // SAFETY: the caller vouches for them.
    let (body, key) = unsafe {
        (
            entry.body.bytes("entry.body")?,
            entry.key.bytes("entry.key")?,
        )
    };
    let entry = Entry::new(match crate::bodies() {
        Some(bodies) => bodies.copy(body),
        None => Bytes::copy_from_slice(body),
    });
    Ok(match key {
        [] => entry,
        key => entry.key(Bytes::copy_from_slice(key)),
    })
}

/// Accepts an entry. `QRT_OK`: it is accepted, and durable if it went into the journal. `QRT_PENDING`:
/// the buffer is full, or the journal's disk is waited for; `done` will run, and `qrt_op_take_unit`
/// tells. One that is cancelled takes nothing in, unless it is on its way to the journal. `flags`:
/// any of `QRT_NO_WAIT` and `QRT_MAY_BLOCK`. Copies the entry. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_enqueue(
    write_behind: *mut qrt_write_behind_t,
    entry: *const qrt_entry_t,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(write_behind, "write_behind")?;
            check_flags(flags, QRT_NO_WAIT | QRT_MAY_BLOCK)?;
            let entry = copy(borrow(entry, "entry")?)?;
            let inner = handle.usable()?;
            let entry = match inner.write_behind.enqueue_now(entry) {
                Ok(()) => return Ok(crate::error::QRT_OK),
                Err(entry) => entry,
            };
            let inner = inner.clone();
            let enqueue = async move {
                match flags & QRT_NO_WAIT {
                    0 => inner.write_behind.enqueue(entry).await,
                    _ => inner.write_behind.try_enqueue(entry).await,
                }
            };
            start_verb(flags, || {
                start_future(&handle.home, enqueue, done, &mut (), op)
            })
        })
    }
}

/// Accepts `count` entries in their order, waiting for room. `QRT_OK`: `*results` says what became
/// of each, result i of entry i; the caller owns it. `QRT_PENDING`: `qrt_op_take_settle_results`.
/// One that is cancelled leaves out what was not taken in yet. `flags`: `QRT_MAY_BLOCK` or 0.
/// Copies the entries. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_enqueue_many(
    write_behind: *mut qrt_write_behind_t,
    entries: *const qrt_entry_t,
    count: usize,
    flags: u32,
    done: qrt_completion_t,
    results: *mut *mut qrt_settle_results_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(results, "results")?;
            let handle = borrow(write_behind, "write_behind")?;
            check_flags(flags, QRT_MAY_BLOCK)?;
            let entries = slice(entries, count, "entries")?.iter();
            let entries: Vec<Entry> = entries.map(|entry| copy(entry)).collect::<Result<_>>()?;
            let inner = handle.usable()?.clone();
            let enqueue = async move {
                let results = inner.write_behind.enqueue_many(entries).await;
                Ok(qrt_settle_results_t::new(results))
            };
            start_verb(flags, || {
                start_future(&handle.home, enqueue, done, place, op)
            })
        })
    }
}

/// Asks for the next batch of a sink of the program without `on_batch`. `QRT_OK`: `*batch` is one
/// to be finished, which the caller owns, or NULL once the write-behind has closed. `QRT_PENDING`:
/// `done` will run, and `qrt_op_take_write_batch` gives it. Several may ask at once, as there are writers.
/// One that is cancelled, or that nobody takes the result of, has its entries tried again. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_next(
    write_behind: *mut qrt_write_behind_t,
    done: qrt_completion_t,
    batch: *mut *mut qrt_write_batch_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(batch, "batch")?;
            let handle = borrow(write_behind, "write_behind")?;
            let inner = handle.usable()?.clone();
            if inner.asked.is_none() {
                return Err(Error::invalid_argument(
                    "write_behind",
                    "has no sink whose batches are asked for",
                ));
            }
            let next = async move {
                let Some(asked) = &inner.asked else {
                    return Ok(None);
                };
                let asking = async {
                    let mut asked = asked.lock().await;
                    loop {
                        let batch = asked.recv().await?;
                        // What a close gave back while it lay here is nobody's to write.
                        if batch.is_awaited() {
                            return Some(batch);
                        }
                    }
                };
                Ok(tokio::select! {
                    biased;
                    batch = asking => batch,
                    () = inner.write_behind.ended() => None,
                })
            };
            start_future(&handle.home, next, done, place, op)
        })
    }
}

/// Writes everything that was accepted before this call, and ends when it is written or given up.
/// As long as the sink is away, that is as long as it takes. Ends at once or pends, as
/// `qrt_op_take_unit` tells. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_flush(
    write_behind: *mut qrt_write_behind_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(write_behind, "write_behind")?;
            let inner = handle.usable()?.clone();
            let flush = async move { inner.write_behind.flush().await };
            start_future(&handle.home, flush, done, &mut (), op)
        })
    }
}

/// Writes the messages of a queue, batch by batch, each acknowledged after the sink's commit: goes
/// on until the write-behind is closed, or until it is cancelled, which stops the intake. Pends, as
/// `qrt_op_take_unit` tells. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_feed(
    write_behind: *mut qrt_write_behind_t,
    queue: *mut qrt_queue_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(write_behind, "write_behind")?;
            let queue = borrow(queue, "queue")?.usable()?.clone();
            let inner = handle.usable()?.clone();
            let feed = async move { inner.write_behind.feed(&queue).await };
            start_future(&handle.home, feed, done, &mut (), op)
        })
    }
}

/// Accepts nothing more, writes what was accepted, and ends. What is not written after
/// `deadline_ms` milliseconds is in the report, goes back to the queue that delivered it, or stays
/// in the journal. `QRT_OK`: `*report` is there, the caller owns it. `QRT_PENDING`:
/// `qrt_op_take_close_report`. A close that is cancelled can be called again; so can one that
/// ended, for a report without entries. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_close(
    write_behind: *mut qrt_write_behind_t,
    deadline_ms: i64,
    done: qrt_completion_t,
    report: *mut *mut qrt_close_report_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(report, "report")?;
            let handle = borrow(write_behind, "write_behind")?;
            let deadline: Duration = duration(deadline_ms, "deadline_ms")?;
            let inner = handle.usable()?.clone();
            let close = async move {
                let report = inner.write_behind.close(deadline).await;
                Ok(qrt_close_report_t::new(report))
            };
            start_future(&handle.home, close, done, place, op)
        })
    }
}

/// Takes the entries that were given up and kept because there is no dead-letter queue; until then
/// they count against the bounds. The caller owns `*rejected`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_take_rejected(
    write_behind: *mut qrt_write_behind_t,
    rejected: *mut *mut qrt_rejected_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(rejected, "rejected")?;
            let inner = borrow(write_behind, "write_behind")?.usable()?;
            let taken = qrt_rejected_t::new(inner.write_behind.take_rejected());
            place.0 = Box::into_raw(Box::new(taken));
            Ok(())
        })
    }
}

/// Counts of a write-behind, all of one moment. The caller owns `*metrics`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics(
    write_behind: *const qrt_write_behind_t,
    metrics: *mut *mut qrt_write_behind_metrics_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(metrics, "metrics")?;
            let handle = borrow(write_behind, "write_behind")?;
            handle.home.check_fork()?;
            let counts = handle.inner.write_behind.metrics();
            place.0 = Box::into_raw(Box::new(qrt_write_behind_metrics_t(counts)));
            Ok(())
        })
    }
}

/// Whether writing goes on or pauses, one of `QRT_BREAKER_...`; `QRT_BREAKER_CLOSED` for NULL. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_breaker_state(
    write_behind: *const qrt_write_behind_t,
) -> u32 {
    // SAFETY: the caller vouches for the handle.
    let handle = unsafe { write_behind.as_ref() }.filter(|handle| handle.home.is_here());
    get(QRT_BREAKER_CLOSED, || {
        let state = handle.map(|handle| handle.inner.write_behind.breaker_state());
        state.map_or(QRT_BREAKER_CLOSED, code)
    })
}

/// Frees the caller's hold on a write-behind. What was accepted is still written, in the
/// background; `qrt_write_behind_close` waits for it. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_free(write_behind: *mut qrt_write_behind_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(write_behind) }
}
