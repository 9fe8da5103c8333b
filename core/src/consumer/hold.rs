//! Deliveries whose locks are kept: what the keeper, the consumer and the delivery itself know of
//! one another.
//!
//! Invariant: an entry ends once. It is the delivery's own settlement, its drop, or the consumer's
//! drain that moves it to `Ended`, whichever is first, and that one alone tells the consumer.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::sessions::Turn;
use super::shared::Shared;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind};
use crate::message::MessageId;
use crate::provider::Received;
use crate::queue::Queue;
use crate::settlement::{Receipt, Verb};

/// Why work on a delivery is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CancelCause {
    /// Its lock ended: somebody else may have the message by now.
    LockLost = 1,
    /// Its lock was kept for as long as the consumer may, and is let go.
    Stalled = 2,
    /// The consumer was drained, and the time for that is over: the message goes back.
    Drained = 3,
}

impl CancelCause {
    fn from_code(code: u8) -> Option<Self> {
        [Self::LockLost, Self::Stalled, Self::Drained]
            .into_iter()
            .find(|cause| *cause as u8 == code)
    }
}

/// What becomes of an entry.
const WAITING: u8 = 0;
const IN_HAND: u8 = 1;
const DRAINING: u8 = 2;
const ENDED: u8 = 3;

/// How the locks of a receive are kept.
pub(crate) struct Keep {
    /// For how long each renewal locks.
    pub(crate) lock: Duration,
    /// For how long they are kept.
    pub(crate) longest: Duration,
    /// Who is told of their ends.
    pub(crate) consumer: Option<Arc<Shared>>,
    /// The held session they are of, whose lock is theirs.
    pub(crate) turn: Option<Arc<Turn>>,
}

/// The deliveries of one receive.
pub(crate) struct Kept {
    pub(super) queue: Queue,
    /// For how long each renewal locks.
    pub(super) lock: Duration,
    /// When renewal ends.
    pub(super) give_up: Tick,
    /// Who is told of their ends; nobody for those of a bare receive.
    pub(super) consumer: Option<Arc<Shared>>,
    /// The held session they are of, whose lock is theirs.
    pub(super) turn: Option<Arc<Turn>>,
    pub(super) entries: SmallVec<[Entry; 1]>,
}

/// One delivery.
pub(super) struct Entry {
    pub(super) receipt: Receipt,
    id: MessageId,
    session: Option<Arc<str>>,
    /// When its lock ends, as far as is known.
    until: AtomicU64,
    stage: AtomicU8,
    /// The code of a [`CancelCause`], or zero.
    cause: AtomicU8,
    /// Made when somebody asks to be told.
    cancelled: OnceLock<CancellationToken>,
    /// Its place among those in hand.
    hand: AtomicU32,
}

impl Kept {
    /// Keeps the locks of what was received, from now on.
    pub(crate) fn start(queue: &Queue, keep: Keep, received: &[Box<Received>]) -> Arc<Self> {
        let entry = |received: &Received| Entry {
            receipt: received.receipt.clone(),
            id: received.id.clone(),
            session: received.message.properties().session.clone(),
            until: AtomicU64::new(queue.tick(received.locked_until).0),
            stage: AtomicU8::new(WAITING),
            cause: AtomicU8::new(0),
            cancelled: OnceLock::new(),
            hand: AtomicU32::new(u32::MAX),
        };
        let kept = Arc::new(Self {
            queue: queue.clone(),
            lock: keep.lock,
            give_up: queue.clock().recent() + keep.longest,
            consumer: keep.consumer,
            turn: keep.turn,
            entries: received.iter().map(|received| entry(received)).collect(),
        });
        queue.keeper().keep(&kept);
        kept
    }
}

impl Kept {
    /// Tells whoever works on a delivery to stop; the first cause counts. Answers whether this was
    /// it.
    pub(super) fn cancel(&self, index: usize, cause: CancelCause) -> bool {
        let entry = &self.entries[index];
        let first = entry.cancel(cause);
        if first
            && let Some(consumer) = &self.consumer
            && entry.is_in_hand()
        {
            consumer.options.on_cancel.tell(&entry.id, cause);
            if let Some(turn) = &self.turn
                && cause == CancelCause::Stalled
            {
                turn.let_go();
            }
        }
        first
    }
}

impl Entry {
    fn is_in_hand(&self) -> bool {
        matches!(self.stage.load(Acquire), IN_HAND | DRAINING)
    }

    pub(super) fn until(&self) -> Tick {
        Tick(self.until.load(Acquire))
    }

    pub(super) fn extended(&self, until: Tick) {
        self.until.store(until.0, Release);
    }

    /// Whether its lock is still to be kept.
    pub(super) fn is_kept(&self) -> bool {
        self.stage.load(Acquire) != ENDED && self.cause.load(Acquire) == 0
    }

