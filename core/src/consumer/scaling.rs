//! Looks at a consumer once in a cool-down and lets its limit follow (`scale.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::gate::Standing;
use super::scale::{Load, Reason, Scale};
use super::shared::Shared;
use crate::capability::Capability;
use crate::clock::Tick;
use crate::resilience::BreakerState;
use crate::telemetry::ConcurrencyMetrics;

/// How long each limit stays, unless said otherwise.
const COOLDOWN: Duration = Duration::from_secs(5);

/// Changes the limit of a consumer from now on until it stops, if it asks for that.
pub(super) fn start(shared: &Arc<Shared>) {
    let Some(least) = shared.options.min_concurrency else {
        return;
    };
    let mut standing = shared.standing.subscribe();
    if !standing.borrow().is_free() {
        standing.mark_changed();
    }
    let scaled = Scaled {
        standing,
        scale: Scale::new(least as usize, shared.options.hands() as usize),
        metrics: shared.queue.metrics().concurrency(),
        shared: shared.clone(),
    };
    scaled.metrics.is(least.into());
    let begun = shared.queue.clock().now();
    shared.queue.spawn(scaled.run(begun));
}

struct Scaled {
    shared: Arc<Shared>,
    /// From a free one every change is to one that holds it back.
    standing: watch::Receiver<Standing>,
    scale: Scale,
    metrics: ConcurrencyMetrics,
}

impl Scaled {
    async fn run(mut self, begun: Tick) {
        let stop = self.shared.stop.clone();
        stop.run_until_cancelled(self.look_again_and_again(begun))
            .await;
    }

    async fn look_again_and_again(&mut self, mut since: Tick) {
        let shared = self.shared.clone();
        let cooldown = shared.options.scale_cooldown.unwrap_or(COOLDOWN);
        loop {
            tokio::select! {
                biased;
                // Also when that is over already.
                _ = self.standing.changed() => {
                    self.wait_until_free().await;
                    // What was counted meanwhile tells nothing.
                    since = shared.queue.clock().now();
                    shared.load();
                    continue;
                }
                () = shared.queue.sleep_until(since + cooldown) => {}
            }
            let now = shared.queue.clock().now();
            let load = shared.load();
            let waiting = shared.waiting().await;
            let before = self.scale.limit;
            let why = self.scale.look(load, waiting, now.since(since));
            self.apply(before, why);
            let (queue, limit, waits) = (shared.queue.name(), self.scale.limit, waiting > 0);
            tracing::debug!(
                queue,
                limit,
                in_use = load.peak,
                done = load.done,
                waits,
                "looked at its load"
            );
            since = now;
        }
    }

    /// Waits until nothing holds the consumer back. A breaker that opened, and memory that is over
    /// its limit, may come of too many hands: then it begins again with the least.
    async fn wait_until_free(&mut self) {
        loop {
            let now = *self.standing.borrow_and_update();
            if now.breaker != BreakerState::Closed || now.over_memory {
                let before = self.scale.limit;
                let why = self.scale.restart();
                self.apply(before, why);
            }
            if now.is_free() || self.standing.changed().await.is_err() {
                return;
            }
        }
    }

    /// Lets a change take effect.
    fn apply(&self, before: usize, why: Option<Reason>) {
        let Some(reason) = why else {
            return;
        };
        let limit = self.scale.limit;
        let queue = self.shared.queue.name();
        tracing::info!(queue, before, limit, %reason, "a consumer scales its concurrency");
        self.metrics.is(limit as u64);
        self.shared.limit_to(limit);
    }
}

impl Shared {
    /// What was counted since this was last asked.
    fn load(&self) -> Load {
        let mut state = self.state();
        let peak = state.in_hand();
        let anew = Load { peak, done: 0 };
        state.load.replace(anew).unwrap_or_default()
    }

    /// How many messages wait that somebody who asks could take with a hand more.
    async fn waiting(&self) -> usize {
        {
            let state = self.state();
            if state.asking == 0 {
                return 0;
            }
            let ready = state.buffer.ready();
            let ahead = self.prefetched(&state);
            if ready > 0 || ahead > 0 {
                let full = state.buffer.len() >= ahead
                    || state.buffer.bytes() >= self.options.prefetch_bytes;
                return if ready > 0 && full { usize::MAX } else { ready };
            }
        }
        // Nothing is fetched ahead. A count costs nothing on this machine; across a network nobody
        // asked for such a call, and a hand too many is soon found idle.
        if !self.queue.provider().is_local() || !self.queue.has(Capability::Statistics) {
            return usize::MAX;
        }
        let statistics = self.queue.statistics().await;
        statistics.map_or(0, |counts| counts.ready as usize)
    }

    /// So many may be in hand from now on. What is in hand above that stays there.
    fn limit_to(&self, limit: usize) {
        self.state().limit = limit;
        self.work.notify_waiters();
        self.make_room();
        self.make_room_in_bytes();
    }
}
