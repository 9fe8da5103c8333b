//! What every exported function is made of: bytes, handles, outputs and the panic boundary.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use bytes::Bytes;
use queue_runtime_core::{Error, ErrorKind, Result};

use crate::error::{QRT_OK, qrt_error_t, qrt_status_t};

/// Bytes that somebody else owns. Always borrowed: valid until the moment the function that gave
/// them names. Text is UTF-8 and not NUL-terminated. `{NULL, 0}` is the empty value.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_bytes_t {
    /// The first byte; may be NULL when `len` is 0.
    pub data: *const u8,
    /// How many bytes.
    pub len: usize,
}

impl qrt_bytes_t {
    pub(crate) const EMPTY: Self = Self {
        data: ptr::null(),
        len: 0,
    };

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    pub(crate) fn of_text(text: Option<&str>) -> Self {
        text.map_or(Self::EMPTY, |text| Self::of(text.as_bytes()))
    }

    /// The bytes, for the length of this call.
    ///
    /// # Safety
    /// `data` points to `len` readable bytes, or `len` is 0.
    pub(crate) unsafe fn bytes<'a>(self, name: &'static str) -> Result<&'a [u8]> {
        if self.len > 0 && self.data.is_null() {
            return Err(Error::invalid_argument(
                name,
                "is NULL but has a length; pass {NULL, 0} for the empty value",
            ));
        }
        // SAFETY: the caller vouches for `len` readable bytes.
        unsafe { slice(self.data, self.len, name) }
    }

    /// The text, for the length of this call.
    ///
    /// # Safety
    /// As [`qrt_bytes_t::bytes`].
    pub(crate) unsafe fn text<'a>(self, name: &'static str) -> Result<&'a str> {
        // SAFETY: passed on.
        let bytes = unsafe { self.bytes(name) }?;
        std::str::from_utf8(bytes)
            .map_err(|e| Error::invalid_argument(name, "is not UTF-8").with_source(e))
    }

    /// The text, or `None` for the empty value.
    ///
    /// # Safety
    /// As [`qrt_bytes_t::bytes`].
    pub(crate) unsafe fn some_text<'a>(self, name: &'static str) -> Result<Option<&'a str>> {
        // SAFETY: passed on.
        let text = unsafe { self.text(name) }?;
        Ok((!text.is_empty()).then_some(text))
    }
}

/// Memory of the caller's that a message takes, with the function that frees it.
pub(crate) struct Taken {
    pub(crate) bytes: &'static [u8],
    pub(crate) free: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(crate) user_data: *mut c_void,
}

// SAFETY: whoever hands memory over promises that it may be read and freed on any thread.
unsafe impl Send for Taken {}
// SAFETY: it is only read until it is freed.
unsafe impl Sync for Taken {}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: called once, with the pointer it was given for.
            unsafe { free(self.user_data) };
        }
    }
}

impl From<Taken> for Bytes {
    fn from(taken: Taken) -> Self {
        Bytes::from_owner(taken)
    }
}

/// A handle for the length of this call; an error when it is NULL.
///
/// # Safety
/// The pointer is NULL or was given out by this library and not freed since.
pub(crate) unsafe fn borrow<'a, T>(handle: *const T, name: &'static str) -> Result<&'a T> {
    // SAFETY: the caller vouches for it.
    unsafe { handle.as_ref() }.ok_or_else(|| null(name))
}

#[cold]
pub(crate) fn null(name: &'static str) -> Error {
    Error::invalid_argument(name, "is NULL")
}

/// An array of the caller's, for the length of this call; NULL is fine when it is empty.
///
/// # Safety
/// The pointer is NULL or points to `count` readable values.
pub(crate) unsafe fn slice<'a, T>(
    first: *const T,
    count: usize,
    name: &'static str,
) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if first.is_null() {
        return Err(null(name));
    }
    if count > isize::MAX as usize / size_of::<T>() {
        return Err(Error::invalid_argument(name, "is longer than memory"));
    }
    // SAFETY: not null, no longer than memory, and the caller vouches for the values.
    Ok(unsafe { std::slice::from_raw_parts(first, count) })
}

