//! The metrics' names, help and labels, as one collector of the registry.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::breakers::{Breakers, SIDES};
use super::queues::Queues;
use super::series::{
    HANDLED, Histogram, LOST, PROCESSING, RECEIVED, RENEWED, RESUMED, SENT, SESSION, SESSION_WAIT,
    STALLED, Series, VERBS,
};

/// Shows the series of all queues; the registry calls it at each scrape.
#[derive(Debug)]
pub(super) struct Exposition(pub(super) Arc<Queues>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let all = self.0.all();
        let mut counter = |name: &str, help: &str, show: Show| {
            let kind = MetricType::Counter;
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            all.iter().try_for_each(|series| show(&mut metric, series))
        };
        counter("messages_sent", "Messages stored", |metric, series| {
            count(metric, &series.labels(), series.histogram(&SENT).0)
        })?;
        counter(
            "messages_received",
            "Messages handed over",
            |metric, series| count(metric, &series.labels(), series.histogram(&RECEIVED).0),
        )?;
        counter(
            "messages_processed",
            "Messages done for good",
            |metric, series| count(metric, &series.labels(), series.settled(0)),
        )?;
        counter(
            "messages_settled",
            "Deliveries ended, by verb",
            |metric, series| {
                (0..VERBS.len()).try_for_each(|verb| {
                    let labels = series.labelled("verb", VERBS[verb]);
                    count(metric, &labels, series.settled(verb))
                })
            },
        )?;
        for (name, help, show) in LOCKS {
            counter(name, help, show)?;
        }
        counter(
            "sessions_resumed",
            "Sessions accepted by a consumer that remembers them",
            |metric, series| count(metric, &series.labels(), series.counted(RESUMED)),
        )?;
        counter(
            "errors",
            "Verbs, or messages of them, that failed, by kind",
            |metric, series| {
                series.errors().try_for_each(|(kind, errors)| {
                    count(metric, &series.labelled("kind", kind.name()), errors)
                })
            },
        )?;

        let clients = self.0.all_around_clients();
        let breakers: Vec<_> = breakers(&all, &clients).collect();
        let help = "Times a breaker came to a state, by what it is around";
        let kind = MetricType::Counter;
        let mut metric = encoder.encode_descriptor("breaker_transitions", help, None, kind)?;
        for (labels, breakers) in &breakers {
            for (state, times) in breakers.transitions() {
                let labels = [labels.as_slice(), &[("state", state)]].concat();
                metric
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&times, None)?;
            }
        }
        let help = "Where a breaker stands: 0 closed, 1 half open, 2 open";
        let mut metric =
            encoder.encode_descriptor("breaker_state", help, None, MetricType::Gauge)?;
        for (labels, breakers) in &breakers {
            metric
                .encode_family(labels)?
                .encode_gauge(&breakers.state())?;
        }

        let kind = MetricType::Histogram;
        let name = "processing_duration";
        let help = "Time from the hand-over of a delivery to its end";
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
        for series in &all {
            histogram(&mut metric, &series.labels(), series, &PROCESSING, 1e9)?;
        }
        let sessions = [
            (
                "session_duration",
                "Time a consumer held a session",
                &SESSION,
            ),
            (
                "session_wait",
                "Time from the accept of a session to the hand-out of its first message",
                &SESSION_WAIT,
            ),
        ];
        for (name, help, times) in sessions {
            let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
            for series in &all {
                histogram(&mut metric, &series.labels(), series, times, 1e9)?;
            }
        }
        let help = "Sessions that consumers hold";
        let mut metric =
            encoder.encode_descriptor("sessions_held", help, None, MetricType::Gauge)?;
        for series in &all {
            let held = series.sessions();
            metric
                .encode_family(&series.labels())?
                .encode_gauge(&held)?;
        }
        let help = "Messages of one send, receive or batch handler";
        let mut metric = encoder.encode_descriptor("batch_sizes", help, None, kind)?;
        for series in &all {
            for (operation, batches) in [("send", &SENT), ("receive", &RECEIVED)] {
                let labels = series.labelled("operation", operation);
                histogram(&mut metric, &labels, series, batches, 1.0)?;
            }
            if series.histogram(&HANDLED).0 > 0 {
                let labels = series.labelled("operation", "handle");
                histogram(&mut metric, &labels, series, &HANDLED, 1.0)?;
            }
        }

        for (name, help, of) in SOMETIMES {
            let shown = all.iter().map(|series| (series, of(series).load(Relaxed)));
            let shown: Vec<_> = shown.filter(|(_, value)| *value > 0).collect();
            if shown.is_empty() {
                continue;
            }
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (series, value) in shown {
                metric
                    .encode_family(&series.labels())?
                    .encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

/// A gauge's name, its help, and where it is.
type Gauge = (&'static str, &'static str, fn(&Series) -> &AtomicU64);

/// Gauges of queues that have something of the kind.
const SOMETIMES: [Gauge; 2] = [
    (
        "batch_size_target",
        "Messages that the next batch of an adapting handler is to have",
        |series| &series.batch_size_target,
    ),
    (
        "consumer_concurrency",
        "Deliveries that consumers which scale may have in hand now",
        |series| &series.concurrency,
    ),
];

/// What happened to the locks of deliveries that are kept.
const LOCKS: [(&str, &str, Show); 3] = [
    (
        "lock_renewals",
        "Locks renewed while work went on",
        |metric, series| count(metric, &series.labels(), series.counted(RENEWED)),
    ),
    (
        "locks_lost",
        "Kept locks that ended before their deliveries",
        |metric, series| count(metric, &series.labels(), series.counted(LOST)),
    ),
    (
        "stalls",
        "Deliveries in hand for as long as their locks may be kept",
        |metric, series| count(metric, &series.labels(), series.counted(STALLED)),
    ),
];

type Show = fn(&mut MetricEncoder, &Series) -> Result<(), Error>;
type Label<'a> = (&'static str, &'a str);

impl Series {
    fn labels(&self) -> [Label<'_>; 2] {
        [("provider", self.provider), ("queue", &self.queue)]
    }

    fn labelled<'a>(&'a self, name: &'static str, value: &'a str) -> [Label<'a>; 3] {
        let [provider, queue] = self.labels();
        [provider, queue, (name, value)]
    }
}

/// The breakers there are, of queues and of clients, with their labels.
fn breakers<'a>(
    all: &'a [Arc<Series>],
    clients: &'a [(&'static str, Arc<Breakers>)],
) -> impl Iterator<Item = (Vec<Label<'a>>, &'a Breakers)> {
    let of_queues = all.iter().flat_map(|series| {
        let sides = SIDES.into_iter().zip(&series.breakers);
        sides.map(|(side, breakers)| (series.labelled("operation", side).to_vec(), &**breakers))
    });
    let of_clients = clients.iter().map(|(provider, breakers)| {
        let labels = vec![("provider", *provider), ("operation", "client")];
        (labels, &**breakers)
    });
    of_queues
        .chain(of_clients)
        .filter(|(_, breakers)| breakers.any())
}

fn count<const N: usize>(
    metric: &mut MetricEncoder,
    labels: &[Label; N],
    value: u64,
) -> Result<(), Error> {
    metric
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// `unit`: how many of the counted unit make one of the unit that is shown.
fn histogram<const N: usize>(
    metric: &mut MetricEncoder,
    labels: &[Label; N],
    series: &Series,
    histogram: &Histogram,
    unit: f64,
) -> Result<(), Error> {
    let (sum, counts) = series.histogram(histogram);
    let count = counts.iter().sum();
    let bounds = histogram.bounds.iter().map(|bound| *bound as f64 / unit);
    let bounds = bounds.chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    metric
        .encode_family(labels)?
        .encode_histogram::<NoLabelSet>(sum as f64 / unit, count, &buckets, None)
}
