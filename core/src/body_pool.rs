//! Memory for message bodies, kept for reuse.
//!
//! Allocators give a burst of freed bodies back to the system, and the next burst faults every
//! page in again. Here a freed body's buffer goes to a magazine of the thread that freed it, and
//! what a magazine cannot hold to a depot that all threads share. Both hand out the buffer that
//! came last, whose memory is still warm.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller bodies cost an allocator less than the pool, and share their pages with others.
const SMALLEST: usize = 512;
/// Larger bodies cost so much to fill that their memory's price does not show.
const LARGEST: usize = 64 * 1024;
/// One class of buffers for each power of two.
const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;
/// Bytes of one class that a thread keeps to itself, and how many buffers at most.
const MAGAZINE_BYTES: usize = 128 * 1024;
const MAGAZINE_BUFFERS: usize = 64;

/// The class whose buffers hold this many bytes; `None` for what the allocator serves.
fn class_for(bytes: usize) -> Option<usize> {
    // Half of the smallest buffer is the least that is worth one.
    (SMALLEST / 2 + 1..=LARGEST)
        .contains(&bytes)
        .then(|| (bytes.max(SMALLEST).next_power_of_two() / SMALLEST).ilog2() as usize)
}

const fn class_bytes(class: usize) -> usize {
    SMALLEST << class
}

/// Half of the buffers that a magazine of each class holds: what goes between it and the depot
/// at once.
const HALF_MAGAZINE: [usize; CLASSES] = {
    let mut half = [MAGAZINE_BUFFERS / 2; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let fits = MAGAZINE_BYTES / class_bytes(class) / 2;
        if fits < half[class] {
            half[class] = fits;
        }
        class += 1;
    }
    half
};

/// A pool of buffers for bodies that are copied in. Cheap to clone; any thread. Its memory is
/// freed when the last clone and the last of its bodies are gone.
#[derive(Clone)]
pub struct BodyPool(Arc<Handle>);

/// What the pool's users hold. Buffers hold the pool too, and would keep it alive for ever.
struct Handle(Arc<Pool>);

struct Pool {
    limit: usize,
    depot: Mutex<Depot>,
}

#[derive(Default)]
struct Depot {
    /// Bytes of all buffers there are: here, in magazines and in use.
    owned: usize,
    idle: [Vec<Buffer>; CLASSES],
    closed: bool,
}

/// One pointer wide, because it changes hands often.
struct Buffer(Box<Memory>);

/// It keeps its pool, in use or not, so that no change of hands counts a reference.
struct Memory {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

/// The owner inside a body's [`Bytes`]: empty only while it is dropped.
struct Body(Option<Buffer>);

impl Default for BodyPool {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

impl BodyPool {
    /// The bytes a pool holds at most, unless told otherwise: 64 MiB.
    pub const DEFAULT_BYTES: usize = 64 * 1024 * 1024;

    /// A pool of at most this many bytes, in use and idle together. Bodies beyond get memory of
    /// the allocator.
    pub fn new(limit: usize) -> Self {
        let depot = Mutex::default();
        Self(Arc::new(Handle(Arc::new(Pool { limit, depot }))))
    }

    /// These bytes, copied into memory of the pool, which takes it back with the last clone.
    pub fn copy(&self, bytes: &[u8]) -> Bytes {
        let buffer = class_for(bytes.len()).and_then(|class| Pool::take(&self.0.0, class));
        match buffer {
            Some(mut buffer) => {
                buffer.0.bytes.clear();
                buffer.0.bytes.extend_from_slice(bytes);
                Bytes::from_owner(Body(Some(buffer)))
            }
            None => Bytes::copy_from_slice(bytes),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut depot = self.0.depot();
        depot.closed = true;
        let idle = std::mem::take(&mut depot.idle);
        drop(depot);
        drop(idle);
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |buffer| &buffer.0.bytes)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            buffer.put_back();
        }
    }
}

impl Pool {
    /// The depot is whole at every moment, so a panic elsewhere did not harm it.
    fn depot(&self) -> MutexGuard<'_, Depot> {
        self.depot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of this class: the thread's own, the depot's, a new one; `None` at the limit.
    fn take(self: &Arc<Self>, class: usize) -> Option<Buffer> {
        MAGAZINES
            .try_with(|magazines| magazines.borrow_mut().take(self, class))
            .ok()
            .flatten()
            .or_else(|| self.create(class))
    }

