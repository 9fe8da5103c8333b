//! What is where in the index file.
//!
//! ```text
//! block 0 ..      Header · table of segments · undo journal
//! FIRST_BLOCK ..  blocks of nodes, each of one kind: 64 bytes about the block, then nodes
//! ```
//!
//! Zero is never the number of a node, so that fresh memory is a list of nothing and a tree of
//! nothing. Times are ticks of the store's clock in nanoseconds; [`NEVER`] is no time.

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::region::{Cell32, Cell64};

/// The size of a block, and of a step of growth and shrinking.
pub(in crate::providers::file) const BLOCK: usize = 64 * 1024;
/// Segments that the log can have at a time.
pub(in crate::providers::file) const SEGMENTS: u64 = 8192;
pub(super) const SEGMENTS_AT: usize = 8192;
pub(super) const UNDO_AT: usize = SEGMENTS_AT + SEGMENTS as usize * size_of::<Segment>();
/// Changes that one step can make.
pub(in crate::providers::file) const UNDO_LEN: usize = 128 * 1024;
pub(in crate::providers::file) const FIRST_BLOCK: u32 = {
    let end = UNDO_AT + UNDO_LEN * 16;
    end.div_ceil(BLOCK) as u32
};

/// No node.
pub(in crate::providers::file) const NIL: u32 = 0;
/// No time: later than any other.
pub(in crate::providers::file) const NEVER: u64 = u64::MAX;

/// "QRTINDEX" and the number of this layout. Another layout is rebuilt from the log.
pub(in crate::providers::file) const MAGIC: u64 = u64::from_le_bytes(*b"QRTIDX\0\x02");

/// How far an index is to be trusted.
pub(in crate::providers::file) mod status {
    /// Not built, or being built.
    pub(in crate::providers::file) const VOID: u32 = 0;
    /// True.
    pub(in crate::providers::file) const READY: u32 = 1;
}

/// Free files that are kept by number.
pub(in crate::providers::file) const FREE_FILES: usize = 16;

/// The first structure of the file: what there is one of.
#[repr(C)]
pub(in crate::providers::file) struct Header {
    pub magic: Cell64,
    pub boot: [Cell64; 2],
    pub store: [Cell64; 2],
    pub status: Cell32,
    /// Counts the times the index was built. Who remembers numbers of nodes remembers this too.
    pub generation: Cell32,
    pub file_blocks: Cell32,
    /// Whether the store keeps the virtual time of a test.
    pub is_virtual: Cell32,
    pub undo_length: Cell64,

    /// Robust locks: of the whole state, of the flush, of the keeping of files.
    pub lock: AtomicU32,
    pub flush_lock: AtomicU32,
    pub keep_lock: AtomicU32,
    /// The next number of an open store.
    pub next_handle: AtomicU32,

    /// All of the log before this position is on the disk.
    pub synced: AtomicU64,
    /// A flush failed, with this number of the system's; nothing more is acknowledged.
    pub poisoned: AtomicU32,
    /// A file that a keeper is making, in case it dies over it.
    pub making: AtomicU32,
    /// The latest virtual time of any process.
    pub virtual_now: AtomicU64,

    // The log.
    pub tail: Cell64,
    /// A flush up to here has begun: what follows starts at another sector.
    pub flush_mark: Cell64,
    pub segment_bytes: Cell64,
    pub first_segment: Cell64,
    /// Where a frame is being written, and to which file: what a step that is taken back has left
    /// in the log.
    pub writing: Cell64,
    pub writing_file: Cell32,
    /// There was no space for another file when one was wanted.
    pub is_short: Cell32,
    pub chain: Cell32,
    pub era: Cell32,
    pub next_file: Cell32,
    pub free_files_len: Cell32,
    pub free_files: [Cell32; FREE_FILES],
    /// Files of the log that there are: in use and free.
    pub files: Cell32,

    // Space.
    pub blocks: Cell32,
    pub empty_blocks: Cell32,
    pub partial: [Cell32; 8],

    // What there is.
    /// The last number given: to a message, a place in an order, a death.
    pub counter: Cell64,
    pub last_token: Cell64,
    pub timers: Cell32,
    pub holds: Cell32,
    pub queues: ListHead,
    pub members: ListHead,
    /// Messages whose standing the log does not know yet.
    pub dirty: ListHead,
    /// Verbs that wait, in all processes.
    pub waiting: Cell32,
    pub next_queue: Cell32,
    /// Bytes of all messages that are not gone, as the log holds them.
    pub live_bytes: Cell64,
}

/// A segment of the log, by its number modulo [`SEGMENTS`].
#[repr(C)]
pub(in crate::providers::file) struct Segment {
    pub file: Cell32,
    /// Records in it that are still needed, and their bytes.
    pub live: Cell32,
    pub live_bytes: Cell64,
}

/// The ends of a list.
#[repr(C)]
pub(in crate::providers::file) struct ListHead {
    pub first: Cell32,
    pub last: Cell32,
}

/// The neighbours in a list, or the children in a tree.
#[repr(C)]
pub(in crate::providers::file) struct Link {
    pub before: Cell32,
    pub after: Cell32,
}

