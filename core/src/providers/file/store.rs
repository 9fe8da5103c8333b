//! A store that is open: one folder, shared with other threads and processes.
//!
//! A verb is one or a few steps (`engine/`). For a step the store takes two locks, its own, which
//! orders the threads of this store, and the store's in shared memory, which orders processes; it
//! brings the state up to the present, takes the step, and lets go. Then it rings those whom the
//! step lets go on. Whether the log is on the disk is a matter of its own, and of no lock
//! (`flush.rs`).

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::engine::append::Batch;
use super::engine::step::{Ground, Step, Wakes};
use super::fault;
use super::flush::Flusher;
use super::futex;
use super::index::layout::{MAGIC, Member, NIL, status};
use super::index::lock::{self, Living, Locks, MAX_HANDLE, Taken};
use super::index::region::{Cell, Damaged, Region};
use super::log::segment::Files;
use super::log::superblock::{Identity, Refused, Superblock, VERSION};
use super::options::FileOptions;
use super::place;
use super::recovery;
use super::sys;
use super::time::Time;
use crate::body_pool::BodyPool;
use crate::clock::Watcher;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Runtime, Tasks};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock as locked};

/// A store that is open.
pub(super) struct Store {
    pub(super) folder: PathBuf,
    // Before what it guards: a store that is mapped no more is open no more.
    pub(super) locks: Locks,
    pub(super) ground: Arc<Ground>,
    pub(super) superblock: Superblock,
    pub(super) tasks: Tasks,
    pub(super) bodies: BodyPool,
    pub(super) flusher: Flusher,
    /// This store, for threads of its own.
    pub(super) me: Weak<Store>,
    pub(super) keeping: Mutex<()>,
    repair: bool,
    /// The process that opened it.
    process: u64,
    own: Mutex<Own>,
    /// Verbs that wait, by the keys of their waiters.
    pub(super) waits: Mutex<HashMap<u64, Arc<Notify>>>,
    pub(super) next_key: AtomicU64,
    pub(super) threads: Threads,
    watcher: Mutex<Option<Arc<Watcher>>>,
}

/// Which threads of this store run.
#[derive(Default)]
pub(super) struct Threads {
    pub(super) waiting: AtomicBool,
    /// The waiting thread looks after others by itself, and need not be rung for that.
    pub(super) looks_soon: AtomicBool,
    pub(super) flushing: AtomicBool,
    /// Wakes of the keeper since its thread began; 0: it has none.
    pub(super) keeper_wakes: AtomicU32,
    /// The keeper's thread has nothing more to do.
    pub(super) kept: Notify,
}

/// What a step of this store works with.
#[derive(Default)]
struct Own {
    batch: Batch,
    member: u32,
    generation: u32,
}

impl Store {
    /// Opens the store of a folder, or gives the one that this runtime has open already.
    pub(super) fn open(
        runtime: &Runtime,
        folder: &Path,
        options: FileOptions,
    ) -> Result<Arc<Self>> {
        place::prepare(folder)?;
        let found = std::fs::metadata(folder).map_err(|e| fault::io("look at", folder, e))?;
        let name = format!("file:{}:{}", found.dev(), found.ino());
        let of_runtime = runtime.share(&name, Mutex::<Weak<Self>>::default);
        let mut open = locked(&of_runtime);
        if let Some(store) = open.upgrade()
            && store.process == sys::generation()
        {
            return Ok(store);
        }
        let mut new = Self::open_new(runtime, folder, options)?;
        let store = Arc::new_cyclic(|me| {
            new.me = me.clone();
            new
        });
        *open = Arc::downgrade(&store);
        drop(open);
        store.watch_clock();
        if store.ground.region.header().free_files_len.get() < 2 {
            store.wake_keeper();
        }
        Ok(store)
    }

