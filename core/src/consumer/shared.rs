//! What a consumer's parts share: the pump puts messages in, those who ask take them out.
//!
//! Invariant: while it is open, somebody who asks waits only if as many deliveries are in hand as may
//! be, or nothing can be taken; and the pump waits only if nothing more is wanted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::batches::{Sizes, Timed};
use super::buffer::Buffer;
use super::gate::{Gate, Pass, Standing};
use super::groups::Without;
use super::hold::{Held, Keep, Kept};
use super::options::ConsumerOptions;
use super::scale::Load;
use super::sessions::{Pool, Turn};
use crate::capability::Capability;
use crate::clock::Tick;
use crate::config::OnFailure;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::queue::{Calling, Queue};
use crate::reply::Reply;
use crate::resilience::Breaker;
use crate::settlement::Verb;
use crate::telemetry::BreakerMetrics;

pub(crate) struct Shared {
    pub(super) queue: Queue,
    pub(super) options: ConsumerOptions,
    /// Whether attempts are charged when work starts; otherwise the provider counts receives.
    pub(super) begins: bool,
    /// Whether a look for messages costs no more than a call.
    pub(super) local: bool,
    /// Whether what failed of a session must not be overtaken.
    ordered: bool,
    /// Whether groups have a maximum of deliveries in hand.
    pub(super) limited: bool,
    /// Held from the taking of messages out of the queue until they are in the buffer or in hands, so
    /// that who asks and the pump keep the order between them. Before `state`.
    pub(super) receiving: Mutex<()>,
    state: Mutex<State>,
    /// What works through sessions, if that is where messages come from.
    pub(super) pool: Option<Arc<Pool>>,
    /// Something can be taken, or the consumer has stopped.
    pub(super) work: Notify,
    /// Held while a batch waits for more.
    pub(super) gathering: tokio::sync::Mutex<()>,
    /// Of a consumer whose batches adapt their sizes.
    pub(super) sizes: Option<Arc<Sizes>>,
    /// Something more is wanted.
    pub(super) room: Notify,
    /// The last delivery in hand has ended.
    pub(super) idle: Notify,
    pub(super) stop: CancellationToken,
    /// What the last receive failed with, until one succeeds.
    pub(super) failure: watch::Sender<Option<Error>>,
    /// How many receives of the pump have ended.
    pub(super) looks: watch::Sender<u64>,
    /// What holds it back, if anything does.
    pub(super) standing: watch::Sender<Standing>,
    /// What is counted of its breaker, if it has one.
    pub(super) breaker: Option<BreakerMetrics>,
    /// Cancelled once the pump has ended.
    pub(super) pumped: CancellationToken,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) buffer: Buffer,
    pub(super) gate: Gate,
    /// Deliveries that were handed out and have not ended.
    hands: Slab<Hand>,
    /// Hands that are kept free for what is being received into them.
    pub(super) reserved: usize,
    /// How many those who wait in `next` want.
    pub(super) asking: usize,
    /// How many may be in hand.
    pub(super) limit: usize,
    /// What is counted where that changes.
    pub(super) load: Option<Load>,
    pub(super) stopped: bool,
    /// Deliveries that ended since the consumer stopped: settled, or left to their locks.
    pub(super) settled: u64,
    pub(super) left: u64,
    /// When a receive last succeeded.
    pub(super) last_receive: Option<Tick>,
}

/// A delivery in hand.
struct Hand {
    held: Held,
    /// Its share in a batch whose time is taken.
    _batch: Option<Arc<Timed>>,
}

impl State {
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn in_hand(&self) -> usize {
        self.hands.len() + self.reserved
    }

    pub(super) fn has_free_hand(&self) -> bool {
        self.in_hand() < self.limit && self.gate.pass() != Pass::Nothing
    }

    /// How many may be in hand, as far as the gate lets more pass.
    fn most(&self) -> usize {
        match self.gate.pass() {
            Pass::All => self.limit,
            Pass::Probe => 1,
            Pass::Nothing => 0,
        }
    }

