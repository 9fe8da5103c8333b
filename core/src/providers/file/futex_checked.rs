//! Sleeping on words of shared memory, under a model checker: who sleeps is a thread of the
//! checker's, and no time passes, so that a wake which is lost is a sleep without end.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sync::thread::{self, Thread};

/// Where a word is, whoever looks: device, file and offset.
type Place = (u64, u64, usize);

struct Mapped {
    base: usize,
    len: usize,
    device: u64,
    file: u64,
}

struct Sleeper {
    place: Place,
    thread: Thread,
    woken: Arc<AtomicBool>,
}

// Not of the checker: nothing switches to another thread while one of these is locked.
static MAPPED: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());
static SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers which file is mapped where.
pub(super) fn mapped(base: NonNull<u8>, len: usize, file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    locked(&MAPPED).push(Mapped {
        base: base.as_ptr().addr(),
        len,
        device: found.dev(),
        file: found.ino(),
    });
    Ok(())
}

/// Forgets a mapping.
pub(super) fn unmapped(base: NonNull<u8>) {
    locked(&MAPPED).retain(|mapped| mapped.base != base.as_ptr().addr());
}

fn place(word: &AtomicU32) -> Place {
    let address = word.as_ptr().addr();
    let is_in = |mapped: &&Mapped| (mapped.base..mapped.base + mapped.len).contains(&address);
    match locked(&MAPPED).iter().find(is_in) {
        Some(mapped) => (mapped.device, mapped.file, address - mapped.base),
        None => (0, 0, address),
    }
}

/// Sleeps while the word has this value, until woken. Only a sleep of no time ends by itself.
pub(super) fn wait(word: &AtomicU32, value: u32, at_most: Option<Duration>) {
    thread::yield_now();
    if at_most == Some(Duration::ZERO) {
        return;
    }
    let woken = Arc::new(AtomicBool::new(false));
    let sleeper = Sleeper {
        place: place(word),
        thread: thread::current(),
        woken: woken.clone(),
    };
    {
        let mut sleepers = locked(&SLEEPERS);
        if word.load(Ordering::SeqCst) != value {
            return;
        }
        sleepers.push(sleeper);
    }
    while !woken.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Wakes up to `count` sleepers of this word. Answers how many there were.
pub(super) fn wake(word: &AtomicU32, count: i32) -> i64 {
    let place = place(word);
    let mut left = count;
    let is_meant = |sleeper: &mut Sleeper| {
        let is_meant = left > 0 && sleeper.place == place;
        left -= i32::from(is_meant);
        is_meant
    };
    let woken: Vec<Sleeper> = locked(&SLEEPERS).extract_if(.., is_meant).collect();
    for sleeper in &woken {
        sleeper.woken.store(true, Ordering::SeqCst);
        sleeper.thread.unpark();
    }
    woken.len() as i64
}
