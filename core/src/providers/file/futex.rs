//! Sleeping on words of shared memory, across processes (futex(2)).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while the word, which may be in shared memory, has this value: until woken, at most
/// this long. May return for no reason.
pub(super) fn wait(word: &AtomicU32, value: u32, at_most: Option<Duration>) {
    let timeout = at_most.map(|d| libc::timespec {
        tv_sec: d.as_secs().min(i64::MAX as u64) as _,
        tv_nsec: d.subsec_nanos() as libc::c_long,
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), |t| t as *const _);
    // SAFETY: word and timeout outlive the call; the kernel only reads them.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            value,
            timeout,
        )
    };
}

/// Wakes up to `count` sleepers of this word, in any process. Answers how many there were.
pub(super) fn wake(word: &AtomicU32, count: i32) -> i64 {
    // SAFETY: the address is only a name here; nothing is read or written through it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) }
}
