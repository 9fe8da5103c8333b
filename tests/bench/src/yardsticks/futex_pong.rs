//! Two processes that wake each other in turn by a futex in a mapped file: what a wake-up across
//! processes costs on this machine.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::Result;
use crate::measure::median;

const PING: u32 = 1;
const PONG: u32 = 2;
const END: u32 = 3;

/// A word of a mapped file.
pub struct Word(*mut AtomicU32);

impl Word {
    pub fn open(path: &Path) -> Result<Self> {
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .clone();
        let file: File = options.open(path)?;
        file.set_len(4096)?;
        let (len, fd) = (4096, file.as_raw_fd());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes touches nobody's memory.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(Self(base.cast()))
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the mapping is as long as the file, aligned to pages, and never unmapped.
        unsafe { &*self.0 }
    }

    fn pass(&self, turn: u32) {
        self.word().store(turn, Ordering::Release);
        // SAFETY: the address is only a name here.
        unsafe { libc::syscall(libc::SYS_futex, self.0, libc::FUTEX_WAKE, 1) };
    }

    /// Sleeps until the word is not what it was.
    fn wait_while(&self, turn: u32) -> u32 {
        loop {
            let is = self.word().load(Ordering::Acquire);
            if is != turn {
                return is;
            }
            let forever = std::ptr::null::<libc::timespec>();
            // SAFETY: the word outlives the call; the kernel only reads it.
            unsafe { libc::syscall(libc::SYS_futex, self.0, libc::FUTEX_WAIT, turn, forever) };
        }
    }

    /// The other process: answers until it is told to end.
    pub fn answer(&self) {
        let mut turn = self.wait_while(0);
        while turn != END {
            if turn == PING {
                self.pass(PONG);
            }
            turn = self.wait_while(PONG);
        }
    }

    pub fn end(&self) {
        self.pass(END);
    }

    /// Half a round trip, p50 in microseconds.
    pub fn half_round_trip(&self, rounds: usize) -> f64 {
        let times = (0..rounds).map(|_| {
            let start = Instant::now();
            self.pass(PING);
            self.wait_while(PING);
            start.elapsed().as_secs_f64() * 1e6 / 2.0
        });
        median(times.collect())
    }
}
