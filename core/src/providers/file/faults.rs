//! The call that brings a file to the disk, where tests can make it fail.

use std::fs::File;
use std::io;

/// Brings what was written to a file to the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    injected::check(file)?;
    file.sync_data()
}

#[cfg(test)]
pub(super) mod injected {
    use std::collections::HashSet;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    static BROKEN: Mutex<Option<HashSet<(u64, u64)>>> = Mutex::new(None);

    /// From now on flushes of this file fail.
    pub(in crate::providers::file) fn break_syncs_of(path: &Path) {
        let found = std::fs::metadata(path).unwrap();
        let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let files = broken.get_or_insert_default();
        files.insert((found.dev(), found.ino()));
    }

    pub(super) fn check(file: &File) -> io::Result<()> {
        let found = file.metadata()?;
        let broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
        match &*broken {
            Some(files) if files.contains(&(found.dev(), found.ino())) => {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            _ => Ok(()),
        }
    }
}
