//! Queues: send, receive, look, count.

use std::fmt::Display;

use queue_runtime_core::{Error, ErrorKind, MessageId, Queue, ReceiveOptions, Result};
use serde::Serialize;

use crate::abi::{
    borrow, call, check_flags, duration, free, get, handle_output, qrt_bytes_t, run, some_duration,
};
use crate::breaker::{QRT_BREAKER_CLOSED, code};
use crate::buffer::qrt_buffer_t;
use crate::delivery::qrt_batch_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::message::{collect, qrt_message_t};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start, start_future};
use crate::options::{Options, read};
use crate::peek::qrt_peeked_t;
use crate::runtime::Home;
use crate::send_results::qrt_send_results_t;
use crate::statistics::qrt_statistics_t;

/// A verb with this flag may wait for a disk on the calling thread, where that is quicker than a
/// completion. Without it no verb ever waits before it returns.
pub const QRT_MAY_BLOCK: u32 = 1;

/// A receive with this flag keeps the locks of its messages, until each is settled or its batch is
/// freed, for up to 10 minutes.
pub const QRT_KEEP_LOCK: u32 = 2;

/// An explanation with this flag is text for people instead of JSON.
pub const QRT_AS_TEXT: u32 = 4;

/// Starts a verb, which may wait for a disk if the flags allow it.
pub(crate) fn start_verb<T>(flags: u32, verb: impl FnOnce() -> T) -> T {
    if flags & QRT_MAY_BLOCK == 0 {
        verb()
    } else {
        queue_runtime_core::blocking(verb)
    }
}

/// A queue of a client. Thread-safe.
pub struct qrt_queue_t {
    pub(crate) queue: std::mem::ManuallyDrop<Queue>,
    pub(crate) home: Home,
}

impl qrt_queue_t {
    pub(crate) fn new(queue: Queue, home: Home) -> Self {
        Self {
            queue: std::mem::ManuallyDrop::new(queue),
            home,
        }
    }

    /// This queue, usable in this process.
    pub(crate) fn usable(&self) -> Result<&Queue> {
        self.home.check()?;
        Ok(&self.queue)
    }
}

impl Drop for qrt_queue_t {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here; leaked in a forked child.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.queue) };
        }
    }
}

/// Options of a receive. Begin with `QRT_RECEIVE_OPTIONS_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_receive_options_t {
    /// `sizeof(qrt_receive_options_t)` of the caller.
    pub struct_size: usize,
    /// At most this many messages. Default 1.
    pub max_messages: u32,
    /// Any of `QRT_MAY_BLOCK` and `QRT_KEEP_LOCK`. Default 0.
    pub flags: u32,
    /// How long to wait for the first message, in milliseconds; 0 looks once. Default 10,000.
    pub wait_ms: i64,
    /// How long the messages are locked, in milliseconds; -1: as long as the queue says. Default
    /// -1.
    pub lock_ms: i64,
}

impl Options for qrt_receive_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        max_messages: 1,
        flags: 0,
        wait_ms: 10_000,
        lock_ms: -1,
    };
}

impl qrt_receive_options_t {
    pub(crate) fn options(&self) -> Result<ReceiveOptions> {
        check_flags(self.flags, QRT_MAY_BLOCK | QRT_KEEP_LOCK)?;
        let options = ReceiveOptions::new()
            .max_messages(self.max_messages)
            .keep_lock(self.flags & QRT_KEEP_LOCK != 0)
            .wait(duration(self.wait_ms, "wait_ms")?);
        Ok(match some_duration(self.lock_ms, "lock_ms")? {
            Some(lock) => options.lock(lock),
            None => options,
        })
    }
}

/// Sends messages. `QRT_OK`: `*results` says what became of each, result i of message i; the
/// caller owns it. `QRT_PENDING`: the queue is full, or the provider is asked; `done` will run,
/// and `qrt_op_take_send_results` gives the results. `flags`: `QRT_MAY_BLOCK` or 0. The messages
/// stay the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_send(
    queue: *mut qrt_queue_t,
    messages: *const *const qrt_message_t,
    count: usize,
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
            let handle = borrow(queue, "queue")?;
            check_flags(flags, QRT_MAY_BLOCK)?;
            let messages = collect(messages, count)?;
            let queue = handle.usable()?;
            let reply = start_verb(flags, || queue.start_send(messages));
            let results = reply.map(|results| Ok(qrt_send_results_t::new(results)));
            start(&handle.home, results, done, place, op)
        })
    }
}

/// Sends one message, for callers that need no id back. `QRT_OK`: it is stored. `QRT_PENDING`:
/// `done` will run, and `qrt_op_take_unit` tells. Otherwise as `qrt_queue_send`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_send_one(
    queue: *mut qrt_queue_t,
    message: *const qrt_message_t,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(queue, "queue")?;
            let message = borrow(message, "message")?;
            check_flags(flags, QRT_MAY_BLOCK)?;
            let queue = handle.usable()?;
            let message = message.0.clone();
            let reply = start_verb(flags, || queue.start_send_one(message));
            start(&handle.home, reply.map(|_| Ok(())), done, &mut (), op)
        })
    }
}