    fn open_new(runtime: &Runtime, folder: &Path, options: FileOptions) -> Result<Self> {
        let failed = |e| fault::io("lock", &folder.join("lock"), e);
        let mut locks = Locks::opening(place::file(folder, "lock")?).map_err(failed)?;
        let time = Time::new(runtime.clock());
        let superblock = open_superblock(folder, &options, time.is_virtual())?;
        let identity = superblock.identity;
        let index = folder.join("index");
        let region =
            Region::open(place::file(folder, "index")?).map_err(|e| fault::io("map", &index, e))?;
        let ground = Arc::new(Ground {
            files: Files::new(folder, identity.segment_bytes, identity.store),
            region,
            time,
            seed: identity.store,
            max_store_bytes: options.max_store_bytes,
        });
        let alone = !locks.anybody();
        let header = ground.region.header();
        let is_ready = is_true(&ground.region, &identity);
        if !is_ready && !alone && header.magic.get() != MAGIC {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{} is open in a process of another version of this library; end it first",
                    folder.display()
                ),
            ));
        }
        if alone {
            // Nobody lives who could own a lock.
            for word in [&header.lock, &header.flush_lock, &header.keep_lock] {
                word.store(0, Ordering::Relaxed);
            }
        }
        if alone && is_ready {
            // The last owner may have died in the middle of a step.
            let undone = ground.roll_back();
            undone.map_err(|e| fault::io("take a step back in", folder, e))?;
        }
        let handle = header.next_handle.fetch_add(1, Ordering::Relaxed) % MAX_HANDLE + 1;
        if !locks.take(handle).map_err(failed)? {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{} cannot be locked; is its index damaged? remove the file index when no process uses it",
                    folder.display()
                ),
            ));
        }
        if alone && !is_ready {
            void(&ground.region, &identity);
            recovery::rebuild(folder, &ground, &superblock, options.repair)?;
        }
        let store = Self {
            me: Weak::new(),
            keeping: Mutex::default(),
            folder: folder.to_owned(),
            ground,
            locks,
            superblock,
            tasks: runtime.tasks().clone(),
            bodies: runtime.bodies().clone(),
            flusher: Flusher::default(),
            repair: options.repair,
            process: sys::generation(),
            own: Mutex::default(),
            waits: Mutex::default(),
            next_key: AtomicU64::new(1),
            threads: Threads::default(),
            watcher: Mutex::default(),
        };
        store.locks_enter_once()?;
        store.locks.opened();
        Ok(store)
    }

    /// Brings to the disk what is owed to it, and waits until no file is being made or removed.
    pub(super) async fn come_to_rest(self: Arc<Self>) -> Result<()> {
        if self.process != sys::generation() {
            return Ok(());
        }
        if self.flusher.owes() {
            self.flushed(self.ground.region.header().tail.get()).await?;
        }
        loop {
            let mut kept = pin!(self.threads.kept.notified());
            kept.as_mut().enable();
            if self.threads.keeper_wakes.load(Ordering::Acquire) == 0 {
                return Ok(());
            }
            kept.await;
        }
    }

    /// The first step: joins the members, and lets go of what dead ones had.
    fn locks_enter_once(&self) -> Result<()> {
        self.bury_the_dead_in_a_step().map(drop)
    }

    /// Takes a step. Answers with its result the position up to which the log must be on the disk
    /// before the result is acknowledged.
    pub(super) fn step<T>(
        &self,
        mut verb: impl FnMut(&mut Step<'_>) -> Result<T>,
    ) -> Result<(T, Option<u64>)> {
        if self.process != sys::generation() {
            return Err(forked());
        }
        match self.try_step(&mut verb) {
            Err(Failed::With(error)) => Err(error),
            Err(Failed::Damaged(what)) => {
                tracing::error!(folder = %self.folder.display(), what, "the index is damaged and built anew");
                match self.try_step(&mut verb) {
                    Ok(done) => Ok(done),
                    Err(Failed::With(error)) => Err(error),
                    Err(Failed::Damaged(what)) => Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("the index was built anew and is damaged still: {what}"),
                    )),
                }
            }
            Ok(done) => Ok(done),
        }
    }

    fn try_step<T>(
        &self,
        verb: &mut impl FnMut(&mut Step<'_>) -> Result<T>,
    ) -> std::result::Result<(T, Option<u64>), Failed> {
        let mut guard = locked(&self.own);
        let header = self.ground.region.header();
        let shared = self.enter();
        let poison = header.poisoned.load(Ordering::Acquire);
        if poison != 0 {
            return Err(Failed::With(fault::poisoned(poison)));
        }
        if header.status.get() != status::READY {
            self.rebuild().map_err(Failed::With)?;
        }
        self.ground.files.renew(header.generation.get());
        let own = &mut *guard;
        let rejoined = own.generation != header.generation.get();
        let now = self.ground.time.now(header);
        self.ground.time.refresh();
        let taken = catch_unwind(AssertUnwindSafe(|| {
            let mut step = Step::new(&self.ground, &mut own.batch, now, own.member);
            if rejoined {
                step.me = NIL;
                own.member = step.join(self.locks.handle())?;
                own.generation = header.generation.get();
                step.keep()?;
            }
            step.advance()?;
            let answer = verb(&mut step)?;
            let position = step.end()?;
            Ok::<_, Error>((answer, position, std::mem::take(&mut step.wakes)))
        }));
        let (answer, position, wakes) = match taken {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                self.take_back();
                if error.kind() == ErrorKind::Full {
                    // There may be something to be freed.
                    self.wake_keeper();
                }
                return Err(Failed::With(error));
            }
            Err(panic) => {
                let what = panic.downcast_ref::<Damaged>().map(|damaged| damaged.0);
                self.take_back();
                if what.is_some() {
                    header.status.put(status::VOID);
                }
                match what {
                    Some(what) => return Err(Failed::Damaged(what)),
                    None => std::panic::resume_unwind(panic),
                }
            }
        };
        drop(shared);
        drop(guard);
        self.after(wakes, rejoined);
        Ok((answer, position))
    }

    /// Takes the lock of the store; a step that its last owner died over is taken back.
    pub(super) fn enter(&self) -> Entered<'_> {
        let header = self.ground.region.header();
        let me = self.locks.handle();
        if lock::take(&header.lock, me, &self.locks) == Taken::FromTheDead {
            self.take_back();
        }
        Entered(self)
    }

    /// Takes back a step that was not finished. What cannot be taken back is built anew.
    fn take_back(&self) {
        let undone = catch_unwind(AssertUnwindSafe(|| self.ground.roll_back()));
        if !matches!(undone, Ok(Ok(()))) {
            self.ground.region.header().status.put(status::VOID);
        }
    }

    fn rebuild(&self) -> Result<()> {
        recovery::rebuild(&self.folder, &self.ground, &self.superblock, self.repair).map(drop)
    }

    /// Rings and tells whom a step lets go on.
    fn after(&self, wakes: Wakes, rejoined: bool) {
        if !wakes.told.is_empty() || rejoined {
            let waits = locked(&self.waits);
            for (key, notify) in waits.iter() {
                if rejoined || wakes.told.contains(key) {
                    notify.notify_one();
                }
            }
        }
        let mut silent = false;
        for id in wakes.bells {
            if let Some(member) = self.ground.region.find::<Member>(id) {
                member.bell.fetch_add(1, Ordering::Release);
                silent |= futex::wake(&member.bell, i32::MAX) == 0
                    && !self.locks.is_alive(member.handle.get());
            }
        }
        if silent {
            // Who was rung is dead: what it would have taken is somebody else's.
            let _ = self.bury_the_dead();
        }
        if wakes.keep {
            self.wake_keeper();
        }
    }

    /// Lets go of what dead stores had. Answers whether there was one.
    pub(super) fn bury_the_dead(&self) -> Result<bool> {
        let any = self.bury_the_dead_in_a_step()?;
        if any
            && self.ground.region.header().synced.load(Ordering::Acquire)
                < self.ground.region.header().tail.get()
        {
            // What the dead one promised to flush soon.
            self.flush_soon();
        }
        Ok(any)
    }

    fn bury_the_dead_in_a_step(&self) -> Result<bool> {
        let buried = self.step(|step| {
            step.settles = true;
            step.bury_members(&self.locks)
        });
        buried.map(|(any, _)| any)
    }

    /// The number of this store's member.
    pub(super) fn member(&self) -> u32 {
        locked(&self.own).member
    }

    /// Follows a virtual clock: time that passes is a step, and other processes are told.
    fn watch_clock(self: &Arc<Self>) {
        let clock = self.tasks.clock();
        if !clock.is_virtual() {
            return;
        }
        let header = self.ground.region.header();
        clock.catch_up(crate::clock::Tick(
            header.virtual_now.load(Ordering::Acquire),
        ));
        let store = Arc::downgrade(self);
        let watcher: Arc<Watcher> = Arc::new(move || {
            if let Some(store) = store.upgrade() {
                store.time_passed();
            }
        });
        clock.on_move(&watcher);
        *locked(&self.watcher) = Some(watcher);
    }

    fn time_passed(&self) {
        let own = self.tasks.clock().now().0;
        let header = self.ground.region.header();
        let news = header.virtual_now.fetch_max(own, Ordering::AcqRel) < own;
        let _ = self.step(|step| {
            if news {
                step.ring_all();
            }
            Ok(())
        });
    }
}

