//! The metrics' names, help and labels, as one collector of the runtime's registry.

use std::fmt::Error;
use std::sync::{Arc, Mutex, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::BreakerState;
use super::locked;
use super::metrics::{Histogram, Observed, WriteBehindMetrics};
use super::writer::Shared;
use crate::error::Result;

/// The write-behinds of a runtime; the registry asks them at each scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteBehinds(Arc<Mutex<Vec<Weak<Shared>>>>);

/// What one write-behind shows.
struct Shown {
    name: Box<str>,
    metrics: WriteBehindMetrics,
    observed: Observed,
    /// In seconds.
    oldest: f64,
    breaker: BreakerState,
}

impl WriteBehinds {
    /// Shows a write-behind as long as it is there.
    pub(super) fn add(&self, shared: &Arc<Shared>) {
        let mut all = locked(&self.0);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(shared));
    }

    fn look(&self) -> Vec<Shown> {
        let all: Vec<_> = locked(&self.0).iter().filter_map(Weak::upgrade).collect();
        let look = |shared: &Arc<Shared>| {
            let (observed, oldest) = shared.buffer.observed();
            Shown {
                name: shared.name.clone(),
                metrics: shared.metrics(),
                observed,
                oldest: oldest.as_secs_f64(),
                breaker: shared.circuit.state(shared.tasks.clock().now()),
            }
        };
        all.iter().map(look).collect()
    }
}

type Count = fn(&WriteBehindMetrics) -> u64;

impl Collector for WriteBehinds {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let all = self.look();
        if all.is_empty() {
            return Ok(());
        }
        let counters: [(&str, &str, Count); 5] = [
            ("enqueued", "Entries accepted", |m| m.total_enqueued),
            ("persisted", "Entries in the sink", |m| m.total_persisted),
            ("failed", "Entries given up", |m| m.total_failed),
            ("retries", "Entries tried again", |m| m.total_retries),
            ("batches", "Batches the sink answered", |m| m.total_batches),
        ];
        for (name, help, count) in counters {
            let name = format!("write_behind_{name}");
            let kind = MetricType::Counter;
            let mut metric = encoder.encode_descriptor(&name, help, None, kind)?;
            for one in &all {
                metric
                    .encode_family(&one.labels())?
                    .encode_counter::<NoLabelSet, _, u64>(&count(&one.metrics), None)?;
            }
        }

        let help = "Entries accepted and neither in the sink nor given up";
        let kind = MetricType::Gauge;
        let mut metric = encoder.encode_descriptor("write_behind_depth", help, None, kind)?;
        for one in &all {
            let depth = i64::try_from(one.metrics.current_queue_depth).unwrap_or(i64::MAX);
            metric.encode_family(&one.labels())?.encode_gauge(&depth)?;
        }
        let (name, unit) = ("write_behind_oldest_entry", Some(&Unit::Seconds));
        let help = "Age of the oldest entry that is neither in the sink nor given up";
        let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
        for one in &all {
            metric
                .encode_family(&one.labels())?
                .encode_gauge(&one.oldest)?;
        }
        let help = "Whether the breaker is in this state";
        let name = "write_behind_breaker_state";
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        let states = [
            BreakerState::Closed,
            BreakerState::HalfOpen,
            BreakerState::Open,
        ];
        for one in &all {
            for state in states {
                let labels = [("name", &*one.name), ("state", state.name())];
                let here = i64::from(one.breaker == state);
                metric.encode_family(&labels)?.encode_gauge(&here)?;
            }
        }

        let kind = MetricType::Histogram;
        let help = "Entries of one batch";
        let mut metric = encoder.encode_descriptor("write_behind_batch_sizes", help, None, kind)?;
        for one in &all {
            histogram(&mut metric, one, &one.observed.batches, 1.0)?;
        }
        let help = "Time from handing a batch to the sink to its answer";
        let mut metric = encoder.encode_descriptor("write_behind_flush", help, unit, kind)?;
        for one in &all {
            histogram(&mut metric, one, &one.observed.flushes, 1e9)?;
        }
        let help = "Time from accepting an entry to its being in the sink";
        let mut metric = encoder.encode_descriptor("write_behind_lag", help, unit, kind)?;
        for one in &all {
            histogram(&mut metric, one, &one.observed.lags, 1e9)?;
        }
        Ok(())
    }
}

impl Shown {
    fn labels(&self) -> [(&'static str, &str); 1] {
        [("name", &self.name)]
    }
}

/// `unit`: how many of the counted unit make one of the unit that is shown.
fn histogram<const N: usize>(
    metric: &mut MetricEncoder,
    one: &Shown,
    histogram: &Histogram<N>,
    unit: f64,
) -> Result<(), Error> {
    let bounds = histogram.bounds.iter().map(|bound| *bound as f64 / unit);
    let bounds = bounds.chain([f64::INFINITY]);
    let counts = histogram.counts.iter().copied().chain([histogram.above]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    metric
        .encode_family(&one.labels())?
        .encode_histogram::<NoLabelSet>(histogram.sum as f64 / unit, count, &buckets, None)
}
