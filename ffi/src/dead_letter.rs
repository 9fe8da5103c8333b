//! Dead letters: listing, sending back, deleting.

use queue_runtime_core::{
    DeadLetter, DeadLetterFilter, MessageId, RedriveOptions, Result, Timestamp,
};

use crate::abi::{borrow, call, free, get, handle_output, null, qrt_bytes_t, slice};
use crate::error::{qrt_error_t, qrt_status_t};
use crate::message::qrt_message_t;
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::options::{Options, read};
use crate::queue::qrt_queue_t;
use crate::redrive::qrt_redrive_report_t;

/// Which dead letters are meant; every field that is set must match. Begin with
/// `QRT_DEAD_LETTER_FILTER_INIT`, which means all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_dead_letter_filter_t {
    /// `sizeof(qrt_dead_letter_filter_t)` of the caller.
    pub struct_size: usize,
    /// With one of these ids; NULL: any. Borrows for the length of the call, as all fields.
    pub ids: *const qrt_bytes_t,
    /// How many ids.
    pub ids_count: usize,
    /// With this reason; empty: any.
    pub reason: qrt_bytes_t,
    /// Of this session; empty: any.
    pub session: qrt_bytes_t,
    /// With this header; empty: any.
    pub header_name: qrt_bytes_t,
    /// The value the header must have.
    pub header_value: qrt_bytes_t,
    /// Given up at this moment or later, in milliseconds since 1970 UTC; -1: any.
    pub since: i64,
    /// Given up before this moment, in milliseconds since 1970 UTC; -1: any.
    pub until: i64,
}

impl Options for qrt_dead_letter_filter_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        ids: std::ptr::null(),
        ids_count: 0,
        reason: qrt_bytes_t::EMPTY,
        session: qrt_bytes_t::EMPTY,
        header_name: qrt_bytes_t::EMPTY,
        header_value: qrt_bytes_t::EMPTY,
        since: -1,
        until: -1,
    };
}

/// # Safety
/// The filter is NULL or good.
pub(crate) unsafe fn read_filter(
    filter: *const qrt_dead_letter_filter_t,
) -> Result<DeadLetterFilter> {
    // SAFETY: the caller vouches for the pointer and the bytes in it.
    unsafe {
        let filter = read(filter)?;
        let ids = slice(filter.ids, filter.ids_count, "ids")?.iter();
        let ids = ids.map(|id| Ok(MessageId::from(id.text("ids")?)));
        let header = match filter.header_name.some_text("header_name")? {
            Some(name) => Some((
                name.into(),
                filter.header_value.text("header_value")?.into(),
            )),
            None => None,
        };
        Ok(DeadLetterFilter {
            ids: ids.collect::<Result<_>>()?,
            reason: filter.reason.some_text("reason")?.map(Into::into),
            session: filter.session.some_text("session")?.map(Into::into),
            header,
            since: (filter.since >= 0).then_some(Timestamp(filter.since)),
            until: (filter.until >= 0).then_some(Timestamp(filter.until)),
        })
    }
}

/// How dead letters are sent back. Begin with `QRT_REDRIVE_OPTIONS_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_redrive_options_t {
    /// `sizeof(qrt_redrive_options_t)` of the caller.
    pub struct_size: usize,
    /// At most this many; 0: all. Default 0.
    pub max: u64,
    /// Go on after this number: `last` of an earlier report; 0: from the first. Default 0.
    pub after: u64,
    /// At most this many a second; 0: as fast as it goes. Default 0.
    pub per_second: u32,
    /// 1: only count what would be sent back. Default 0.
    pub dry_run: u32,
}

impl Options for qrt_redrive_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        max: 0,
        after: 0,
        per_second: 0,
        dry_run: 0,
    };
}

/// Lists up to `max` dead letters, oldest first, from after the number `after` on (0: from the
/// first). The filter may be NULL. `QRT_OK`: `*letters` has them, the caller owns it.
/// `QRT_PENDING`: `qrt_op_take_dead_letters`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_list(
    queue: *mut qrt_queue_t,
    filter: *const qrt_dead_letter_filter_t,
    after: u64,
    max: u32,
    done: qrt_completion_t,
    letters: *mut *mut qrt_dead_letters_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(letters, "letters")?;
            let handle = borrow(queue, "queue")?;
            let filter = read_filter(filter)?;
            let queue = handle.usable()?.clone();
            let after = (after > 0).then_some(after);
            let list = async move {
                let letters = queue.dead_letters(filter, after, max).await?;
                Ok(qrt_dead_letters_t::new(letters))
            };
            start_future(&handle.home, list, done, place, op)
        })
    }
}

