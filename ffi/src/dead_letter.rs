//! Dead letters: listing, sending back, deleting.

use queue_runtime_core::{
    DeadLetter, DeadLetterFilter, MessageId, RedriveOptions, RedriveReport, Result, Timestamp,
};

use crate::abi::{borrow, call, free, get, handle_output, null, qrt_bytes_t};
use crate::error::{qrt_error_t, qrt_status_t};
use crate::message::{QRT_FIELD_ID, text_of};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::options::{Options, read};
use crate::queue::qrt_queue_t;

/// Which dead letters are meant; every field that is set must match. Begin with
/// `QRT_DEAD_LETTER_FILTER_INIT`, which means all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_dead_letter_filter_t {
    /// `sizeof(qrt_dead_letter_filter_t)` of the caller.
    pub struct_size: usize,
    /// The one of this id; empty: any. Borrows for the length of the call, as all fields.
    pub id: qrt_bytes_t,
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
        id: qrt_bytes_t::EMPTY,
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
unsafe fn filter(filter: *const qrt_dead_letter_filter_t) -> Result<DeadLetterFilter> {
    // SAFETY: the caller vouches for the pointer and the bytes in it.
    unsafe {
        let filter = read(filter)?;
        let id = filter.id.some_text("id")?;
        let header = match filter.header_name.some_text("header_name")? {
            Some(name) => Some((
                name.into(),
                filter.header_value.text("header_value")?.into(),
            )),
            None => None,
        };
        Ok(DeadLetterFilter {
            ids: id.map(MessageId::from).into_iter().collect(),
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

/// What a redrive did.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct qrt_redrive_report_t {
    /// Dead letters that matched.
    pub matched: u64,
    /// Dead letters that are back in the queue.
    pub redriven: u64,
    /// Dead letters that could not be sent back and stay.
    pub failed: u64,
    /// The number of the last one looked at: where to go on; 0 when there was none.
    pub last: u64,
    /// Zero; for later versions.
    pub reserved: [u64; 4],
}

impl qrt_redrive_report_t {
    fn new(report: &RedriveReport) -> Self {
        Self {
            matched: report.matched,
            redriven: report.redriven,
            failed: report.failed.len() as u64,
            last: report.last.unwrap_or(0),
            reserved: [0; 4],
        }
    }
}

/// Lists up to `max` dead letters, oldest first, from after the number `after` on (0: from the
/// first). The filter may be NULL. `QRT_OK`: `*letters` has them, the caller owns it.
/// `QRT_PENDING`: `qrt_op_take_dead_letters`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_list(
    queue: *mut qrt_queue_t,
    filter_: *const qrt_dead_letter_filter_t,
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
            let filter = filter(filter_)?;
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
/// `qrt-redrive-count` counts. Filter and options may be NULL. `report` is written on `QRT_OK`;
/// `QRT_PENDING`: `qrt_op_take_redrive_report`. Stopped in the middle, nothing is lost. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_redrive(
    queue: *mut qrt_queue_t,
    filter_: *const qrt_dead_letter_filter_t,
    options: *const qrt_redrive_options_t,
    done: qrt_completion_t,
    report: *mut qrt_redrive_report_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = report.as_mut().ok_or_else(|| null("report"))?;
            let handle = borrow(queue, "queue")?;
            let options = read(options)?;
            if options.dry_run > 1 {
                return Err(queue_runtime_core::Error::invalid_argument(
                    "dry_run",
                    "must be 0 or 1",
                ));
            }
            let options = RedriveOptions {
                filter: filter(filter_)?,
                max: (options.max > 0).then_some(options.max),
                per_second: (options.per_second > 0).then_some(options.per_second),
                dry_run: options.dry_run == 1,
                after: (options.after > 0).then_some(options.after),
            };
            let queue = handle.usable()?.clone();
            let redrive =
                async move { Ok(qrt_redrive_report_t::new(&queue.redrive(options).await?)) };
            start_future(&handle.home, redrive, done, place, op)
        })
    }
}

/// Deletes dead letters for good. The filter may be NULL, which means all. `count` is written on
/// `QRT_OK`; `QRT_PENDING`: `qrt_op_take_count`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_purge(
    queue: *mut qrt_queue_t,
    filter_: *const qrt_dead_letter_filter_t,
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
            let filter = filter(filter_)?;
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

/// The body of dead letter `index`. Borrows until the listing is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_body(
    letters: *const qrt_dead_letters_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |l, _| {
            qrt_bytes_t::of(l.message.body())
        })
    }
}

/// A text field (`QRT_FIELD_...`) of dead letter `index`, or empty. Borrows until the listing is
/// freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_field(
    letters: *const qrt_dead_letters_t,
    index: usize,
    field: u32,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |l, id| match field {
            QRT_FIELD_ID => qrt_bytes_t::of(id.as_bytes()),
            other => text_of(&l.message, other),
        })
    }
}

/// The value of a header of dead letter `index`, or empty. Borrows until the listing is freed.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letters_header(
    letters: *const qrt_dead_letters_t,
    index: usize,
    name: qrt_bytes_t,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle and the name.
    unsafe {
        letter(letters, index, qrt_bytes_t::EMPTY, |l, _| {
            let name = name.text("name").unwrap_or("");
            qrt_bytes_t::of_text(l.message.properties().headers.get(name).map(|v| &**v))
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
