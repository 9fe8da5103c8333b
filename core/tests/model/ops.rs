//! What may happen to a queue, as data: random, printable, shrinkable. Numbers that pick something
//! that exists (a delivery, a session in hand, a deadline) count modulo what there is.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use queue_runtime_core::{OnExpiry, OnFailure};

/// The queue the operations happen to.
#[derive(Clone, Debug)]
pub struct Setup {
    pub budget: u32,
    pub on_failure: OnFailure,
    pub on_expiry: OnExpiry,
    pub lock: Duration,
    pub dedup_window: Duration,
    /// Sessions are fair groups, which nobody accepts.
    pub fair: bool,
}

#[derive(Clone, Debug)]
pub struct Send {
    pub session: Option<u8>,
    pub delay: Option<Duration>,
    pub ttl: Option<Duration>,
    pub dedup: Option<u8>,
    /// Whether the sender gives the message an id of its own.
    pub id: bool,
}

#[derive(Clone, Debug)]
pub enum Settle {
    Ack,
    Nack(Duration),
    Release(Option<Duration>),
    DeadLetter,
}

#[derive(Clone, Debug)]
pub enum Select {
    All,
    Reason(&'static str),
    Session(u8),
    Id(usize),
}

#[derive(Clone, Debug)]
pub enum Op {
    Send(Vec<Send>),
    Receive {
        max: u32,
        lock: Option<Duration>,
    },
    /// Deliveries, settled in one call; any that was ever made, so that stale ones are among them.
    Settle(Vec<(usize, Settle)>),
    /// The last delivery, settled through the delivery itself.
    SettleLast(Settle),
    Extend(usize, Duration),
    /// The consumer goes away with all its deliveries.
    Crash,
    Advance(Duration),
    /// To one of the coming deadlines: a millisecond before it, to it, or a millisecond past it.
    AdvanceToDeadline(usize, i8),
    AcceptId(u8, Option<Duration>),
    /// Whichever, and rather one of these.
    AcceptNext(Vec<u8>),
    SessionReceive(usize, u32),
    Renew(usize, Option<Duration>),
    State(usize, Option<u8>),
    CloseSession(usize),
    DropSession(usize),
    Redrive(Select, Option<u64>),
    Purge(Select),
    /// Compares everything that can be looked at.
    Look,
}

pub const SESSIONS: u8 = 3;

fn setup() -> impl Strategy<Value = Setup> {
    (
        prop_oneof![Just(1u32), Just(2), Just(3), Just(5)],
        prop_oneof![
            Just(OnFailure::Block),
            Just(OnFailure::Skip),
            Just(OnFailure::Park)
        ],
        prop_oneof![Just(OnExpiry::Drop), Just(OnExpiry::DeadLetter)],
        prop_oneof![Just(ms(20)), Just(ms(100)), Just(ms(30_000))],
        prop_oneof![Just(ms(0)), Just(ms(50)), Just(ms(300_000))],
        prop_oneof![3 => Just(false), 1 => Just(true)],
    )
        .prop_map(
            |(budget, on_failure, on_expiry, lock, dedup_window, fair)| Setup {
                budget,
                on_failure: if fair { OnFailure::Block } else { on_failure },
                on_expiry,
                lock,
                dedup_window,
                fair,
            },
        )
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A coarse grid, so that deadlines meet, and now and then something far off. The engine tells
/// times apart by milliseconds.
fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (1..=15u64).prop_map(|n| ms(10 * n)),
        1 => Just(ms(1)),
        1 => (1..=100u64).prop_map(|n| ms(997 * n)),
        1 => (1..=400u64).prop_map(|n| Duration::from_secs(3_607 * n)),
    ]
}

fn delay() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), span()]
}

fn lock() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..=15u64).prop_map(|n| ms(10 * n)),
        Just(ms(1)),
        Just(Duration::from_secs(12 * 60 * 60))
    ]
}

fn session() -> impl Strategy<Value = u8> {
    0..SESSIONS
}

fn send() -> impl Strategy<Value = Send> {
    (
        prop_oneof![1 => Just(None), 2 => session().prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => delay().prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => span().prop_map(Some)],
        prop_oneof![6 => Just(None), 1 => (0..2u8).prop_map(Some)],
        any::<bool>(),
    )
        .prop_map(|(session, delay, ttl, dedup, id)| Send {
            session,
            delay,
            ttl,
            dedup,
            id,
        })
}

fn settle() -> impl Strategy<Value = Settle> {
    prop_oneof![
        4 => Just(Settle::Ack),
        2 => delay().prop_map(Settle::Nack),
        2 => option::of(delay()).prop_map(Settle::Release),
        1 => Just(Settle::DeadLetter),
    ]
}

fn select() -> impl Strategy<Value = Select> {
    prop_oneof![
        3 => Just(Select::All),
        1 => prop_oneof![Just("max_attempts"), Just("crashed"), Just("expired"), Just("bad")]
            .prop_map(Select::Reason),
        1 => session().prop_map(Select::Session),
        1 => any::<usize>().prop_map(Select::Id),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let which = any::<usize>;
    prop_oneof![
        14 => vec(send(), 1..4).prop_map(Op::Send),
        10 => (1..=10u32, option::weighted(0.2, lock()))
            .prop_map(|(max, lock)| Op::Receive { max, lock }),
        10 => vec((which(), settle()), 1..4).prop_map(Op::Settle),
        10 => settle().prop_map(Op::SettleLast),
        3 => (which(), lock()).prop_map(|(which, lock)| Op::Extend(which, lock)),
        2 => Just(Op::Crash),
        4 => span().prop_map(Op::Advance),
        8 => (which(), -1..=1i8).prop_map(|(which, by)| Op::AdvanceToDeadline(which, by)),
        4 => (session(), option::weighted(0.3, lock()))
            .prop_map(|(session, lock)| Op::AcceptId(session, lock)),
        4 => vec(session(), 0..3).prop_map(Op::AcceptNext),
        8 => (which(), 1..=5u32).prop_map(|(which, max)| Op::SessionReceive(which, max)),
        2 => (which(), option::of(lock())).prop_map(|(which, lock)| Op::Renew(which, lock)),
        1 => (which(), option::of(any::<u8>())).prop_map(|(which, state)| Op::State(which, state)),
        2 => which().prop_map(Op::CloseSession),
        1 => which().prop_map(Op::DropSession),
        3 => (select(), option::weighted(0.3, 0..3u64))
            .prop_map(|(select, max)| Op::Redrive(select, max)),
        1 => select().prop_map(Op::Purge),
        4 => Just(Op::Look),
    ]
}

/// A queue and what happens to it.
pub fn sequences() -> impl Strategy<Value = (Setup, Vec<Op>)> {
    (setup(), vec(op(), 1..80)).prop_map(|(setup, mut ops)| {
        // A message that dies of age before it appears has never had a place in its session; to
        // which place parking brings it back is promised nowhere.
        if setup.on_failure == OnFailure::Park && setup.on_expiry == OnExpiry::DeadLetter {
            let sends = ops.iter_mut().filter_map(|op| match op {
                Op::Send(batch) => Some(batch),
                _ => None,
            });
            let delayed = sends.flatten().filter(|send| send.delay.is_some());
            delayed.for_each(|send| send.ttl = None);
        }
        (setup, ops)
    })
}