/// Why a step was not taken.
enum Failed {
    With(Error),
    /// The index holds what cannot be; it is void now.
    Damaged(&'static str),
}

/// The lock of the store, until dropped.
pub(super) struct Entered<'s>(&'s Store);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock::give(&self.0.ground.region.header().lock);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let owes = self.flusher.close();
        if self.process != sys::generation() {
            return;
        }
        self.ring_own();
        let (member, generation) = {
            let own = locked(&self.own);
            (own.member, own.generation)
        };
        if self.ground.region.header().generation.get() != generation {
            return;
        }
        let left = self.step(|step| {
            step.settles = true;
            // Steps of a store need a member; this one's last thing is to leave.
            step.leave_store(member)?;
            step.me = NIL;
            // Then the log knows all that lasts, and an index built from it is the same.
            step.say_all()?;
            Ok(())
        });
        if let Err(error) = left {
            tracing::debug!(%error, "a store was left without a word");
        }
        if owes && let Err(error) = self.flush(self.ground.region.header().tail.get()) {
            tracing::error!(%error, "what was owed to the disk is not on it");
        }
    }
}

/// Whether the index can be gone on with: of this store, this run of the machine, and whole.
fn is_true(region: &Region, identity: &Identity) -> bool {
    let header = region.header();
    let boot = sys::boot_id();
    let number = |cells: &[super::index::region::Cell64; 2]| {
        u128::from(cells[0].get()) | u128::from(cells[1].get()) << 64
    };
    header.magic.get() == MAGIC
        && header.status.get() == status::READY
        && boot != 0
        && number(&header.boot) == boot
        && number(&header.store) == identity.store
        && header.segment_bytes.get() == identity.segment_bytes
        && header.blocks.get() <= header.file_blocks.get()
        && region
            .blocks_on_disk()
            .is_ok_and(|blocks| blocks >= header.file_blocks.get())
}

