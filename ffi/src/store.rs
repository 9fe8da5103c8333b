//! Looking at the folder of a `file:` store from outside.

use std::ffi::c_void;
use std::io;
use std::path::Path;

use queue_runtime_core::{Error, ErrorKind, Result};

use crate::abi::{handle_output, null, qrt_bytes_t, run};
use crate::buffer::qrt_buffer_t;
use crate::error::{qrt_error_t, qrt_status_t};

/// Takes some more text, which borrows for the length of the call. 0: go on; anything else: no more.
pub type qrt_write_fn_t =
    Option<unsafe extern "C" fn(user_data: *mut c_void, text: qrt_bytes_t) -> i32>;

/// Reads the whole log of the `file:` store in a folder and says what is there, as JSON: its
/// `version`, `segment_bytes`, `segments` with their files, where the log ends (`end`) and is known
/// to be on the disk (`flushed`), its `frames`, the `queues` with their `messages` and `dead`
/// letters, the `damaged` parts (`from`, `to`), which a sound store has none of, and whether the
/// `index` is of this run of the machine. Changes nothing, and takes no lock: a store in use is
/// read up to what is there. Waits for the disk. The caller owns `*report`. `QRT_ERR_CORRUPT` when
/// the folder holds no store, or one of another version; `QRT_ERR_UNSUPPORTED` where `file:` is
/// not. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_store_verify(
    folder: qrt_bytes_t,
    report: *mut *mut qrt_buffer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(report, "report")?;
            let report = verify(path(folder.bytes("folder")?)?)?;
            place.0 = Box::into_raw(qrt_buffer_t::boxed(report));
            Ok(())
        })
    }
}

/// Writes what the log of the `file:` store in a folder says, a record a line, as JSON. Bodies and
/// the values of headers are left out. Changes nothing, and takes no lock. Waits for the disk;
/// `write` runs on this thread, must not throw, and gets no more once it has answered anything but
/// 0, which is `QRT_ERR_UNAVAILABLE`. Other errors as those of `qrt_store_verify`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_store_dump(
    folder: qrt_bytes_t,
    write: qrt_write_fn_t,
    user_data: *mut c_void,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let function = write.ok_or_else(|| null("write"))?;
            let mut out = Out {
                function,
                user_data,
                refused: false,
            };
            dump(path(folder.bytes("folder")?)?, &mut out)
        })
    }
}

/// Text for a function of the host's.
struct Out {
    function: unsafe extern "C" fn(*mut c_void, qrt_bytes_t) -> i32,
    user_data: *mut c_void,
    refused: bool,
}

impl io::Write for Out {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if !self.refused {
            // SAFETY: the caller gave the function for this, together with its data.
            let answer = unsafe { (self.function)(self.user_data, qrt_bytes_t::of(text)) };
            self.refused = answer != 0;
        }
        if self.refused {
            return Err(io::Error::other("the caller takes no more"));
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> Result<&Path> {
    use std::os::unix::ffi::OsStrExt;
    Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path(bytes: &[u8]) -> Result<&Path> {
    let text = std::str::from_utf8(bytes);
    text.map(Path::new)
        .map_err(|e| Error::invalid_argument("folder", "is not UTF-8").with_source(e))
}

#[cfg(target_os = "linux")]
fn verify(folder: &Path) -> Result<Vec<u8>> {
    let report = queue_runtime_core::store::verify(folder)?;
    serde_json::to_vec(&report)
        .map_err(|e| Error::invalid_argument("folder", "cannot be said in JSON").with_source(e))
}

#[cfg(target_os = "linux")]
fn dump(folder: &Path, out: &mut Out) -> Result<()> {
    let mut buffered = io::BufWriter::new(out);
    queue_runtime_core::store::dump(folder, &mut buffered)?;
    let flushed = buffered.into_inner().map(drop);
    flushed.map_err(|e| {
        Error::new(ErrorKind::Unavailable, "the dump was not taken").with_source(e.into_error())
    })
}

#[cfg(not(target_os = "linux"))]
fn verify(_: &Path) -> Result<Vec<u8>> {
    Err(elsewhere())
}

#[cfg(not(target_os = "linux"))]
fn dump(_: &Path, _: &mut Out) -> Result<()> {
    Err(elsewhere())
}

#[cfg(not(target_os = "linux"))]
fn elsewhere() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "stores of file: are not read on this system",
    )
}