    fn create(self: &Arc<Self>, class: usize) -> Option<Buffer> {
        let bytes = class_bytes(class);
        self.depot().make_room(bytes, self.limit).then(|| {
            Buffer(Box::new(Memory {
                bytes: Vec::with_capacity(bytes),
                pool: self.clone(),
            }))
        })
    }
}

impl Depot {
    /// Fills an empty magazine half, so that it can both give and take for a while.
    fn fill(&mut self, magazine: &mut Vec<Buffer>, class: usize) {
        let idle = &mut self.idle[class];
        let rest = idle.len().saturating_sub(HALF_MAGAZINE[class]);
        magazine.extend(idle.drain(rest..));
    }

    fn keep(&mut self, class: usize, buffers: impl Iterator<Item = Buffer>) {
        if self.closed {
            drop(buffers);
        } else {
            self.idle[class].extend(buffers);
        }
    }

    /// Counts a new buffer in, if need be by freeing idle ones of any class.
    fn make_room(&mut self, bytes: usize, limit: usize) -> bool {
        for class in (0..CLASSES).rev() {
            while self.owned + bytes > limit && self.idle[class].pop().is_some() {
                self.owned -= class_bytes(class);
            }
        }
        let room = self.owned + bytes <= limit;
        if room {
            self.owned += bytes;
        }
        room
    }
}

impl Buffer {
    fn class(&self) -> usize {
        (self.0.bytes.capacity() / SMALLEST).ilog2() as usize
    }

    fn put_back(self) {
        let mut buffer = Some(self);
        let _ = MAGAZINES.try_with(|magazines| {
            if let Some(buffer) = buffer.take() {
                magazines.borrow_mut().put(buffer);
            }
        });
        // Only while the thread ends, when its magazines are gone.
        if let Some(buffer) = buffer {
            let pool = buffer.0.pool.clone();
            pool.depot().keep(buffer.class(), std::iter::once(buffer));
        }
    }
}

/// The buffers a thread keeps to itself, of the pool that it used last.
struct Magazines {
    pool: Option<Arc<Pool>>,
    classes: [Vec<Buffer>; CLASSES],
}

thread_local! {
    static MAGAZINES: RefCell<Magazines> = const {
        RefCell::new(Magazines { pool: None, classes: [const { Vec::new() }; CLASSES] })
    };
}

impl Magazines {
    /// Makes these the magazines of this pool: another's buffers are returned first.
    fn serve(&mut self, pool: &Arc<Pool>) {
        if !self.pool.as_ref().is_some_and(|own| Arc::ptr_eq(own, pool)) {
            self.empty();
            self.pool = Some(pool.clone());
        }
    }

    fn take(&mut self, pool: &Arc<Pool>, class: usize) -> Option<Buffer> {
        self.serve(pool);
        let magazine = &mut self.classes[class];
        if magazine.is_empty() {
            pool.depot().fill(magazine, class);
        }
        magazine.pop()
    }

    fn put(&mut self, buffer: Buffer) {
        self.serve(&buffer.0.pool);
        let class = buffer.class();
        let magazine = &mut self.classes[class];
        if magazine.len() == 2 * HALF_MAGAZINE[class] {
            // The oldest go, the warm ones stay.
            let oldest = magazine.drain(..HALF_MAGAZINE[class]);
            buffer.0.pool.depot().keep(class, oldest);
        }
        magazine.push(buffer);
    }

    fn empty(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let mut depot = pool.depot();
        for (class, magazine) in self.classes.iter_mut().enumerate() {
            depot.keep(class, magazine.drain(..));
        }
    }
}

impl Drop for Magazines {
    fn drop(&mut self) {
        self.empty();
    }
}

impl fmt::Debug for BodyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depot = self.0.0.depot();
        f.debug_struct("BodyPool")
            .field("limit", &self.0.0.limit)
            .field("owned", &depot.owned)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn owned(pool: &BodyPool) -> usize {
        pool.0.0.depot().owned
    }