/// Where a record is in the log; position 0 is nowhere.
#[repr(C)]
pub(in crate::providers::file) struct Place {
    pub position: Cell64,
    pub len: Cell32,
    pub _gap: Cell32,
}

/// What pools hold: structures of atomics, whose first half word links the free ones.
///
/// # Safety
///
/// The type is `repr(C)`, consists of [`Cell32`], [`Cell64`] and atomics only, and its size is a
/// multiple of 8 and at least 64 bytes.
pub(in crate::providers::file) unsafe trait Node {
    const KIND: u32;
    const PER_BLOCK: usize;
    fn free_link(&self) -> &Cell32;
}

macro_rules! node {
    ($type:ident, $kind:literal) => {
        // SAFETY: the structure is declared above, of cells; its size is checked below.
        unsafe impl Node for $type {
            const KIND: u32 = $kind;
            const PER_BLOCK: usize = {
                assert!(size_of::<$type>() % 8 == 0 && size_of::<$type>() >= 64);
                (BLOCK - 64) / size_of::<$type>()
            };

            fn free_link(&self) -> &Cell32 {
                &self.free
            }
        }
    };
}

/// What stands before the nodes of a block.
#[repr(C)]
pub(in crate::providers::file) struct BlockHead {
    pub kind: Cell32,
    pub used: Cell32,
    pub free: Cell32,
    /// Nodes from here on were never used.
    pub fresh: Cell32,
    /// Among the blocks of its kind that have room; of an empty block, `after` links them.
    pub link: Link,
    /// Its space was given back to the disk.
    pub hollow: Cell32,
    pub _gap: Cell32,
}

/// A message of a queue.
#[repr(C)]
pub(in crate::providers::file) struct Message {
    pub free: Cell32,
    /// One of `standing`.
    pub standing: Cell32,
    /// A set of `flag`.
    pub flags: Cell32,
    pub queue: Cell32,
    pub session: Cell32,
    /// Who has it in hands.
    pub holder: Cell32,
    pub attempts: Cell32,
    /// The attempts that the log knows of.
    pub logged_attempts: Cell32,
    pub bytes: Cell32,
    pub _gap: Cell32,
    pub number: Cell64,
    pub sequence: Cell64,
    pub token: Cell64,
    pub enqueued: Cell64,
    pub first_delivered: Cell64,
    pub expires: Cell64,
    pub due: Cell64,
    pub record: Place,
    pub death: Place,
    pub death_number: Cell64,
    pub died: Cell64,
    /// Among all of the queue that are not dead.
    pub all: Link,
    /// In a lane (fresh: list; returned: tree), in somebody's hands, or among the dead.
    pub place: Link,
    pub timer: Link,
    pub late: Link,
    pub dirty: Link,
}
node!(Message, 1);

/// How a message stands.
pub(in crate::providers::file) mod standing {
    pub(in crate::providers::file) const FREE: u32 = 0;
    /// Never delivered, in the list of its lane.
    pub(in crate::providers::file) const FRESH: u32 = 1;
    /// Given back, at its old place in the tree of its lane.
    pub(in crate::providers::file) const RETURNED: u32 = 2;
    pub(in crate::providers::file) const DELAYED: u32 = 3;
    pub(in crate::providers::file) const IN_FLIGHT: u32 = 4;
    pub(in crate::providers::file) const DEAD: u32 = 5;
}

/// What is true of a message beside its standing.
pub(in crate::providers::file) mod flag {
    /// The present delivery has used an attempt.
    pub(in crate::providers::file) const BEGUN: u32 = 1;
    /// The latest delivery ended without a settlement.
    pub(in crate::providers::file) const LAPSED: u32 = 2;
    /// While it is delayed: its place is its old one.
    pub(in crate::providers::file) const GIVEN_BACK: u32 = 4;
    /// While it is delayed: its session waits for it.
    pub(in crate::providers::file) const BLOCKS: u32 = 8;
    /// It stands before messages that were sent earlier.
    pub(in crate::providers::file) const YOUNG: u32 = 16;
    /// It is in the tree of those whose place is not that of their time.
    pub(in crate::providers::file) const LATE: u32 = 32;
    /// Its timer is set.
    pub(in crate::providers::file) const TIMED: u32 = 64;
    /// It is in the list of those whose standing the log does not know.
    pub(in crate::providers::file) const DIRTY: u32 = 128;
}

/// Ready messages in order.
#[repr(C)]
pub(in crate::providers::file) struct Lane {
    pub fresh: ListHead,
    pub returned: Cell32,
    pub len: Cell32,
}

/// A queue.
#[repr(C)]
pub(in crate::providers::file) struct Queue {
    pub free: Cell32,
    /// The number it has in the log.
    pub number: Cell32,
    pub link: Link,
    /// The number in ids and receipts.
    pub engine: Cell64,
    pub record: Place,
    pub name_len: Cell32,
    pub name: [Cell64; 33],

