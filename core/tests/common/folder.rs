//! A folder for a store, which is gone when the test is over.

#![allow(dead_code)] // each test binary uses a part of it

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new, empty folder; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    pub fn new() -> Self {
        Self::inside(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// One that is on no disk where the system has such a place, for who makes thousands.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::inside(memory)
        } else {
            Self::new()
        }
    }

    fn inside(place: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("store-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Waits until this process has the store in this folder open no more: threads of the store
    /// may outlive its last client by the work they are at.
    pub fn wait_until_closed(&self) {
        let index = self.0.join("index");
        let index = index.to_str().unwrap();
        while std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .contains(index)
        {
            std::thread::yield_now();
        }
    }

    /// Takes the index away, as a restart of the machine does.
    pub fn lose_index(&self) {
        self.wait_until_closed();
        std::fs::remove_file(self.0.join("index")).unwrap();
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The URL of the store in this folder. Its segments are small, so that tests use several.
    pub fn url(&self, options: &str) -> String {
        let path = self.0.to_str().unwrap();
        let path = path.replace('%', "%25").replace(' ', "%20");
        let path = path.replace('?', "%3f").replace('#', "%23");
        let more = if options.is_empty() { "" } else { "&" };
        format!("file://{path}?segment_bytes=4194304{more}{options}")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A thread of the store may still be at a file for a while, and put it back.
        while let Err(error) = std::fs::remove_dir_all(&self.0) {
            if error.kind() != std::io::ErrorKind::DirectoryNotEmpty {
                break;
            }
            std::thread::yield_now();
        }
    }
}
