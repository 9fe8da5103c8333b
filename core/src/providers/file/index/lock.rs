//! A lock in shared memory that survives the death of its owner, in any pid namespace and with any
//! libc: the word holds the number of the owner, and whether somebody waits. Numbers are never used
//! twice, and each open store keeps a lock of the operating system on the byte of its number, which
//! ends with it, however it ends. A waiter that has slept a little asks whether the owner's byte is
//! still locked; if not, it takes the lock over.
//!
//! Invariants: the word is 0 (free) or a number with or without [`WAITED_FOR`]. Only the owner frees
//! it; only who has seen the owner dead takes it over, by exchanging that very word. Since numbers
//! are not reused, the word of a dead owner can come to nobody else's hands meanwhile.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::providers::file::{futex, sys};

/// Somebody sleeps until the lock is free.
const WAITED_FOR: u32 = 1 << 31;
/// Numbers of stores are below this.
pub(in crate::providers::file) const MAX_HANDLE: u32 = WAITED_FOR - 1;
/// How long a waiter sleeps before it looks whether the owner lives.
const PATIENCE: Duration = Duration::from_millis(2);
const SPINS: u32 = 200;

/// Who is alive.
pub(in crate::providers::file) trait Living {
    /// Whether the store of this number is still open.
    fn is_alive(&self, handle: u32) -> bool;
}

/// Stores as they show in the file of locks.
#[derive(Debug)]
pub(in crate::providers::file) struct Locks {
    file: File,
    handle: u32,
}

/// The byte that opening takes, so that one store opens at a time.
const OPENING: u64 = 0;

impl Locks {
    /// The locks of a store that is about to open, which nobody else is until [`Locks::opened`].
    pub(in crate::providers::file) fn opening(file: File) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd;
        sys::lock_byte_wait(&file, OPENING)?;
        sys::close_in_children(file.as_raw_fd());
        Ok(Self { file, handle: 0 })
    }

    /// Whether any other store is open.
    pub(in crate::providers::file) fn anybody(&self) -> bool {
        sys::is_locked(&self.file, OPENING + 1, 0)
    }

    /// Takes the byte of a number of one's own.
    pub(in crate::providers::file) fn take(&mut self, handle: u32) -> std::io::Result<bool> {
        let taken = sys::lock_byte(&self.file, u64::from(handle))?;
        if taken {
            self.handle = handle;
        }
        Ok(taken)
    }

    /// Lets others open.
    pub(in crate::providers::file) fn opened(&self) {
        sys::unlock_byte(&self.file, OPENING);
    }

    pub(in crate::providers::file) fn handle(&self) -> u32 {
        self.handle
    }
}

impl Living for Locks {
    fn is_alive(&self, handle: u32) -> bool {
        handle == self.handle || sys::is_locked(&self.file, u64::from(handle), 1)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        use std::os::fd::AsRawFd;
        sys::forget_in_children(self.file.as_raw_fd());
    }
}

/// How a lock came to its new owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) enum Taken {
    /// It was free.
    Free,
    /// Its owner died, maybe in the middle of something.
    FromTheDead,
}

/// Takes the lock for a store, waiting for it. Not for two threads of one store at once.
pub(in crate::providers::file) fn take(word: &AtomicU32, me: u32, living: &impl Living) -> Taken {
    let free = |mark: u32| {
        word.compare_exchange(0, me | mark, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    };
    for _ in 0..SPINS {
        if word.load(Ordering::Relaxed) == 0 && free(0) {
            return Taken::Free;
        }
        std::hint::spin_loop();
    }
    // Others may sleep as well: who waited once leaves the mark, so that its unlock wakes them.
    loop {
        let seen = word.load(Ordering::Relaxed);
        if seen == 0 {
            if free(WAITED_FOR) {
                return Taken::Free;
            }
            continue;
        }
        let marked = seen | WAITED_FOR;
        if seen != marked
            && word
                .compare_exchange(seen, marked, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            continue;
        }
        futex::wait(word, marked, Some(PATIENCE));
        if word.load(Ordering::Relaxed) == marked
            && !living.is_alive(seen & !WAITED_FOR)
            && word
                .compare_exchange(
                    marked,
                    me | WAITED_FOR,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
        {
            return Taken::FromTheDead;
        }
    }
}

/// Takes the lock if it is free, or its owner dead.
pub(in crate::providers::file) fn try_take(
    word: &AtomicU32,
    me: u32,
    living: &impl Living,
) -> Option<Taken> {
    let seen = word.load(Ordering::Relaxed);
    if seen != 0 && living.is_alive(seen & !WAITED_FOR) {
        return None;
    }
    let mine = me | seen & WAITED_FOR;
    let taken = word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed);
    taken.ok()?;
    Some(if seen == 0 {
        Taken::Free
    } else {
        Taken::FromTheDead
    })
}

/// Lets go of a lock that is one's own.
pub(in crate::providers::file) fn give(word: &AtomicU32) {
    if word.swap(0, Ordering::Release) & WAITED_FOR != 0 {
        futex::wake(word, 1);
    }
}