    /// Tells whoever works on it to stop; the first cause counts. Answers whether this was it.
    fn cancel(&self, cause: CancelCause) -> bool {
        let first = self.cause.compare_exchange(0, cause as u8, SeqCst, SeqCst);
        if let Some(token) = self.cancelled.get() {
            token.cancel();
        }
        first.is_ok()
    }

    pub(super) fn hand(&self) -> usize {
        self.hand.load(Acquire) as usize
    }

    /// It is handed out, under this number.
    pub(super) fn handed_out(&self, hand: usize) {
        self.hand.store(hand as u32, Release);
        self.stage.store(IN_HAND, Release);
    }

    /// A drain takes it out of the hands of who works on it, unless it has ended.
    pub(super) fn start_drain(&self) -> bool {
        let stage = self
            .stage
            .compare_exchange(IN_HAND, DRAINING, AcqRel, Acquire);
        stage.is_ok()
    }

    /// It has ended. Answers whether it was being drained until now.
    pub(super) fn end_drain(&self) -> bool {
        self.stage.swap(ENDED, AcqRel) == DRAINING
    }
}

/// Which entry is meant.
#[derive(Clone)]
pub(crate) struct Held {
    pub(super) kept: Arc<Kept>,
    pub(super) index: u32,
}

impl Held {
    pub(super) fn entry(&self) -> &Entry {
        &self.kept.entries[self.index as usize]
    }

    pub(super) fn cancel(&self, cause: CancelCause) {
        self.kept.cancel(self.index as usize, cause);
    }

    /// What its consumer makes of a verb that is about to settle it.
    #[inline]
    pub(crate) fn soften(&self, verb: &mut Verb) {
        if let Some(consumer) = &self.kept.consumer {
            consumer.soften(self.entry().hand(), verb);
        }
    }

    /// The delivery was settled by this verb.
    pub(crate) fn settled(&self, verb: &Verb) {
        let stage = self.entry().stage.swap(ENDED, AcqRel);
        self.tell(stage, Some(verb));
    }

    /// A settlement of it failed. What can never be settled any more is in nobody's hands.
    pub(crate) fn refused(&self, error: &Error) {
        use ErrorKind::{InvalidReceipt, LockLost, SessionLockLost};
        if matches!(error.kind(), InvalidReceipt | LockLost | SessionLockLost) {
            self.left();
        }
    }

    /// Nobody works on it any more, and it was not settled. What a drain works on is the drain's to
    /// end.
    fn left(&self) {
        let end = |stage| (stage != DRAINING && stage != ENDED).then_some(ENDED);
        if let Ok(stage) = self.entry().stage.fetch_update(AcqRel, Acquire, end) {
            self.tell(stage, None);
        }
    }

    fn tell(&self, stage: u8, verb: Option<&Verb>) {
        if let Some(consumer) = &self.kept.consumer
            && (stage == IN_HAND || stage == DRAINING)
        {
            let entry = self.entry();
            consumer.ended(entry.hand(), entry.session.as_ref(), verb);
        }
    }
}

impl Held {
    /// Whether it is of this held session.
    pub(super) fn is_of(&self, turn: &Arc<Turn>) -> bool {
        let of = self.kept.turn.as_ref();
        of.is_some_and(|of| Arc::ptr_eq(of, turn))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kept, &other.kept) && self.index == other.index
    }
}
impl Eq for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("index", &self.index).finish()
    }
}

/// A delivery's hold on its entry: while it lives, and the delivery is not settled, its lock is
/// kept.
pub(crate) struct Hold(Held);

impl Hold {
    pub(crate) fn new(kept: Arc<Kept>, index: u32) -> Self {
        Self(Held { kept, index })
    }

    /// Whether the delivery is one of these.
    pub(super) fn is_of(&self, kept: &Arc<Kept>) -> bool {
        Arc::ptr_eq(&self.0.kept, kept)
    }

    pub(crate) fn held(&self) -> &Held {
        &self.0
    }

    /// When the lock ends, as far as is known.
    pub(crate) fn until(&self) -> Tick {
        match &self.0.kept.turn {
            Some(turn) => turn.hold().until(),
            None => self.0.entry().until(),
        }
    }

    /// The lock was extended by hand.
    pub(crate) fn extended(&self, until: Tick) {
        match &self.0.kept.turn {
            Some(turn) => turn.hold().extended(until),
            None => self.0.entry().extended(until),
        }
    }

    pub(crate) fn cause(&self) -> Option<CancelCause> {
        CancelCause::from_code(self.0.entry().cause.load(SeqCst))
    }

    pub(crate) async fn cancelled(&self) -> CancelCause {
        // Whoever cancels writes the cause first and looks for the token then.
        let cancelled = &self.0.entry().cancelled;
        let token = cancelled.get_or_init(CancellationToken::new);
        loop {
            if let Some(cause) = self.cause() {
                return cause;
            }
            token.cancelled().await;
        }
    }
}

impl Drop for Hold {
    /// The delivery was dropped: unless it was settled, nobody keeps its lock any more.
    fn drop(&mut self) {
        self.0.left();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.queue.keeper().forgotten();
    }
}
