//! What a consumer's parts share: the pump puts messages in, those who ask take them out.
//!
//! Invariant: while it is open, somebody who asks waits only if `concurrency` deliveries are in
//! hand or nothing can be taken; and the pump waits only if nothing more is wanted.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::batches::{Sizes, Timed};
use super::buffer::Buffer;
use super::gate::{Gate, Pass, Standing};
use super::hold::{Held, Keep, Kept};
use super::options::ConsumerOptions;
use super::sessions::{Pool, Turn};
use crate::capability::Capability;
use crate::clock::Tick;
use crate::config::OnFailure;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::queue::Queue;
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
    local: bool,
    /// Held from the taking of messages out of the queue until they are in the buffer or in hands, so
    /// that who asks and the pump keep the order between them. Before `state`.
    receiving: Mutex<()>,
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
    reserved: usize,
    /// How many those who wait in `next` want.
    pub(super) asking: usize,
    /// How many may be in hand.
    limit: usize,
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

    fn has_free_hand(&self) -> bool {
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

    fn free_hands(&self) -> usize {
        self.limit.saturating_sub(self.in_hand()).min(self.most())
    }

    fn hand_out(&mut self, delivery: &Delivery, probe: bool, batch: Option<Arc<Timed>>) {
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
        let state = State {
            gate: Gate::new(options.breaker),
            limit: options.hands() as usize,
            ..State::default()
        };
        let batches = options.batches.as_ref();
        Self {
            begins: queue.has(Capability::Begin),
            // Sessions have to be accepted first.
            local: queue.provider().is_local() && pool.is_none(),
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

    /// Receives up to `want` messages, their attempts not charged where they are charged later.
    pub(super) fn receive(self: &Arc<Self>, want: usize, wait: Duration) -> Reply<Vec<Delivery>> {
        let request = self.options.receive(want, wait, !self.begins);
        self.queue.start_request(request, Some(self.keep(None)))
    }

    /// [`Shared::receive`] from a held session.
    pub(super) fn receive_of(
        self: &Arc<Self>,
        turn: &Arc<Turn>,
        want: usize,
        wait: Duration,
    ) -> Reply<Vec<Delivery>> {
        let mut request = self.options.receive(want, wait, !self.begins);
        request.session = Some(Box::new(turn.hold().lock().clone()));
        let keep = self.keep(Some(turn.clone()));
        self.queue.start_request(request, Some(keep))
    }

    fn keep(self: &Arc<Self>, turn: Option<Arc<Turn>>) -> Keep {
        Keep {
            turn,
            lock: self.options.lock.unwrap_or(self.queue.definition().lock),
            longest: self.options.max_lock_renewal,
            consumer: Some(self.clone()),
        }
    }

    /// Receives a message that is there right into the hands of who asks: where that is only a call
    /// it spares the buffer, the pump and its threads.
    fn take_begun(self: &Arc<Self>) -> Option<Delivery> {
        let turn = self.turn();
        let mut state = self.state();
        // What the pump has brought meanwhile was there before.
        if state.stopped || !state.has_free_hand() || state.buffer.len() > 0 {
            return None;
        }
        state.reserved += 1;
        let probe = state.gate.reserve();
        drop(state);
        let request = self.options.receive(1, Duration::ZERO, true);
        let reply = self
            .queue
            .start_request_one(&request, Some(self.keep(None)));
        let received = match reply.try_now() {
            Ok(Ok(received)) => received,
            _ => None,
        };
        let mut state = self.state();
        state.reserved -= 1;
        let late = state.stopped || !state.gate.lets(probe);
        match &received {
            Some(delivery) if !late => {
                state.hand_out(delivery, probe, None);
                state.buffer.handed_out(delivery);
            }
            _ if probe => state.gate.spare(),
            _ => {}
        }
        if state.stopped && state.in_hand() == 0 {
            self.idle.notify_waiters();
        }
        drop(state);
        drop(turn);
        if late {
            self.give_back(received.into_iter().collect());
            return None;
        }
        received
    }

    /// Receives what is there, up to `max` and what may be fetched ahead, on the thread of who asks,
    /// where that is only a call.
    pub(super) fn look(self: &Arc<Self>, max: usize) {
        if !self.local {
            return;
        }
        // What somebody else takes out meanwhile is given to those who ask.
        let Ok(turn) = self.receiving.try_lock() else {
            return;
        };
        let want = self.want_and(max);
        if want > 0
            && let Ok(Ok(deliveries)) = self.receive(want, Duration::ZERO).try_now()
            && !deliveries.is_empty()
        {
            let late = self.put(deliveries, self.queue.clock().recent(), |_| false);
            drop(turn);
            self.give_back(late);
        }
    }

    /// How many messages are to be received now.
    pub(super) fn want(&self) -> usize {
        self.want_and(0)
    }

    /// As `want`, with somebody who is about to ask for more.
    fn want_and(&self, asking: usize) -> usize {
        let state = self.state();
        if state.stopped || state.buffer.bytes() >= self.options.prefetch_bytes {
            return 0;
        }
        let most = match state.gate.pass() {
            Pass::All => usize::MAX,
            Pass::Probe => 1,
            Pass::Nothing => return 0,
        };
        let wanted = (state.asking + asking).min(state.limit.saturating_sub(state.in_hand()));
        let wanted = (wanted + self.prefetched()).min(most);
        wanted.saturating_sub(state.buffer.len())
    }

    /// How many messages are to be fetched ahead. None are where a look costs no more than a call and
    /// says whether this is the end: one on its way from the pump would not be seen.
    fn prefetched(&self) -> usize {
        if self.local && self.options.idle.is_some() {
            0
        } else {
            self.options.prefetched() as usize
        }
    }

    /// Takes in what the pump received. Answers what came too late, and goes back.
    pub(super) fn take_in(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let now = self.queue.clock().now();
        self.put(deliveries, now, |state| self.is_unwanted(state))
    }

    /// Whether nothing may wait here: it is for those who ask alone, and nobody does.
    pub(super) fn is_unwanted(&self, state: &State) -> bool {
        state.asking == 0 && self.options.prefetched() == 0
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

    /// The next delivery, its work begun; `None` once the consumer has stopped.
    pub(super) async fn next(self: &Arc<Self>) -> Option<Delivery> {
        // Handlers that never wait must not keep their thread to themselves.
        tokio::task::coop::consume_budget().await;
        loop {
            let mut delivery = self.take()?;
            if delivery.is_none() && self.local {
                delivery = self.take_begun();
                if delivery.is_some() {
                    return delivery;
                }
            }
            let delivery = match delivery {
                Some(delivery) => delivery,
                None => self.ask(1).await?,
            };
            if !self.begins {
                return Some(delivery);
            }
            match self.queue.begin_one(delivery.receipt()).try_now() {
                Ok(Ok(())) => return Some(delivery),
                Ok(Err(error)) => gone(&error),
                Err(pending) => {
                    let begun = pending.map(|()| Ok(vec![Ok(())]));
                    if let Some(delivery) = self.begin(vec![delivery], begun).await.pop() {
                        return Some(delivery);
                    }
                }
            }
        }
    }

    /// As `next`, with what else can be taken now, up to `max`, or as the options of batches say.
    pub(super) async fn next_batch(self: &Arc<Self>, max: usize) -> Option<Vec<Delivery>> {
        tokio::task::coop::consume_budget().await;
        loop {
            let mut batch = match &self.options.batches {
                Some(options) => self.gather(max, options).await?,
                None => self.take_what_is_there(max).await?,
            };
            if self.begins {
                let receipts = batch.iter().map(|d| d.receipt().clone()).collect();
                let begun = self.queue.start_begin(receipts);
                batch = self.begin(batch, begun).await;
            }
            if batch.is_empty() {
                continue;
            }
            if self.options.batches.is_some() {
                self.queue.metrics().handed_over(batch.len());
            }
            return Some(batch);
        }
    }

    async fn take_what_is_there(self: &Arc<Self>, max: usize) -> Option<Vec<Delivery>> {
        let mut delivery = self.take()?;
        if delivery.is_none() && self.local {
            self.look(max);
            delivery = self.take()?;
        }
        let mut batch = match delivery {
            Some(delivery) => vec![delivery],
            None => vec![self.ask(max).await?],
        };
        while batch.len() < max
            && let Some(Some(delivery)) = self.take()
        {
            batch.push(delivery);
        }
        Some(batch)
    }

    /// Takes a batch of up to `max` messages and `bytes` bytes, one message at least, if there is one
    /// and a hand is free, for somebody who asked for `asked`. `None` once the consumer has stopped.
    pub(super) fn take_batch(
        &self,
        max: usize,
        bytes: u64,
        asked: &mut usize,
    ) -> Option<Vec<Delivery>> {
        let mut state = self.state();
        if state.stopped {
            return None;
        }
        let max = max.min(state.free_hands());
        let full = state.buffer.bytes() >= self.options.prefetch_bytes;
        let mut left = bytes;
        let mut batch = Vec::with_capacity(max.min(state.buffer.ready()));
        while batch.len() < max
            && let Some(next) = state.buffer.next_bytes()
            && (next <= left || batch.is_empty())
            && let Some(delivery) = state.buffer.take()
        {
            left = left.saturating_sub(next);
            batch.push(delivery);
        }
        if batch.is_empty() {
            return Some(batch);
        }
        state.asking -= std::mem::take(asked);
        let timed = self.sizes.as_ref().map(|sizes| sizes.start(batch.len()));
        for delivery in &batch {
            let probe = state.gate.reserve();
            state.hand_out(delivery, probe, timed.clone());
        }
        let more = state.asking > 0 && state.buffer.has_ready();
        drop(state);
        if full {
            self.make_room_in_bytes();
        }
        if more {
            self.work.notify_one();
        }
        Some(batch)
    }

    /// Charges the attempts of what was taken, as work starts. What was lost meanwhile is dropped
    /// here; when nobody waits any more, all goes back.
    async fn begin(&self, batch: Vec<Delivery>, begun: Reply<Vec<Result<()>>>) -> Vec<Delivery> {
        let mut taken = Taken(self, batch);
        let results = begun.await.unwrap_or_else(|error| {
            gone(&error);
            Vec::new()
        });
        let begun = std::mem::take(&mut taken.1).into_iter().zip(results);
        begun
            .filter_map(|(delivery, result)| result.inspect_err(gone).ok().map(|()| delivery))
            .collect()
    }

    /// Waits for a delivery, as long as the options say; up to `max` are wanted.
    async fn ask(&self, max: usize) -> Option<Delivery> {
        self.unless_idle(self.wait_for(max)).await
    }

    /// Waits for work to come, as long as the options say.
    pub(super) async fn unless_idle<T>(&self, work: impl Future<Output = Option<T>>) -> Option<T> {
        let Some(idle) = self.options.idle else {
            return work.await;
        };
        let mut looks = self.looks.subscribe();
        let given_up = async {
            if let Some(pool) = &self.pool {
                // What is in hand holds up all that is behind it.
                if self.state().in_hand() > 0 {
                    return self.idle_for(idle).await;
                }
                let _ = pool.dry.subscribe().wait_for(|dry| *dry).await;
            } else if !self.local {
                // Across a network nobody knows what is there before a receive has ended.
                let _ = looks.changed().await;
            }
            self.idle_for(idle).await;
        };
        tokio::select! {
            biased;
            came = work => came,
            () = given_up => None,
        }
    }

    /// Waits for a delivery; up to `max` are wanted.
    async fn wait_for(&self, max: usize) -> Option<Delivery> {
        let mut asking = Asking::new(self, max);
        loop {
            let mut woken = pin!(self.work.notified());
            woken.as_mut().enable();
            // Something may have come before the waiting began.
            if let Some(delivery) = self.take_for(&mut asking.wanted)? {
                return Some(delivery);
            }
            self.make_room();
            woken.await;
        }
    }

    /// Takes a message into somebody's hands, if there is one and a hand is free. `None` once the
    /// consumer has stopped.
    fn take(&self) -> Option<Option<Delivery>> {
        self.take_for(&mut 0)
    }

    /// [`Shared::take`] for somebody who asked, and does not ask any more then.
    fn take_for(&self, asked: &mut usize) -> Option<Option<Delivery>> {
        let mut state = self.state();
        if state.stopped {
            return None;
        }
        if !state.has_free_hand() {
            return Some(None);
        }
        let full = state.buffer.bytes() >= self.options.prefetch_bytes;
        let Some(delivery) = state.buffer.take() else {
            return Some(None);
        };
        state.asking -= std::mem::take(asked);
        let probe = state.gate.reserve();
        state.hand_out(&delivery, probe, None);
        // Half of what may be fetched ahead is gone: enough for a receive of its own. Whoever looks
        // by himself need not be helped.
        let half = self.prefetched() / 2;
        let refill = !self.local && state.buffer.len() <= half;
        drop(state);
        if full {
            self.make_room_in_bytes();
        }
        if refill && self.pool.is_none() {
            self.room.notify_one();
        }
        Some(Some(delivery))
    }

    /// A delivery that was in hand was settled by this verb, or dropped without one.
    pub(super) fn ended(
        self: &Arc<Self>,
        hand: usize,
        session: Option<&Arc<str>>,
        verb: Option<&Verb>,
    ) {
        let skips = self.queue.definition().on_failure == OnFailure::Skip;
        let go_on = skips || matches!(verb, Some(Verb::Ack | Verb::DeadLetter { .. }));
        let mut given_up = VecDeque::new();
        let mut state = self.state();
        let kept = state.hands.try_remove(hand);
        let mut moved = false;
        if let Some(session) = session {
            given_up = state.buffer.ended(session, go_on);
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
        let wanted = state.asking > 0 && state.buffer.len() == 0;
        if moved {
            self.regulate(state);
        } else {
            drop(state);
        }
        drop(kept);
        if more {
            self.work.notify_one();
        } else if wanted {
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
        self.prefetched() == 0
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

fn gone(error: &Error) {
    tracing::debug!(%error, "a prefetched message was not there any more");
}

/// Deliveries that were taken and are not begun yet. Go back when dropped.
struct Taken<'a>(&'a Shared, Vec<Delivery>);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.give_back(std::mem::take(&mut self.1));
    }
}

/// Somebody waits for this many.
pub(super) struct Asking<'a> {
    shared: &'a Shared,
    pub(super) wanted: usize,
}

impl<'a> Asking<'a> {
    pub(super) fn new(shared: &'a Shared, wanted: usize) -> Self {
        shared.state().asking += wanted;
        Self { shared, wanted }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.asking -= self.wanted;
        let given_up = if self.wanted > 0 && self.shared.is_unwanted(&state) {
            state.buffer.drain()
        } else {
            Vec::new()
        };
        drop(state);
        self.shared.give_back(given_up);
        // What was wanted for this one may not be any more.
        self.shared.make_room();
    }
}