    pub(super) fn free_hands(&self) -> usize {
        self.limit.saturating_sub(self.in_hand()).min(self.most())
    }

    /// How many of those asked for, and of so many more, there are hands for.
    pub(super) fn asked(&self, more: usize) -> usize {
        let free = self.limit.saturating_sub(self.in_hand());
        (self.asking + more).min(free)
    }

    pub(super) fn hand_out(&mut self, delivery: &Delivery, probe: bool, batch: Option<Arc<Timed>>) {
        if let Some(hold) = delivery.hold() {
            let held = hold.held().clone();
            let hand = self.hands.insert(Hand {
                held,
                _batch: batch,
            });
            hold.held().entry().handed_out(hand);
            if probe {
                self.gate.probe(hand);
            }
            if let Some(turn) = &hold.held().kept.turn {
                turn.handed_out();
            }
            let in_hand = self.in_hand();
            if let Some(load) = &mut self.load {
                load.in_hand(in_hand);
            }
        }
    }

    /// Whether there is anything for a batch. `None` once the consumer has stopped.
    pub(super) fn has_batch(&self) -> Option<bool> {
        (!self.stopped).then(|| self.buffer.has_ready() && self.has_free_hand())
    }

    /// Whether a batch of these limits gains nothing by waiting.
    pub(super) fn is_whole(&self, max: usize, bytes: u64) -> bool {
        let ready = self.buffer.ready();
        let blocked = self.buffer.len() > ready;
        let enough = ready.min(self.free_hands()) >= max.min(self.most());
        self.stopped || ready == 0 || blocked || enough || self.buffer.ready_bytes() >= bytes
    }

    /// Those of a held session that are in hand.
    pub(super) fn hands_of(&self, turn: &Arc<Turn>) -> Vec<Held> {
        let hands = self.hands.iter().map(|(_, hand)| &hand.held);
        hands.filter(|held| held.is_of(turn)).cloned().collect()
    }
}

impl Shared {
    pub(super) fn new(
        queue: Queue,
        options: ConsumerOptions,
        stop: CancellationToken,
        pool: Option<Arc<Pool>>,
    ) -> Self {
        let most = options.most_of_group();
        let fair = queue.has(Capability::FairGroups);
        let state = State {
            buffer: if fair {
                Buffer::of_groups(most)
            } else {
                Buffer::default()
            },
            gate: Gate::new(options.breaker),
            limit: options.min_concurrency.unwrap_or(options.hands()) as usize,
            load: options.min_concurrency.map(|_| Load::default()),
            ..State::default()
        };
        let batches = options.batches.as_ref();
        Self {
            begins: queue.has(Capability::Begin),
            // Sessions have to be accepted first.
            local: queue.provider().is_local() && pool.is_none(),
            ordered: !fair && queue.definition().on_failure != OnFailure::Skip,
            limited: most.is_some(),
            pool,
            receiving: Mutex::default(),
            sizes: batches.and_then(|batches| Sizes::new(batches, &queue)),
            standing: watch::Sender::default(),
            breaker: (options.breaker != Breaker::None).then(|| queue.metrics().breaker("consume")),
            queue,
            options,
            state: state.into(),
            work: Notify::new(),
            gathering: tokio::sync::Mutex::default(),
            room: Notify::new(),
            idle: Notify::new(),
            stop,
            failure: watch::Sender::new(None),
            looks: watch::Sender::new(0),
            pumped: CancellationToken::new(),
        }
    }

    /// The right to take messages out of the queue.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.receiving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives up to `want` messages, but none of these groups, their attempts not charged where they
    /// are charged later.
    pub(super) fn receive(
        self: &Arc<Self>,
        calling: Calling,
        want: usize,
        wait: Duration,
        without: Without,
    ) -> Reply<Vec<Delivery>> {
        let mut request = self.options.receive(want, wait, !self.begins);
        request.without = without;
        let keep = Some(self.keep(None));
        self.queue.start_called(calling, request, keep)
    }

