//! What the engine asks of a disk and of a calendar that may be wrong, where tests can make it so.

use std::fs::File;
use std::io;

/// Brings what was written to a file to the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    injected::check(file)?;
    file.sync_data()
}

/// Wall time in nanoseconds since 1970, as the machine's calendar has it.
pub(super) fn wall_time() -> i64 {
    let wall = super::sys::wall_time();
    #[cfg(test)]
    let wall = wall + injected::WALL_SHIFT.get();
    wall
}

#[cfg(test)]
pub(super) mod injected {
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    thread_local! {
        /// How far the calendar is wrong, in nanoseconds, for steps of this thread.
        pub(in crate::providers::file) static WALL_SHIFT: Cell<i64> = const { Cell::new(0) };
    }

    static BROKEN: Mutex<Option<HashSet<(u64, u64)>>> = Mutex::new(None);

    /// While it lives, flushes of a file fail. Then its number may be another file's.
    pub(in crate::providers::file) struct Broken((u64, u64));

    impl Broken {
        pub(in crate::providers::file) fn syncs_of(path: &Path) -> Self {
            let found = std::fs::metadata(path).unwrap();
            let file = (found.dev(), found.ino());
            let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
            broken.get_or_insert_default().insert(file);
            Self(file)
        }
    }

    impl Drop for Broken {
        fn drop(&mut self) {
            let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
            broken.get_or_insert_default().remove(&self.0);
        }
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
