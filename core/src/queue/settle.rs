//! Settling, keeping and beginning, of one and of many.

use std::time::Duration;

use super::options::check_lock_argument;
use super::{Queue, same};
use crate::capability::Capability;
use crate::clock::Tick;
use crate::consumer::Held;
use crate::error::Result;
use crate::provider::{Moment, only};
use crate::reply::Reply;
use crate::settlement::{Receipt, Settlement, Verb};

impl Queue {
    #[doc(hidden)]
    pub fn start_settle(&self, mut settlements: Vec<Settlement>) -> Reply<Vec<Result<()>>> {
        if let Err(error) = self.0.client.check_open() {
            return Reply::error(self.fail("settle", error));
        }
        if settlements.iter().any(|s| s.verb.check().is_err()) {
            return self.start_settle_some(settlements);
        }
        for settlement in &mut settlements {
            self.complete(settlement);
        }
        let ends: Vec<_> = settlements
            .iter()
            .map(|settlement| (settlement.verb.name(), settlement.since))
            .collect();
        let held = held(&mut settlements);
        let reply = self.0.provider.settle(settlements);
        self.finish("settle", reply, move |queue, mut results| {
            queue.place_all("settle", &mut results);
            let now = queue.0.client.clock().recent();
            let ended = ends.iter().zip(&results).filter(|(_, r)| r.is_ok());
            for ((verb, since), _) in ended {
                queue.0.metrics.settled(verb);
                if let Some(since) = since {
                    queue.0.metrics.processed(now.since(*since));
                }
            }
            for (index, held, verb) in held {
                match results.get(index) {
                    Some(Ok(())) => held.settled(&verb),
                    Some(Err(error)) => held.refused(error),
                    None => {}
                }
            }
            results
        })
    }

    /// Settles what can be settled; the other entries have their errors at their places.
    #[cold]
    fn start_settle_some(&self, settlements: Vec<Settlement>) -> Reply<Vec<Result<()>>> {
        let mut refused = Vec::new();
        let mut sound = Vec::new();
        for (index, settlement) in settlements.into_iter().enumerate() {
            match settlement.verb.check() {
                Ok(()) => sound.push(settlement),
                Err(error) => refused.push((index, self.fail("settle", error))),
            }
        }
        self.start_settle(sound).map(move |mut results| {
            for (index, error) in refused {
                results.insert(index, Err(error));
            }
            Ok(results)
        })
    }

    #[doc(hidden)]
    pub fn start_extend(
        &self,
        receipts: Vec<Receipt>,
        lock: Duration,
    ) -> Reply<Vec<Result<Moment>>> {
        let checked = check_lock_argument(lock)
            .and_then(|()| self.0.capabilities.require(Capability::Extend))
            .and_then(|()| self.0.client.check_open());
        if let Err(error) = checked {
            return Reply::error(self.fail("extend", error));
        }
        let reply = self.0.provider.extend(receipts, lock);
        self.finish("extend", reply, |queue, mut results| {
            queue.place_all("extend", &mut results);
            results
        })
    }

    #[doc(hidden)]
    #[inline]
    pub fn start_settle_one(&self, mut settlement: Settlement, since: Tick) -> Reply<()> {
        let checked = self.0.client.check_open();
        if let Err(error) = checked.and_then(|()| settlement.verb.check()) {
            return Reply::error(self.fail("settle", error));
        }
        self.complete(&mut settlement);
        let reply = self.0.provider.settle_one(&settlement);
        let Settlement { verb, held, .. } = settlement;
        self.end("settle", reply, move |queue, answer| {
            if let Err(error) = answer {
                if let Some(held) = held {
                    held.refused(&error);
                }
                return Err(error);
            }
            let now = queue.0.client.clock().recent();
            queue.0.metrics.settled(verb.name());
            queue.0.metrics.processed(now.since(since));
            if let Some(held) = held {
                held.settled(&verb);
            }
            Ok(())
        })
    }

    pub(crate) async fn extend_one(&self, receipt: Receipt, lock: Duration) -> Result<Moment> {
        only(self.start_extend(vec![receipt], lock)).await
    }

    pub(crate) fn start_begin(&self, receipts: Vec<Receipt>) -> Reply<Vec<Result<()>>> {
        let reply = self.0.provider.begin(receipts);
        self.finish("begin", reply, |queue, mut results| {
            queue.place_all("begin", &mut results);
            results
        })
    }

    /// Charges the attempt of a delivery as work on it starts.
    pub(crate) fn begin_one(&self, receipt: &Receipt) -> Reply<()> {
        let reply = self.0.provider.begin_one(receipt);
        self.finish("begin", reply, same)
    }

    /// Fills in the retry policy's delay, and lets the consumer have its say.
    fn complete(&self, settlement: &mut Settlement) {
        if let Verb::Nack { delay, .. } = &mut settlement.verb
            && delay.is_none()
        {
            *delay = Some(self.0.definition.retry.delay(settlement.attempt));
        }
        if let Some(held) = &settlement.held {
            held.soften(&mut settlement.verb);
        }
    }
}

/// Whose locks are kept until these settlements, by their places.
fn held(settlements: &mut [Settlement]) -> Vec<(usize, Held, Verb)> {
    let held = settlements.iter_mut().enumerate();
    held.filter_map(|(index, s)| Some((index, s.held.take()?, s.verb.clone())))
        .collect()
}