    pub lock: Cell64,
    /// [`NEVER`] for none.
    pub ttl: Cell64,
    pub dedup_window: Cell64,
    pub max_messages: Cell64,
    pub max_bytes: Cell64,
    pub budget: Cell32,
    pub on_expiry: Cell32,
    pub on_failure: Cell32,

    pub session_turn: Cell32,
    pub lane: Lane,
    pub ring: ListHead,
    pub sessions: Cell32,
    pub sessions_len: Cell32,
    pub all: ListHead,
    pub late: Cell32,
    pub dead_list: ListHead,
    pub dedup: Cell32,
    pub dedup_len: Cell32,
    pub dedup_ends: ListHead,
    /// Those who wait, by `wait`.
    pub waiters: [ListHead; 3],
    /// Whether its sessions are fair groups.
    pub fair_groups: Cell32,

    pub ready: Cell64,
    pub delayed: Cell64,
    pub in_flight: Cell64,
    pub dead: Cell64,
    pub bytes: Cell64,
    pub dead_bytes: Cell64,
}
node!(Queue, 2);

/// An ordered group that has messages, dead letters, a holder or a state.
#[repr(C)]
pub(in crate::providers::file) struct Session {
    pub free: Cell32,
    pub queue: Cell32,
    pub hash: Cell64,
    pub id_len: Cell32,
    /// One of `ring`.
    pub in_ring: Cell32,
    pub id: [Cell64; 16],
    pub lane: Lane,
    /// In the hands of the holder of an accepted session.
    pub held: ListHead,
    pub in_flight: Cell32,
    pub blocked: Cell32,
    pub live: Cell32,
    pub dead: Cell32,
    /// The number of the holding, 0 for none; then who, until when, and for how long at a time.
    pub hold: Cell64,
    pub hold_until: Cell64,
    pub hold_lock: Cell64,
    pub holder: Cell32,
    pub _gap: Cell32,
    /// Bytes kept with it.
    pub state: Place,
    pub state_bytes: Cell32,
    pub _gap2: Cell32,
    /// Receives of the holder that wait.
    pub waiters: ListHead,
    pub by_id: Link,
    pub ring: Link,
    pub by_hold: Link,
    /// Among the sessions of their holder.
    pub of_holder: Link,
}
node!(Session, 3);

/// Where a session stands among those that have something to hand out and no holder.
pub(in crate::providers::file) mod ring {
    pub(in crate::providers::file) const OUT: u32 = 0;
    pub(in crate::providers::file) const IN: u32 = 1;
    /// It was the first, and another one was taken.
    pub(in crate::providers::file) const OVERTAKEN: u32 = 2;
}

/// A dedup id within its window.
#[repr(C)]
pub(in crate::providers::file) struct Dedup {
    pub free: Cell32,
    pub queue: Cell32,
    pub hash: [Cell64; 2],
    pub end: Cell64,
    /// The record that has the dedup id and the id of the message.
    pub record: Place,
    pub by_hash: Link,
    pub by_end: Link,
}
node!(Dedup, 4);

/// A store that is open: a process, or one of several copies in a process.
#[repr(C)]
pub(in crate::providers::file) struct Member {
    pub free: Cell32,
    /// Its number, and its byte in the file of locks.
    pub handle: Cell32,
    pub link: Link,
    /// Rung when one of its waiters is woken.
    pub bell: AtomicU32,
    pub waiting: Cell32,
    /// When its waiting thread looks at the clock again.
    pub alarm: Cell64,
    /// Messages in its hands that are not of a held session.
    pub in_hands: ListHead,
    pub sessions: ListHead,
    /// Its waiters that were woken and do not know yet.
    pub woken: ListHead,
    pub _gap: [Cell32; 2],
}
node!(Member, 5);

/// A verb that waits.
#[repr(C)]
pub(in crate::providers::file) struct Waiter {
    pub free: Cell32,
    /// One of `wait`.
    pub what: Cell32,
    pub queue: Cell32,
    pub session: Cell32,
    pub member: Cell32,
    /// One of `waiting`.
    pub state: Cell32,
    pub link: Link,
    pub key: Cell64,
    pub _gap: [Cell64; 3],
}
node!(Waiter, 6);

/// What is waited for; an index into the lists of a queue, but for the last two.
pub(in crate::providers::file) mod wait {
    pub(in crate::providers::file) const MESSAGE: u32 = 0;
    pub(in crate::providers::file) const SESSION: u32 = 1;
    pub(in crate::providers::file) const ROOM: u32 = 2;
    pub(in crate::providers::file) const HELD: u32 = 3;
    /// A message, but not of every group; in the list of those who wait for any.
    pub(in crate::providers::file) const SOME_MESSAGE: u32 = 4;
}

/// How far the wake of a waiter is.
pub(in crate::providers::file) mod waiting {
    /// It stands in the list of its queue or session.
    pub(in crate::providers::file) const WAITS: u32 = 0;
    /// It stands in the list of its member's woken.
    pub(in crate::providers::file) const WOKEN: u32 = 1;
    /// It was told.
    pub(in crate::providers::file) const TOLD: u32 = 2;
}

const _: () = assert!(size_of::<Header>() <= SEGMENTS_AT);
