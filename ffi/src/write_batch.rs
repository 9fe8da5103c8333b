//! A batch in the hands of a sink of the program.

use std::sync::{Mutex, PoisonError};

use queue_runtime_core::{Entry, Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::abi::{borrow, free, get, null, qrt_bytes_t, run};
use crate::error::{QRT_OK, qrt_error_t, qrt_status_t};
use crate::runtime::Home;

/// Entries for a sink of the program to write: a key comes once at most. Any thread.
pub struct qrt_write_batch_t {
    entries: Vec<Entry>,
    /// Of entries that were not written, why.
    refused: Mutex<Vec<(usize, Error)>>,
    finish: oneshot::Sender<Result<Vec<Result<()>>>>,
    home: Home,
}

impl qrt_write_batch_t {
    pub(crate) fn new(
        entries: Vec<Entry>,
        finish: oneshot::Sender<Result<Vec<Result<()>>>>,
        home: Home,
    ) -> Box<Self> {
        Box::new(Self {
            entries,
            refused: Mutex::default(),
            finish,
            home,
        })
    }

    /// Whether its writer still waits for it to be finished.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.finish.is_closed()
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T: Copy>(
    batch: *const qrt_write_batch_t,
    fallback: T,
    read: impl FnOnce(&qrt_write_batch_t) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { batch.as_ref() } {
        Some(batch) => get(fallback, || read(batch)),
        None => fallback,
    }
}

/// The error that a program's sink names; `None` for `QRT_OK`.
///
/// # Safety
/// The text is readable.
unsafe fn failure(status: qrt_status_t, message: qrt_bytes_t) -> Result<Option<Error>> {
    if status == QRT_OK {
        return Ok(None);
    }
    let known = ErrorKind::ALL.into_iter();
    let mut named = known.filter(|kind| kind.code() as qrt_status_t == status);
    let kind = named.next().ok_or_else(|| {
        Error::invalid_argument("status", format!("{status} is neither QRT_OK nor an error"))
    })?;
    // SAFETY: the caller vouches for the text.
    let message = unsafe { message.some_text("message")? };
    let message = message.unwrap_or("the program's sink failed");
    Ok(Some(Error::new(kind, message.to_owned())))
}

/// How many entries; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_batch_count(batch: *const qrt_write_batch_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(batch, 0, |batch| batch.entries.len()) }
}

/// The body of entry `index`. Borrows until the batch is finished or freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_batch_body(
    batch: *const qrt_write_batch_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(batch, qrt_bytes_t::EMPTY, |batch| {
            let entry = batch.entries.get(index);
            entry.map_or(qrt_bytes_t::EMPTY, |entry| qrt_bytes_t::of(entry.body()))
        })
    }
}

/// The key of entry `index`, empty for none. Borrows until the batch is finished or freed. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_batch_key(
    batch: *const qrt_write_batch_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(batch, qrt_bytes_t::EMPTY, |batch| {
            let key = batch.entries.get(index).and_then(|entry| entry.get_key());
            key.map_or(qrt_bytes_t::EMPTY, |key| qrt_bytes_t::of(key))
        })
    }
}

/// Says that entry `index` is not written, and why. `QRT_ERR_INVALID_MESSAGE`,
/// `QRT_ERR_MESSAGE_TOO_LARGE`, `QRT_ERR_INVALID_ARGUMENT` and `QRT_ERR_PROVIDER`: it never will
/// be, and is given up. Any other: it is tried again. Copies the text. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_batch_refuse(
    batch: *mut qrt_write_batch_t,
    index: usize,
    status: qrt_status_t,
    message: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let batch = borrow(batch, "batch")?;
            batch.home.check_fork()?;
            let failure = failure(status, message)?
                .ok_or_else(|| Error::invalid_argument("status", "is QRT_OK"))?;
            if index >= batch.entries.len() {
                return Err(Error::invalid_argument("index", "there is no such entry"));
            }
            let mut refused = batch.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.push((index, failure));
            Ok(())
        })
    }
}

/// Finishes a batch, and takes it. `QRT_OK`: every entry is written that was not refused.
/// Otherwise nothing is, or it may be written again: for a status that blames the entries, as in
/// `qrt_write_batch_refuse`, the batch comes again in halves until the bad entry is alone and given
/// up; for any other it comes again whole, after a while. Copies the text. When the call fails, the
/// batch stays the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_batch_finish(
    batch: *mut qrt_write_batch_t,
    status: qrt_status_t,
    message: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers, and gives up the batch.
    unsafe {
        run(error, || {
            if batch.is_null() {
                return Err(null("batch"));
            }
            (*batch).home.check_fork()?;
            let failure = failure(status, message)?;
            let batch = *Box::from_raw(batch);
            let refused = batch.refused.into_inner();
            let finished = match failure {
                Some(failure) => Err(failure),
                None => {
                    let mut results: Vec<Result<()>> =
                        batch.entries.iter().map(|_| Ok(())).collect();
                    for (index, failure) in refused.unwrap_or_else(PoisonError::into_inner) {
                        results[index] = Err(failure);
                    }
                    Ok(results)
                }
            };
            // Nobody waits any more after a close: what was written is written.
            let _ = batch.finish.send(finished);
            Ok(())
        })
    }
}

/// Frees a batch that was not finished: its entries are tried again. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_batch_free(batch: *mut qrt_write_batch_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(batch) }
}
