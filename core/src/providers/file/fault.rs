//! Errors of the file system, in words that say what to do.

use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// A file operation failed.
#[cold]
pub(super) fn io(what: &str, path: &Path, error: io::Error) -> Error {
    let mut hint = "";
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            hint = "; all users of a store, also those who only receive, need the right to read \
                    and write its folder and the files in it";
            ErrorKind::PermissionDenied
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            hint = "; a store is written to by all its users, also by those who only receive";
            ErrorKind::PermissionDenied
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            return store_full("the disk is full").with_source(error);
        }
        io::ErrorKind::InvalidData => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    };
    Error::new(
        kind,
        format!("cannot {what} {}: {error}{hint}", path.display()),
    )
    .with_source(error)
}

/// The index file failed.
#[cold]
pub(super) fn index_io(what: &str, error: io::Error) -> Error {
    io(what, Path::new("the index"), error)
}

/// There is no space for more messages; what is there can be received and settled.
#[cold]
pub(super) fn store_full(why: &str) -> Error {
    Error::new(
        ErrorKind::Full,
        format!(
            "the store is full: {why}; receive and settle messages, make room on the disk, or \
             raise max_store_bytes"
        ),
    )
    .with_code("store_full")
    .with_retry_after(std::time::Duration::from_secs(1))
}

/// A flush failed before, so it is not known what of the last writes is on the disk.
#[cold]
pub(super) fn poisoned(code: u32) -> Error {
    let cause = io::Error::from_raw_os_error(code as i32);
    Error::new(
        ErrorKind::Io,
        format!(
            "the disk failed to keep what was written ({cause}); nothing more is acknowledged: \
             check the disk, then restart the machine to go on with what is on it"
        ),
    )
}

/// The log is damaged where it was known to be on the disk.
#[cold]
pub(super) fn damaged(folder: &Path, position: u64, why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the log in {} is damaged at position {position}: {why}. Copy the folder, then open it \
             once with repair=true to go on with what can be read; what is set apart is kept in \
             files named damaged-*",
            folder.display()
        ),
    )
}
