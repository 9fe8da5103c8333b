//! How messages come into the hands of who asks: out of the buffer, or right out of the queue where a
//! look costs no more than a call.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::reply::Reply;

impl Shared {
    /// Receives a message that is there right into the hands of who asks: where that is only a call
    /// it spares the buffer, the pump and its threads.
    fn take_begun(self: &Arc<Self>) -> Option<Delivery> {
        let turn = self.turn();
        let mut state = self.state();
        // What the pump has brought meanwhile was there before.
        let before = if self.limited {
            state.buffer.has_ready()
        } else {
            state.buffer.len() > 0
        };
        if state.stopped || !state.has_free_hand() || before {
            return None;
        }
        let without = state.buffer.full_groups();
        state.reserved += 1;
        let probe = state.gate.reserve();
        drop(state);
        let mut request = self.options.receive(1, Duration::ZERO, true);
        request.without = without;
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
            && let Ok(calling) = self.queue.may_receive()
            && let Ok(Ok(deliveries)) = self
                .receive(calling, want, Duration::ZERO, self.without())
                .try_now()
            && !deliveries.is_empty()
        {
            let late = self.put(deliveries, self.queue.clock().recent(), |_| false);
            drop(turn);
            self.give_back(late);
        }
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
        let half = self.prefetched(&state) / 2;
        let refill = !self.local && (state.buffer.len() <= half || self.limited);
        drop(state);
        if full {
            self.make_room_in_bytes();
        }
        if refill && self.pool.is_none() {
            self.room.notify_one();
        }
        Some(Some(delivery))
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
