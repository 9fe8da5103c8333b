//! A disk that can be filled to its last byte.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, mounted on a folder of its own until it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many bytes. `None`, and a line that says so, where the right to is missing.
    pub fn mount(name: &str, bytes: u64) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("qrt-disk-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let size = format!("size={bytes},mode=777");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(&folder)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            let _ = fs::remove_dir(&folder);
            eprintln!("skipped: a full disk needs the right to mount one");
            return None;
        }
        Some(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        for size in [4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Takes the ballast out again.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while somebody has a file of it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