/// A place the caller wants a result at: not NULL, and emptied before anything else.
///
/// # Safety
/// The pointer is NULL or points to writable memory for a `T`.
pub(crate) unsafe fn output<'a, T: Default>(
    place: *mut T,
    name: &'static str,
) -> Result<&'a mut T> {
    // SAFETY: the caller vouches for it.
    let place = unsafe { place.as_mut() }.ok_or_else(|| null(name))?;
    *place = T::default();
    Ok(place)
}

/// A pointer that is empty by default: what handles are put into.
#[repr(transparent)]
pub struct Out<T>(pub(crate) *mut T);

impl<T> Default for Out<T> {
    fn default() -> Self {
        Self(ptr::null_mut())
    }
}

/// A place for a handle: not NULL, and set to NULL before anything else.
///
/// # Safety
/// As [`output`].
pub(crate) unsafe fn handle_output<'a, T>(
    place: *mut *mut T,
    name: &'static str,
) -> Result<&'a mut Out<T>> {
    // SAFETY: `Out` is a transparent pointer.
    unsafe { output(place.cast::<Out<T>>(), name) }
}

/// Frees a handle; NULL does nothing.
///
/// # Safety
/// The pointer is NULL, or a box given out by this library and not freed since.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: given out by `Box::into_raw`, and freed once.
        let boxed = unsafe { Box::from_raw(handle) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(boxed)));
    }
}

/// Runs the body of a function that can fail: no panic leaves it, and the error, if asked for,
/// goes to the caller.
///
/// # Safety
/// `error` is NULL or points to writable memory for a pointer.
pub(crate) unsafe fn call(
    error: *mut *mut qrt_error_t,
    body: impl FnOnce() -> Result<qrt_status_t>,
) -> qrt_status_t {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(panic) => panicked(&*panic),
    };
    let status = failure.kind().code() as qrt_status_t;
    // SAFETY: the caller vouches for it.
    if let Some(place) = unsafe { error.as_mut() } {
        *place = qrt_error_t::boxed(failure);
    }
    status
}

/// [`call`] for a body that has nothing more to say than that it went well.
///
/// # Safety
/// As [`call`].
pub(crate) unsafe fn run(
    error: *mut *mut qrt_error_t,
    body: impl FnOnce() -> Result<()>,
) -> qrt_status_t {
    // SAFETY: passed on.
    unsafe { call(error, || body().map(|()| QRT_OK)) }
}

/// Runs the body of a function that cannot fail; a panic gives the fallback.
pub(crate) fn get<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// The error of a panic, with its text.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    Error::new(
        ErrorKind::Panic,
        format!("a bug in queue_runtime, please report it: {text}"),
    )
}

/// Refuses flags this version does not know.
pub(crate) fn check_flags(flags: u32, known: u32) -> Result<()> {
    if flags & !known == 0 {
        Ok(())
    } else {
        Err(Error::invalid_argument(
            "flags",
            format!(
                "holds bits this version does not know: {:#x}",
                flags & !known
            ),
        ))
    }
}

/// Milliseconds of the ABI as a duration; negative ones are refused.
pub(crate) fn duration(millis: i64, name: &'static str) -> Result<std::time::Duration> {
    u64::try_from(millis)
        .map(std::time::Duration::from_millis)
        .map_err(|_| Error::invalid_argument(name, "must not be negative"))
}

/// Milliseconds of the ABI as a duration; -1 is none.
pub(crate) fn some_duration(
    millis: i64,
    name: &'static str,
) -> Result<Option<std::time::Duration>> {
    if millis == -1 {
        Ok(None)
    } else {
        duration(millis, name).map(Some)
    }
}

/// A duration as milliseconds of the ABI, rounded up.
pub(crate) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}
