//! Bytes that the library gives out.

use bytes::Bytes;

use crate::abi::{free, qrt_bytes_t};

/// Bytes or text in memory of the library's. Immutable, any thread.
pub struct qrt_buffer_t(Bytes);

impl qrt_buffer_t {
    pub(crate) fn boxed(bytes: impl Into<Bytes>) -> Box<Self> {
        Box::new(Self(bytes.into()))
    }
}

/// The bytes of a buffer; empty for NULL. Borrows until the buffer is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_buffer_bytes(buffer: *const qrt_buffer_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { buffer.as_ref() }.map_or(qrt_bytes_t::EMPTY, |buffer| qrt_bytes_t::of(&buffer.0))
}

/// Frees a buffer. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_buffer_free(buffer: *mut qrt_buffer_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(buffer) }
}
