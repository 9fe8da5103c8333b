//! Forks are noticed for the price of reading a byte: a page the kernel wipes in the child.
//!
//! A runtime remembers the number on the page when it was made. In a child the page reads zero,
//! so what the parent made does not match; a runtime made there writes a number of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use queue_runtime_core::{Error, ErrorKind, Result};

/// The process generation a runtime belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// That of this process.
    pub(crate) fn current() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let page = page();
        let seen = page.load(Ordering::Acquire);
        if seen != 0 {
            return Self(seen);
        }
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        match page.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Self(new),
            Err(other) => Self(other),
        }
    }

    /// `Forked` in a child of the process this belongs to.
    #[inline]
    pub(crate) fn check(self) -> Result<()> {
        if self.is_here() {
            Ok(())
        } else {
            Err(forked())
        }
    }

    #[inline]
    pub(crate) fn is_here(self) -> bool {
        page().load(Ordering::Relaxed) == self.0
    }
}

#[cold]
fn forked() -> Error {
    Error::new(
        ErrorKind::Forked,
        "this object belongs to the parent process; make a new runtime after fork",
    )
}

#[cfg(target_os = "linux")]
fn page() -> &'static AtomicU64 {
    use std::sync::OnceLock;

    static PAGE: OnceLock<&'static AtomicU64> = OnceLock::new();
    PAGE.get_or_init(|| {
        let size = 4096;
        // SAFETY: a fresh anonymous mapping touches nobody's memory.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            // Without the page forks go unnoticed, as without this check.
            return Box::leak(Box::default());
        }
        // SAFETY: the mapping was just made, and is this long.
        unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) };
        // SAFETY: the page is zeroed, aligned, never unmapped, and only used as this atomic.
        unsafe { &*page.cast::<AtomicU64>() }
    })
}

/// Elsewhere the process id is asked for: dearer, and as sure.
#[cfg(not(target_os = "linux"))]
fn page() -> &'static AtomicU64 {
    static PAGE: AtomicU64 = AtomicU64::new(0);
    static OWNER: AtomicU64 = AtomicU64::new(0);
    let pid = u64::from(std::process::id());
    if OWNER.swap(pid, Ordering::AcqRel) != pid {
        PAGE.store(0, Ordering::Release);
    }
    &PAGE
}