/// Sends dead letters back, oldest first: their budget is whole again, and the header
/// `qrt-redrive-count` counts. Filter and options may be NULL. `QRT_OK`: `*report` says what was
/// done, the caller owns it. `QRT_PENDING`: `qrt_op_take_redrive_report`. Stopped in the middle,
/// nothing is lost. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_redrive(
    queue: *mut qrt_queue_t,
    filter: *const qrt_dead_letter_filter_t,
    options: *const qrt_redrive_options_t,
    done: qrt_completion_t,
    report: *mut *mut qrt_redrive_report_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(report, "report")?;
            let handle = borrow(queue, "queue")?;
            let options = read(options)?;
            if options.dry_run > 1 {
                return Err(queue_runtime_core::Error::invalid_argument(
                    "dry_run",
                    "must be 0 or 1",
                ));
            }
            let options = RedriveOptions {
                filter: read_filter(filter)?,
                max: (options.max > 0).then_some(options.max),
                per_second: (options.per_second > 0).then_some(options.per_second),
                dry_run: options.dry_run == 1,
                after: (options.after > 0).then_some(options.after),
            };
            let queue = handle.usable()?.clone();
            let redrive =
                async move { Ok(qrt_redrive_report_t::new(queue.redrive(options).await?)) };
            start_future(&handle.home, redrive, done, place, op)
        })
    }
}

/// Deletes dead letters for good. The filter may be NULL, which means all. `count` is written on
/// `QRT_OK`; `QRT_PENDING`: `qrt_op_take_count`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_purge(
    queue: *mut qrt_queue_t,
    filter: *const qrt_dead_letter_filter_t,
    done: qrt_completion_t,
    count: *mut u64,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = count.as_mut().ok_or_else(|| null("count"))?;
            let handle = borrow(queue, "queue")?;
            let filter = read_filter(filter)?;
            let queue = handle.usable()?.clone();
            let purge = async move { queue.purge_dead_letters(filter).await };
            start_future(&handle.home, purge, done, place, op)
        })
    }
}

/// Dead letters of a listing. Immutable, any thread.
pub struct qrt_dead_letters_t {
    entries: Vec<(DeadLetter, String)>,
}

impl qrt_dead_letters_t {
    fn new(letters: Vec<DeadLetter>) -> Box<Self> {
        let entries = letters.into_iter().map(|letter| {
            let id = letter.id.to_string();
            (letter, id)
        });
        Box::new(Self {
            entries: entries.collect(),
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn letter<T: Copy>(
    letters: *const qrt_dead_letters_t,
    index: usize,
    fallback: T,
    read: impl FnOnce(&DeadLetter, &str) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { letters.as_ref() }.and_then(|letters| letters.entries.get(index)) {
        Some((letter, id)) => get(fallback, || read(letter, id)),
        None => fallback,
    }
}

/// How many dead letters; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_count(letters: *const qrt_dead_letters_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { letters.as_ref() }.map_or(0, |letters| letters.entries.len())
}

/// The message of dead letter `index`, or NULL when there is none. Borrows until the listing is
/// freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_message(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> *const qrt_message_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, std::ptr::null(), |l, _| {
            qrt_message_t::view(&l.message)
        })
    }
}

/// The id of dead letter `index`. Borrows until the listing is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_id(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |_, id| {
            qrt_bytes_t::of(id.as_bytes())
        })
    }
}

/// Why dead letter `index` was given up, in a word. Borrows until the listing is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_reason(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |l, _| {
            qrt_bytes_t::of_text(Some(&l.reason))
        })
    }
}

/// Why dead letter `index` was given up, at length, or empty. Borrows until the listing is freed.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_description(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |l, _| {
            qrt_bytes_t::of_text(l.description.as_deref())
        })
    }
}

/// The queue dead letter `index` was sent to. Borrows until the listing is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_source(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |l, _| {
            qrt_bytes_t::of_text(Some(&l.source))
        })
    }
}

/// Attempts made at dead letter `index`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_attempts(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { letter(letters, index, 0, |l, _| l.attempts) }
}

/// The number of dead letter `index`: the cursor of a listing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_number(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { letter(letters, index, 0, |l, _| l.number) }
}

/// When dead letter `index` was sent, in milliseconds since 1970 UTC. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_enqueued_at(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { letter(letters, index, 0, |l, _| l.enqueued_at.0) }
}

/// When dead letter `index` was first received, in milliseconds since 1970 UTC; -1 when it never
/// was. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_first_delivered_at(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, -1, |l, _| {
            l.first_delivered_at.map_or(-1, |at| at.0)
        })
    }
}

/// When dead letter `index` was given up, in milliseconds since 1970 UTC. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_dead_lettered_at(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { letter(letters, index, 0, |l, _| l.dead_lettered_at.0) }
}

/// Frees a listing. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_free(letters: *mut qrt_dead_letters_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(letters) }
}
