//! Producers: messages that are sent one by one leave in batches.

use queue_runtime_core::{Message, Producer, ProducerOptions, ProducerReport, Result};

use crate::abi::{borrow, call, check_flags, duration, free, get, handle_output, run};
use crate::error::{qrt_error_t, qrt_status_t};
use crate::message::qrt_message_t;
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start, start_future};
use crate::options::{Options, read};
use crate::queue::qrt_queue_t;
use crate::runtime::Home;
use crate::send_results::qrt_send_results_t;
use crate::write_behind::QRT_NO_WAIT;

/// Options of a producer. Begin with `QRT_PRODUCER_OPTIONS_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_producer_options_t {
    /// `sizeof(qrt_producer_options_t)` of the caller.
    pub struct_size: usize,
    /// Messages of a batch, at most; as many are sent at once. Default 100.
    pub batch_size: u32,
    /// 0. For later use.
    pub reserved: u32,
    /// Bytes of a batch, at most (one message may have more); as many are sent at once. Default 4
    /// MiB.
    pub batch_bytes: u64,
    /// How long a message waits for others at most, in milliseconds. Default 5.
    pub linger_ms: i64,
    /// Messages accepted and not yet sent, at most. Default 10,000.
    pub max_pending: u64,
    /// Bytes accepted and not yet sent, at most. Default 64 MiB.
    pub max_pending_bytes: u64,
}

impl Options for qrt_producer_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        batch_size: 100,
        reserved: 0,
        batch_bytes: 4 * 1024 * 1024,
        linger_ms: 5,
        max_pending: 10_000,
        max_pending_bytes: 64 * 1024 * 1024,
    };
}

impl qrt_producer_options_t {
    fn options(&self) -> Result<ProducerOptions> {
        Ok(ProducerOptions::new()
            .batch_size(self.batch_size)
            .batch_bytes(self.batch_bytes)
            .linger(duration(self.linger_ms, "linger_ms")?)
            .max_pending(self.max_pending)
            .max_pending_bytes(self.max_pending_bytes))
    }
}

/// Sends in batches what it is given one by one, in order. Thread-safe.
pub struct qrt_producer_t {
    producer: std::mem::ManuallyDrop<Producer>,
    home: Home,
}

impl qrt_producer_t {
    fn usable(&self) -> Result<&Producer> {
        self.home.check()?;
        Ok(&self.producer)
    }
}

impl Drop for qrt_producer_t {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here; leaked in a forked child.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.producer) };
        }
    }
}

/// Makes a producer for a queue. The caller owns `*producer`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_start(
    queue: *mut qrt_queue_t,
    options: *const qrt_producer_options_t,
    producer: *mut *mut qrt_producer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(producer, "producer")?;
            let handle = borrow(queue, "queue")?;
            let options = read(options)?.options()?;
            let started = handle.usable()?.producer(options)?;
            place.0 = Box::into_raw(Box::new(qrt_producer_t {
                producer: std::mem::ManuallyDrop::new(started),
                home: handle.home.clone(),
            }));
            Ok(())
        })
    }
}

/// Accepts a message; messages leave in the order of these calls. `QRT_PENDING`: it was accepted, or
/// waits for room; `done` will run when its batch was sent, and `qrt_op_take_send_results` gives the
/// one result; the caller owns it. Errors: it was not accepted; it can never be sent, or with the
/// flag `QRT_NO_WAIT` there was no room (`QRT_ERR_FULL`). An operation that is cancelled before there was room sends
/// nothing; afterwards the message is sent all the same. `flags`: `QRT_NO_WAIT` or 0. The message
/// stays the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_send(
    producer: *mut qrt_producer_t,
    message: *const qrt_message_t,
    flags: u32,
    done: qrt_completion_t,
    results: *mut *mut qrt_send_results_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(results, "results")?;
            let handle = borrow(producer, "producer")?;
            check_flags(flags, QRT_NO_WAIT)?;
            let message: Message = borrow(message.cast_mut(), "message")?.0.clone();
            let producer = handle.usable()?;
            let one = |result| Ok(qrt_send_results_t::new(vec![Ok(result)]));
            if flags & QRT_NO_WAIT != 0 {
                let sending = producer.try_send(message)?;
                let result = async move { sending.await.and_then(one) };
                return start_future(&handle.home, result, done, place, op);
            }
            start(
                &handle.home,
                producer.start_send(message).map(one),
                done,
                place,
                op,
            )
        })
    }
}

/// Sends what was accepted before at once, and ends when all of it has its result: at once or
/// pending, as `qrt_op_take_unit` tells. `QRT_ERR_CLOSED` when some of it was given up. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_flush(
    producer: *mut qrt_producer_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(producer, "producer")?;
            let producer = handle.usable()?.clone();
            let flush = async move { producer.flush().await };
            start_future(&handle.home, flush, done, &mut (), op)
        })
    }
}

/// Closes a producer: accepts nothing more, sends what was accepted, and after `deadline_ms`
/// milliseconds gives back what is left. `QRT_OK`: `*report` says what became of all that was ever
/// accepted; the caller owns it. `QRT_PENDING`: `qrt_op_take_producer_report`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_close(
    producer: *mut qrt_producer_t,
    deadline_ms: i64,
    done: qrt_completion_t,
    report: *mut *mut qrt_producer_report_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(report, "report")?;
            let handle = borrow(producer, "producer")?;
            let deadline = duration(deadline_ms, "deadline_ms")?;
            let producer = handle.usable()?.clone();
            let close = async move {
                let report = producer.close(deadline).await;
                Ok(Box::new(qrt_producer_report_t(report)))
            };
            start_future(&handle.home, close, done, place, op)
        })
    }
}

/// Frees the caller's hold on a producer. What was accepted is still sent in the background, and its
/// operations end with their results; `qrt_producer_close` waits for it. NULL does nothing. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_free(producer: *mut qrt_producer_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(producer) }
}

/// What became of everything that a producer accepted. Immutable, any thread.
pub struct qrt_producer_report_t(ProducerReport);

/// # Safety
/// The handle is NULL or good.
unsafe fn look<T: Copy>(
    report: *const qrt_producer_report_t,
    fallback: T,
    look: impl FnOnce(&ProducerReport) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { report.as_ref() } {
        Some(report) => get(fallback, || look(&report.0)),
        None => fallback,
    }
}

/// How many messages were stored; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_report_sent(report: *const qrt_producer_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { look(report, 0, |report| report.sent) }
}

/// How many were answered with an error; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_report_failed(report: *const qrt_producer_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { look(report, 0, |report| report.failed) }
}

/// How many were not answered by the deadline, and are given back here in their order; 0 for NULL.
/// The batch that was on its way then may have been stored all the same. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_report_unsent_count(
    report: *const qrt_producer_report_t,
) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { look(report, 0, |report| report.unsent.len()) }
}

/// Unsent message `index`, or NULL when there is none. Borrows until the report is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_report_unsent(
    report: *const qrt_producer_report_t,
    index: usize,
) -> *const qrt_message_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        look(report, std::ptr::null(), |report| {
            let unsent = report.unsent.get(index);
            unsent.map_or(std::ptr::null(), qrt_message_t::view)
        })
    }
}

/// Frees a report. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_producer_report_free(report: *mut qrt_producer_report_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(report) }
}