    /// [`Shared::receive`] from a held session.
    pub(super) fn receive_of(
        self: &Arc<Self>,
        turn: &Arc<Turn>,
        calling: Calling,
        want: usize,
        wait: Duration,
    ) -> Reply<Vec<Delivery>> {
        let mut request = self.options.receive(want, wait, !self.begins);
        request.session = Some(Box::new(turn.hold().lock().clone()));
        let keep = self.keep(Some(turn.clone()));
        self.queue.start_called(calling, request, Some(keep))
    }

    pub(super) fn keep(self: &Arc<Self>, turn: Option<Arc<Turn>>) -> Keep {
        Keep {
            turn,
            lock: self.options.lock.unwrap_or(self.queue.definition().lock),
            longest: self.options.max_lock_renewal,
            consumer: Some(self.clone()),
        }
    }

    /// How many messages are to be received now.
    pub(super) fn want(&self) -> usize {
        self.want_and(0)
    }

    /// As `want`, with somebody who is about to ask for more.
    pub(super) fn want_and(&self, asking: usize) -> usize {
        let state = self.state();
        if self.limited {
            return self.want_of_groups(&state, asking);
        }
        if state.stopped || state.buffer.bytes() >= self.options.prefetch_bytes {
            return 0;
        }
        let most = match state.gate.pass() {
            Pass::All => usize::MAX,
            Pass::Probe => 1,
            Pass::Nothing => return 0,
        };
        let wanted = state.asked(asking) + self.prefetched(&state);
        wanted.min(most).saturating_sub(state.buffer.len())
    }

    /// How many messages are to be fetched ahead. None are where a look costs no more than a call and
    /// says whether this is the end: one on its way from the pump would not be seen.
    pub(super) fn prefetched(&self, state: &State) -> usize {
        if self.fetches_on_demand() {
            0
        } else {
            let ahead = self.options.prefetch;
            ahead.map_or(state.limit, |ahead| ahead as usize)
        }
    }

    /// Takes in what the pump received. Answers what came too late, and goes back.
    pub(super) fn take_in(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let now = self.queue.clock().now();
        self.put(deliveries, now, |state| self.is_unwanted(state))
    }

    /// Whether nothing may wait here: it is for those who ask alone, and nobody does.
    pub(super) fn is_unwanted(&self, state: &State) -> bool {
        state.asking == 0 && self.options.prefetch == Some(0)
    }

    /// Puts what was received into the buffer, unless it must not be any more.
    pub(super) fn put(
        &self,
        deliveries: Vec<Delivery>,
        now: Tick,
        stale: impl FnOnce(&State) -> bool,
    ) -> Vec<Delivery> {
        let mut state = self.state();
        state.last_receive = Some(now);
        if state.stopped || state.gate.pass() == Pass::Nothing || stale(&state) {
            return deliveries;
        }
        for delivery in deliveries {
            state.buffer.push(delivery);
        }
        let waking = state.asking.min(state.buffer.len());
        drop(state);
        for _ in 0..waking {
            self.work.notify_one();
        }
        Vec::new()
    }