/// Begins an index from nothing. The caller is alone.
fn void(region: &Region, identity: &Identity) {
    let header = region.header();
    header.magic.put(0);
    header.status.put(status::VOID);
    header.undo_length.put(0);
    header.poisoned.store(0, Ordering::Relaxed);
    header.next_handle.fetch_add(1, Ordering::Relaxed);
    header.virtual_now.store(0, Ordering::Relaxed);
    header.is_virtual.put(u32::from(identity.is_virtual));
    header.segment_bytes.put(identity.segment_bytes);
    let blocks = region.blocks_on_disk().unwrap_or(0);
    header.file_blocks.put(blocks);
    let boot = sys::boot_id();
    for (cells, number) in [(&header.boot, boot), (&header.store, identity.store)] {
        cells[0].put(number as u64);
        cells[1].put((number >> 64) as u64);
    }
    header.magic.put(MAGIC);
}

fn open_superblock(folder: &Path, options: &FileOptions, is_virtual: bool) -> Result<Superblock> {
    let path = folder.join("store");
    if !path.exists() {
        return create_superblock(folder, options, is_virtual);
    }
    let opened =
        Superblock::open(place::file(folder, "store")?).map_err(|e| fault::io("read", &path, e))?;
    let refused = |kind, what: String| Err(Error::new(kind, what));
    match opened {
        Ok(opened) if opened.identity.is_virtual != is_virtual => {
            let what = "keeps the virtual time of a test and is opened with the system's clock, or \
                        the other way round";
            Err(Error::invalid_config(
                "url",
                format!("{} {what}", folder.display()),
            ))
        }
        Ok(opened) => Ok(opened),
        Err(Refused::Version(version)) if version > VERSION => refused(
            ErrorKind::InvalidConfig,
            format!(
                "{} was written by a newer version (format {version}, this one reads {VERSION}); \
                 open it with that version",
                folder.display()
            ),
        ),
        Err(Refused::Version(version)) => refused(
            ErrorKind::InvalidConfig,
            format!(
                "{} has the format {version}, which is not read any more",
                folder.display()
            ),
        ),
        Err(Refused::Foreign) => refused(
            ErrorKind::Corrupt,
            format!(
                "{} is not a file of a store; use another folder",
                path.display()
            ),
        ),
        Err(Refused::Damaged) => refused(
            ErrorKind::Corrupt,
            format!(
                "{} is damaged; restore the folder from a copy",
                path.display()
            ),
        ),
    }
}

/// Writes the superblock under another name first: it is there as a whole or not at all.
fn create_superblock(folder: &Path, options: &FileOptions, is_virtual: bool) -> Result<Superblock> {
    let has_log = std::fs::read_dir(folder)
        .map_err(|e| fault::io("list", folder, e))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .any(|name| Files::number(&name).is_some());
    if has_log {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} has a log and no file \"store\"; restore the folder from a copy",
                folder.display()
            ),
        ));
    }
    let identity = Identity {
        store: u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(1..)),
        segment_bytes: options.segment_bytes,
        is_virtual,
    };
    let (new, path) = (folder.join("store.new"), folder.join("store"));
    let failed = |e| fault::io("make", &path, e);
    let file = place::file(folder, "store.new")?;
    file.set_len(0).map_err(failed)?;
    let superblock = Superblock::create(file, identity).map_err(failed)?;
    std::fs::rename(&new, &path).map_err(failed)?;
    Files::new(folder, options.segment_bytes, identity.store)
        .sync_folder()
        .map_err(failed)?;
    Ok(superblock)
}

#[cold]
fn forked() -> Error {
    Error::new(
        ErrorKind::Forked,
        "this store was opened by the parent process; open it again after fork",
    )
}
