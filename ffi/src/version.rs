//! Versions of library and ABI.

use queue_runtime_core::{Error, ErrorKind};

use crate::abi::{qrt_bytes_t, run};
use crate::error::{qrt_error_t, qrt_status_t};

/// The ABI's major version: equal in header and library, or they do not fit.
pub const QRT_ABI_MAJOR: u32 = 0;
/// The ABI's minor version: that of the header is at most that of the library.
pub const QRT_ABI_MINOR: u32 = 1;

/// The version of the library, such as `0.1.0`. Borrows for ever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn qrt_version() -> qrt_bytes_t {
    qrt_bytes_t::of(env!("CARGO_PKG_VERSION").as_bytes())
}

/// The ABI version of the library: major * 65536 + minor. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn qrt_abi_version() -> u32 {
    QRT_ABI_MAJOR << 16 | QRT_ABI_MINOR
}

/// Checks that a program compiled with this header fits this library: pass `QRT_ABI_MAJOR` and
/// `QRT_ABI_MINOR`. `QRT_ERR_UNSUPPORTED` says what to do. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_check_abi(
    major: u32,
    minor: u32,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        run(error, || {
            if major == QRT_ABI_MAJOR && minor <= QRT_ABI_MINOR {
                return Ok(());
            }
            Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the program was compiled for ABI {major}.{minor}, the library has \
                     {QRT_ABI_MAJOR}.{QRT_ABI_MINOR}; compile it with the library's own header"
                ),
            ))
        })
    }
}