    /// Runs something on a thread of its own, whose magazines are returned when this answers.
    fn elsewhere<T: Send>(f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(f).join().unwrap())
    }

    #[test]
    fn bodies_of_all_sizes_hold_what_was_copied() {
        let pool = BodyPool::default();
        let pattern: Vec<u8> = (0..LARGEST + 2).map(|i| (i % 251) as u8).collect();
        let edges = (0..=17).flat_map(|power| [-1, 0, 1].map(|step| (1isize << power) + step));
        for size in edges.filter_map(|size| pattern.get(..size as usize)) {
            let body = pool.copy(size);
            let clone = body.clone();
            drop(body);
            assert_eq!(clone, size);
        }
    }

    #[test]
    fn a_freed_buffer_is_the_next_one_used() {
        let pool = BodyPool::default();
        let first = pool.copy(&[1; 1000]);
        let place = first.as_ptr();
        let clone = first.clone();
        drop(first);
        let second = pool.copy(&[2; 1000]);
        assert_ne!(second.as_ptr(), place, "a clone still needs it");
        assert_eq!(clone, [1; 1000].as_slice());
        drop(clone);
        assert_eq!(pool.copy(&[3; 600]).as_ptr(), place);
        assert_eq!(owned(&pool), 2 * 1024);
    }

    #[test]
    fn empty_small_and_large_bodies_are_the_allocators() {
        let pool = BodyPool::default();
        for size in [0, 1, SMALLEST / 2, LARGEST + 1] {
            assert_eq!(pool.copy(&vec![5; size]).len(), size);
        }
        assert_eq!(owned(&pool), 0);
    }

    #[test]
    fn the_limit_holds_and_bodies_beyond_it_are_served() {
        let pool = BodyPool::new(3 * 1024);
        let bodies: Vec<Bytes> = (0..10).map(|i| pool.copy(&[i; 1024])).collect();
        assert_eq!(owned(&pool), 3 * 1024);
        for (i, body) in bodies.iter().enumerate() {
            assert_eq!(body, [i as u8; 1024].as_slice());
        }
        let none = BodyPool::new(0);
        assert_eq!(none.copy(&[1; 1024]), [1; 1024].as_slice());
        assert_eq!(owned(&none), 0);
    }

    #[test]
    fn at_the_limit_idle_buffers_make_room_for_another_size() {
        let pool = BodyPool::new(LARGEST);
        elsewhere(|| {
            let bodies: Vec<Bytes> = (0..64).map(|_| pool.copy(&[1; 1024])).collect();
            assert_eq!(owned(&pool), LARGEST);
            drop(bodies);
        });
        let large = pool.copy(&[2; LARGEST]);
        assert_eq!(owned(&pool), LARGEST);
        let place = large.as_ptr();
        drop(large);
        assert_eq!(pool.copy(&[3; LARGEST]).as_ptr(), place);
    }

    #[test]
    fn a_thread_that_ends_returns_its_buffers() {
        let pool = BodyPool::default();
        let place = elsewhere(|| pool.copy(&[1; 4096]).as_ptr() as usize);
        assert_eq!(pool.copy(&[2; 4096]).as_ptr() as usize, place);
    }

    #[test]
    fn a_pool_is_freed_with_its_last_body() {
        let pool = BodyPool::default();
        let weak = Arc::downgrade(&pool.0.0);
        elsewhere(|| {
            let kept = pool.copy(&[1; 1024]);
            let many: Vec<Bytes> = (0..200).map(|_| pool.copy(&[2; 1024])).collect();
            drop(many);
            drop(pool);
            assert_eq!(kept, [1; 1024].as_slice());
            drop(kept);
        });
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn two_pools_on_one_thread_keep_their_buffers_apart() {
        let (one, two) = (BodyPool::default(), BodyPool::default());
        for _ in 0..10 {
            drop((one.copy(&[1; 1024]), two.copy(&[2; 1024])));
        }
        assert_eq!((owned(&one), owned(&two)), (1024, 1024));
    }

    #[test]
    fn any_thread_may_free_what_another_copied() {
        let pool = BodyPool::new(1024 * 1024);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for seed in 0..4u8 {
                let (sender, receiver) = mpsc::sync_channel::<(u8, Bytes)>(300);
                let pool = &pool;
                threads.push(scope.spawn(move || {
                    for i in 0..5000usize {
                        let fill = seed.wrapping_add(i as u8);
                        let body = pool.copy(&vec![fill; 200 + i * 37 % 5000]);
                        sender.send((fill, body)).unwrap();
                    }
                }));
                threads.push(scope.spawn(move || {
                    for (fill, body) in receiver {
                        assert!(body.iter().all(|byte| *byte == fill));
                    }
                }));
            }
            // Only a join waits for a thread's magazines too.
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
        let depot = pool.0.0.depot();
        let idle = depot.idle.iter().enumerate();
        let idle: usize = idle.map(|(c, list)| list.len() * class_bytes(c)).sum();
        assert_eq!(
            depot.owned, idle,
            "all threads ended, so all buffers are back"
        );
        assert!(idle <= 1024 * 1024);
    }

    #[cfg(target_os = "linux")]
    fn page_faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name
            .split_whitespace()
            .nth(7)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn bursts_fault_no_pages_in_again() {
        let pool = BodyPool::default();
        let data = [7; 1024];
        let mut burst = Vec::with_capacity(500);
        let mut round = || {
            burst.extend((0..500).map(|_| pool.copy(&data)));
            burst.clear();
        };
        round();
        let before = page_faults();
        for _ in 0..100 {
            round();
        }
        // Each burst is 125 pages; the system gives and takes a few for reasons of its own.
        let faults = page_faults() - before;
        assert!(faults < 100, "{faults} page faults in 100 bursts");
    }
}