    /// A delivery that was in hand was settled by this verb, or dropped without one.
    pub(super) fn ended(
        self: &Arc<Self>,
        hand: usize,
        session: Option<&Arc<str>>,
        verb: Option<&Verb>,
    ) {
        let go_on = !self.ordered || matches!(verb, Some(Verb::Ack | Verb::DeadLetter { .. }));
        let (mut given_up, mut open) = (VecDeque::new(), false);
        let mut state = self.state();
        if let Some(load) = &mut state.load
            && matches!(verb, Some(Verb::Ack | Verb::DeadLetter { .. }))
        {
            load.done();
        }
        let kept = state.hands.try_remove(hand);
        let mut moved = false;
        if let Some(session) = session {
            (given_up, open) = state.buffer.ended(session, go_on);
        }
        if let Some(turn) = kept.as_ref().and_then(|hand| hand.held.kept.turn.as_ref()) {
            turn.ended(verb, go_on);
        }
        if state.stopped {
            match verb {
                Some(_) => state.settled += 1,
                None => state.left += 1,
            }
            if state.in_hand() == 0 {
                self.idle.notify_waiters();
            }
        } else {
            moved = state.gate.ended(hand, verb, || self.queue.clock().now());
        }
        let more = state.asking > 0 && state.buffer.has_ready();
        let wanted = state.asking > 0 && (state.buffer.len() == 0 || self.limited);
        // What is being received was asked for without this group.
        let open = open && state.asking > 0;
        if moved {
            self.regulate(state);
        } else {
            drop(state);
        }
        drop(kept);
        if more {
            self.work.notify_one();
        }
        if wanted && !more || open {
            self.make_room();
        }
        if !given_up.is_empty() {
            self.make_room_in_bytes();
            self.give_back(given_up.into());
        }
    }

    /// Gives unbegun messages back, unblamed. Answers how many were.
    pub(super) fn release(&self, deliveries: &[Delivery]) -> Reply<usize> {
        if deliveries.is_empty() {
            return Reply::now(Ok(0));
        }
        let release = |d: &Delivery| d.settlement(Verb::Release { delay: None });
        let settlements = deliveries.iter().map(release).collect();
        let reply = self.queue.start_settle(settlements);
        reply.map(|results| Ok(results.iter().flatten().count()))
    }

    /// [`Shared::release`] in the background.
    pub(super) fn give_back(&self, deliveries: Vec<Delivery>) {
        let reply = self.release(&deliveries);
        self.queue.detach(reply);
    }

    /// Gives back those of one receive that nobody has begun.
    pub(super) fn give_back_of(&self, kept: &Arc<Kept>) {
        let unbegun = self.state().buffer.remove_of(kept);
        self.give_back(unbegun);
        self.make_room();
        self.make_room_in_bytes();
    }

    /// Lets what brings messages look whether more are wanted.
    pub(super) fn make_room(&self) {
        if self.pool.is_none() {
            self.room.notify_one();
        } else if self.fetches_on_demand() {
            self.room.notify_waiters();
        }
    }

    /// Lets all sessions look whether there is room in bytes.
    pub(super) fn make_room_in_bytes(&self) {
        if self.pool.is_some() {
            self.room.notify_waiters();
        }
    }

    /// Whether nothing is fetched before somebody asks.
    pub(super) fn fetches_on_demand(&self) -> bool {
        self.options.prefetch == Some(0) || (self.local && self.options.idle.is_some())
    }

    /// Ends the intake. Answers what was prefetched, the first time.
    pub(super) fn close(&self) -> Vec<Delivery> {
        let mut state = self.state();
        state.stopped = true;
        let prefetched = state.buffer.drain();
        drop(state);
        self.stop.cancel();
        self.work.notify_waiters();
        prefetched
    }

    /// The deliveries in hand, now out of the hands of who works on them.
    pub(super) fn take_from_hands(&self) -> Vec<Held> {
        let hands = self.state();
        let holds = hands.hands.iter().map(|(_, hand)| &hand.held);
        holds
            .filter(|held| held.entry().start_drain())
            .cloned()
            .collect()
    }

    /// A delivery that a drain took out of its hands has ended.
    pub(super) fn drained(&self, held: &Held) {
        let mut state = self.state();
        let taken = state.hands.try_remove(held.entry().hand());
        if let Some(turn) = &held.kept.turn {
            state.buffer.ended(turn.id(), true);
            turn.ended(Some(&Verb::Release { delay: None }), true);
        }
        drop(state);
        drop(taken);
    }
}