/// Receives messages: as soon as one is there, with what else is ready. `options` may be NULL.
/// `QRT_OK`: `*batch` has them, or is empty when none came and the wait is 0; the caller owns it.
/// `QRT_PENDING`: `done` will run, and `qrt_op_take_batch` gives the batch. A receive that is
/// cancelled, or that nobody takes the result of, gives its messages back unblamed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_receive(
    queue: *mut qrt_queue_t,
    options: *const qrt_receive_options_t,
    done: qrt_completion_t,
    batch: *mut *mut qrt_batch_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(batch, "batch")?;
            let handle = borrow(queue, "queue")?;
            let raw = read(options)?;
            let options = raw.options()?;
            let queue = handle.usable()?;
            let home = handle.home.clone();
            let batch = if raw.max_messages == 1 {
                let reply = queue.start_receive_one(&options);
                reply.map(move |delivery| Ok(qrt_batch_t::new(delivery, home)))
            } else {
                let reply = queue.start_receive(&options);
                reply.map(move |deliveries| Ok(qrt_batch_t::new(deliveries, home)))
            };
            start(&handle.home, batch, done, place, op)
        })
    }
}

/// Looks at up to `max` messages in the order of their sending, from after the sequence number
/// `after` on (0: from the first), without taking them. `QRT_OK`: `*peeked` has them, the caller
/// owns it. `QRT_PENDING`: `qrt_op_take_peeked`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_peek(
    queue: *mut qrt_queue_t,
    after: u64,
    max: u32,
    done: qrt_completion_t,
    peeked: *mut *mut qrt_peeked_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(peeked, "peeked")?;
            let handle = borrow(queue, "queue")?;
            let queue = handle.usable()?.clone();
            let after = (after > 0).then_some(after);
            let peek = async move { Ok(qrt_peeked_t::new(queue.peek(after, max).await?)) };
            start_future(&handle.home, peek, done, place, op)
        })
    }
}

/// Counts and ages of a queue. `QRT_OK`: `*statistics` has them, the caller owns it.
/// `QRT_PENDING`: `qrt_op_take_statistics`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_statistics(
    queue: *mut qrt_queue_t,
    done: qrt_completion_t,
    statistics: *mut *mut qrt_statistics_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(statistics, "statistics")?;
            let handle = borrow(queue, "queue")?;
            let queue = handle.usable()?.clone();
            let count = async move { Ok(qrt_statistics_t::new(queue.statistics().await?)) };
            start_future(&handle.home, count, done, place, op)
        })
    }
}

/// Explains when messages of a queue are tried again after they failed: budget, waits, and where it
/// ends, as it is in force. With the `id` of a message, unless empty: where that stands and when the
/// next attempt at it comes, where the provider can be looked into (the capability `peek`); it is
/// looked for among all messages.
///
/// `QRT_OK`: `*explanation` is there, the caller owns it: with the flag `QRT_AS_TEXT` text for people,
/// otherwise JSON, which has that as its `text`, durations as `..._ms` and moments in milliseconds
/// since 1970 UTC. `QRT_PENDING`: `qrt_op_take_buffer`. `flags`: `QRT_AS_TEXT` or 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_explain(
    queue: *mut qrt_queue_t,
    id: qrt_bytes_t,
    flags: u32,
    done: qrt_completion_t,
    explanation: *mut *mut qrt_buffer_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(explanation, "explanation")?;
            let handle = borrow(queue, "queue")?;
            check_flags(flags, QRT_AS_TEXT)?;
            let id = id.some_text("id")?.map(MessageId::from);
            let queue = handle.usable()?.clone();
            let as_text = flags & QRT_AS_TEXT != 0;
            let explain = async move {
                match id {
                    None => explained(&queue.explain().await?, as_text),
                    Some(id) => explained(&queue.explain_message(&id).await?, as_text),
                }
            };
            start_future(&handle.home, explain, done, place, op)
        })
    }
}

fn explained(
    explanation: &(impl Serialize + Display),
    as_text: bool,
) -> Result<Option<Box<qrt_buffer_t>>> {
    let mut text = explanation.to_string();
    if !as_text {
        let json = serde_json::to_value(explanation);
        let mut json = json.map_err(|e| {
            Error::new(ErrorKind::Panic, "an explanation cannot be said in JSON").with_source(e)
        })?;
        json["text"] = text.into();
        text = json.to_string();
    }
    Ok(Some(qrt_buffer_t::boxed(text)))
}

/// Creates the queue by explicit call; `QRT_ERR_ALREADY_EXISTS` if it is there. Ends at once or
/// pends, as `qrt_op_take_unit` tells. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_create(
    queue: *mut qrt_queue_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(queue, "queue")?;
            let queue = handle.usable()?.clone();
            let create = async move { queue.create().await };
            start_future(&handle.home, create, done, &mut (), op)
        })
    }
}

/// Where the breaker of a queue's sends stands, one of `QRT_BREAKER_...`; `QRT_BREAKER_CLOSED` where
/// there is none, and for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_breaker_state(queue: *const qrt_queue_t) -> u32 {
    // SAFETY: the caller vouches for the handle.
    let handle = unsafe { queue.as_ref() }.filter(|handle| handle.home.is_here());
    get(QRT_BREAKER_CLOSED, || {
        handle.map_or(QRT_BREAKER_CLOSED, |handle| {
            code(handle.queue.breaker_state())
        })
    })
}

/// Closes the breaker of a queue's sends by hand, and forgets what failed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_reset_breaker(
    queue: *mut qrt_queue_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            borrow(queue, "queue")?.usable()?.reset_breaker();
            Ok(())
        })
    }
}

/// Frees the caller's hold on a queue; deliveries go on holding theirs. NULL does nothing. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_free(queue: *mut qrt_queue_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(queue) }
}
