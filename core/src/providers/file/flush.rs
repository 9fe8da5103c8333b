//! Bringing the log to the disk.
//!
//! One flush covers what all processes have written. Whoever needs it takes the flush lock, looks
//! whether somebody else has done it meanwhile, marks the end of the log, so that what comes later
//! goes to another sector, and flushes up to there. A flush that fails poisons the store: what the
//! kernel could not write it may have forgotten, so trying again would tell a lie.
//!
//! Verbs of callers that must not wait leave their positions with the flusher, a thread of the
//! store. While it flushes, more come; so under load a flush is for many.

use std::future::Future;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::fault;
use super::index::layout::Header;
use super::index::lock;
use super::index::region::Cell;
use super::store::Store;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, Ordering, lock as locked, thread};

/// The flusher of a store, and one leader of this store at a time.
#[derive(Default)]
pub(super) struct Flusher {
    shared: Arc<Shared>,
    leading: Mutex<()>,
}

/// What the flusher's thread shares with the store, which it does not keep.
#[derive(Default)]
struct Shared {
    queue: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    waiting: Vec<(u64, oneshot::Sender<Option<u32>>)>,
    /// A flush is wanted, after this long at most.
    soon: Option<Duration>,
    closed: bool,
}

impl Flusher {
    /// Lets the thread end. Answers whether a flush was still to come.
    pub(super) fn close(&self) -> bool {
        let mut pending = locked(&self.shared.queue);
        pending.closed = true;
        self.shared.changed.notify_all();
        pending.soon.is_some()
    }

    /// Whether a flush is to come that nobody waits for.
    pub(super) fn owes(&self) -> bool {
        locked(&self.shared.queue).soon.is_some()
    }
}

impl Store {
    /// Sees to it that the log is on the disk up to this position. Waits for the disk.
    pub(super) fn flush(&self, position: u64) -> Result<()> {
        let header = self.ground.region.header();
        if is_done(header, position)? {
            return Ok(());
        }
        let _leading = locked(&self.flusher.leading);
        if is_done(header, position)? {
            return Ok(());
        }
        lock::take(&header.flush_lock, self.locks.handle(), &self.locks);
        let flushed = match is_done(header, position) {
            Ok(false) => self.lead(header),
            done => done.map(drop),
        };
        lock::give(&header.flush_lock);
        flushed
    }

    fn lead(&self, header: &Header) -> Result<()> {
        let tail = {
            let _shared = self.enter();
            let tail = header.tail.get();
            header.flush_mark.put(tail);
            self.ground.files.renew(header.generation.get());
            tail
        };
        let size = header.segment_bytes.get();
        let from = header.synced.load(Ordering::Acquire).max(1);
        let from = ((from - 1) / size).max(header.first_segment.get());
        for segment in from..=(tail - 1) / size {
            let number = self.ground.region.segment(segment).file.get();
            let file = self.ground.files.get(number);
            if let Err(error) = file.and_then(|file| super::faults::sync(&file)) {
                let code = error.raw_os_error().unwrap_or(libc::EIO);
                header.poisoned.store(code as u32, Ordering::Release);
                tracing::error!(folder = %self.folder.display(), %error, "a flush failed");
                return Err(fault::poisoned(code as u32));
            }
        }
        header.synced.fetch_max(tail, Ordering::AcqRel);
        Ok(())
    }

    /// [`Store::flush`], led by the flusher.
    pub(super) fn flushed(
        self: &Arc<Self>,
        position: u64,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (done, wait) = oneshot::channel();
        let header = self.ground.region.header();
        let early = is_done(header, position);
        if matches!(early, Ok(false)) {
            locked(&self.flusher.shared.queue)
                .waiting
                .push((position, done));
            self.start_flusher();
            self.flusher.shared.changed.notify_one();
        }
        async move {
            if early? {
                return Ok(());
            }
            match wait.await {
                Ok(None) => Ok(()),
                Ok(Some(code)) => Err(fault::poisoned(code)),
                Err(_) => Err(Error::closed("store")),
            }
        }
    }

    /// Sees to it that what is written is on the disk after this long at most.
    pub(super) fn flush_within(self: &Arc<Self>, interval: Duration) {
        let mut pending = locked(&self.flusher.shared.queue);
        if pending.soon.is_none_or(|soon| soon > interval) {
            pending.soon = Some(interval);
            drop(pending);
            self.start_flusher();
            self.flusher.shared.changed.notify_one();
        }
    }

    /// A flush is wanted that nobody waits for.
    pub(super) fn flush_soon(&self) {
        locked(&self.flusher.shared.queue).soon = Some(Duration::ZERO);
        self.flusher.shared.changed.notify_one();
    }

    fn start_flusher(self: &Arc<Self>) {
        if self.threads.flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        let store = Arc::downgrade(self);
        let shared = self.flusher.shared.clone();
        let started = thread::Builder::new()
            .name("qrt-flush".to_owned())
            .spawn(move || run(&store, &shared));
        if let Err(error) = started {
            // Without a thread the caller's own has to do.
            tracing::error!(%error, "no thread for the flusher");
            self.threads.flushing.store(false, Ordering::Release);
            let tail = self.ground.region.header().tail.get();
            let flushed = self.flush(tail);
            self.answer(flushed);
        }
    }

    /// Answers those whose positions are on the disk, or all when the flush failed.
    fn answer(&self, flushed: Result<()>) {
        let header = self.ground.region.header();
        let synced = header.synced.load(Ordering::Acquire);
        let poison = header.poisoned.load(Ordering::Acquire);
        let mut pending = locked(&self.flusher.shared.queue);
        let waiting = std::mem::take(&mut pending.waiting);
        for (position, done) in waiting {
            if position <= synced {
                let _ = done.send(None);
            } else if flushed.is_err() || poison != 0 {
                let _ = done.send(Some(poison));
            } else {
                pending.waiting.push((position, done));
            }
        }
    }
}

/// The thread: flushes whenever somebody waits, until the store is gone.
fn run(store: &Weak<Store>, shared: &Shared) {
    loop {
        let pending = locked(&shared.queue);
        let idle = |p: &mut Pending| p.waiting.is_empty() && p.soon.is_none() && !p.closed;
        let pending = shared
            .changed
            .wait_while(pending, idle)
            .unwrap_or_else(PoisonError::into_inner);
        // An interval is waited for, unless somebody cannot.
        let interval = pending.soon.unwrap_or_default();
        let (mut pending, _) = shared
            .changed
            .wait_timeout_while(pending, interval, |p| p.waiting.is_empty() && !p.closed)
            .unwrap_or_else(PoisonError::into_inner);
        // One that is at its end flushes by itself what it sees to be owed.
        let Some(store) = store.upgrade() else {
            return;
        };
        pending.soon = None;
        drop(pending);
        let tail = store.ground.region.header().tail.get();
        let flushed = store.flush(tail);
        store.answer(flushed);
    }
}

/// Whether the log is on the disk up to this position; an error if it will never be.
fn is_done(header: &Header, position: u64) -> Result<bool> {
    match header.poisoned.load(Ordering::Acquire) {
        0 => Ok(header.synced.load(Ordering::Acquire) >= position),
        code => Err(fault::poisoned(code)),
    }
}
