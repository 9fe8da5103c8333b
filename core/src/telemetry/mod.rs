//! Metrics of a runtime: one registry each, no global one.
//!
//! A queue's series is looked up once, when the queue is opened; counting is then a matter of a
//! few plain loads and stores. Sums, counts and totals are made when somebody asks for the text.

mod breakers;
mod concurrency;
mod counters;
mod exposition;
mod queues;
mod series;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub(crate) use self::breakers::BreakerMetrics;
pub(crate) use self::concurrency::ConcurrencyMetrics;
use self::exposition::Exposition;
use self::queues::Queues;
pub(crate) use self::series::QueueMetrics;
use crate::write_behind::WriteBehinds;

/// The registry of one runtime.
pub(crate) struct Telemetry {
    registry: Registry,
    queues: Arc<Queues>,
    write_behinds: WriteBehinds,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let queues = Arc::new(Queues::default());
        let mut registry = Registry::with_prefix("queue_runtime");
        registry.register_collector(Box::new(Exposition(queues.clone())));
        let write_behinds = WriteBehinds::default();
        registry.register_collector(Box::new(write_behinds.clone()));
        Self {
            registry,
            queues,
            write_behinds,
        }
    }

    /// Shows what this collects too.
    pub(crate) fn show(&mut self, collector: impl Collector) {
        self.registry.register_collector(Box::new(collector));
    }

    /// The metrics of a queue of a provider.
    pub(crate) fn queue(&self, provider: &'static str, queue: &str) -> QueueMetrics {
        QueueMetrics(self.queues.series(provider, queue))
    }

    /// The metrics of a breaker around a client of a provider.
    pub(crate) fn client_breaker(&self, provider: &'static str) -> BreakerMetrics {
        BreakerMetrics::new(self.queues.around_clients(provider))
    }

    /// The write-behinds whose metrics are shown.
    pub(crate) fn write_behinds(&self) -> &WriteBehinds {
        &self.write_behinds
    }

    /// The exposition text (OpenMetrics 1.0).
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing fails only where the writer does, and a string takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::time::Duration;

    /// The value of a sample of the queue "orders", by its name and further labels.
    fn value(text: &str, name: &str, labels: &str) -> f64 {
        let labels = format!("{labels},provider=\"memory\",queue=\"orders\"");
        let mut labels: Vec<&str> = labels.split(',').filter(|l| !l.is_empty()).collect();
        labels.sort_unstable();
        let found = text.lines().find_map(|line| {
            let sample = line.strip_prefix("queue_runtime_")?.strip_prefix(name)?;
            let (shown, value) = sample.strip_prefix('{')?.split_once("} ")?;
            let mut shown: Vec<&str> = shown.split(',').collect();
            shown.sort_unstable();
            (shown == labels).then_some(value)
        });
        let found = found.unwrap_or_else(|| panic!("{name} with {labels:?} is not in\n{text}"));
        found.parse().unwrap()
    }

    #[test]
    fn every_count_shows_under_its_name() {
        let telemetry = Telemetry::new();
        let orders = telemetry.queue("memory", "orders");
        orders.sent(3);
        orders.sent(0);
        orders.sent(1);
        orders.received(2);
        for verb in ["ack", "ack", "nack", "dead_letter"] {
            orders.settled(verb);
        }
        orders.failed(ErrorKind::LockLost);
        orders.failed(ErrorKind::LockLost);
        let text = telemetry.text();
        let expected = [
            ("messages_sent_total", "", 4.0),
            ("messages_received_total", "", 2.0),
            ("messages_processed_total", "", 2.0),
            ("messages_settled_total", "verb=\"ack\"", 2.0),
            ("messages_settled_total", "verb=\"nack\"", 1.0),
            ("messages_settled_total", "verb=\"release\"", 0.0),
            ("messages_settled_total", "verb=\"dead_letter\"", 1.0),
            ("errors_total", "kind=\"lock_lost\"", 2.0),
            ("batch_sizes_sum", "operation=\"send\"", 4.0),
            ("batch_sizes_count", "operation=\"send\"", 2.0),
            ("batch_sizes_count", "operation=\"receive\"", 1.0),
        ];
        for (name, label, expected) in expected {
            assert_eq!(value(&text, name, label), expected, "{name} {label}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn buckets_count_up_to_and_with_their_bound() {
        let telemetry = Telemetry::new();
        let orders = telemetry.queue("memory", "orders");
        let durations = [
            0,
            1_000_000,
            1_000_001,
            30_000_000,
            5_000_000_000,
            5_000_000_001,
        ];
        for nanos in durations {
            orders.processed(Duration::from_nanos(nanos));
        }
        for batch in [1, 2, 3, 100, 101] {
            orders.received(batch);
        }
        let text = telemetry.text();
        let buckets = |name: &str, label: &str, bounds: &[(&str, f64)]| {
            for (bound, expected) in bounds {
                let labels = format!("le=\"{bound}\",{label}");
                assert_eq!(value(&text, name, &labels), *expected, "{name} {labels}");
            }
        };
        buckets(
            "processing_duration_seconds_bucket",
            "",
            &[
                ("0.001", 2.0),
                ("0.005", 3.0),
                ("0.01", 3.0),
                ("0.05", 4.0),
                ("0.1", 4.0),
                ("0.5", 4.0),
                ("1.0", 4.0),
                ("5.0", 5.0),
                ("+Inf", 6.0),
            ],
        );
        assert_eq!(value(&text, "processing_duration_seconds_count", ""), 6.0);
        assert_eq!(
            value(&text, "processing_duration_seconds_sum", ""),
            10.032000002
        );
        buckets(
            "batch_sizes_bucket",
            "operation=\"receive\"",
            &[
                ("1.0", 1.0),
                ("2.0", 2.0),
                ("5.0", 3.0),
                ("10.0", 3.0),
                ("20.0", 3.0),
                ("50.0", 3.0),
                ("100.0", 4.0),
                ("+Inf", 5.0),
            ],
        );
    }

    #[test]
    fn the_longest_duration_is_counted() {
        let telemetry = Telemetry::new();
        telemetry.queue("memory", "orders").processed(Duration::MAX);
        let count = value(&telemetry.text(), "processing_duration_seconds_count", "");
        assert_eq!(count, 1.0);
    }

    #[test]
    fn a_queue_opened_twice_is_one_series() {
        let telemetry = Telemetry::new();
        telemetry.queue("memory", "orders").sent(1);
        telemetry.queue("memory", "orders").sent(1);
        telemetry.queue("memory", "other").sent(5);
        let text = telemetry.text();
        assert_eq!(value(&text, "messages_sent_total", ""), 2.0);
        assert_eq!(text.matches("messages_sent_total{").count(), 2);
    }

    #[test]
    fn names_that_would_break_the_text_are_escaped() {
        let telemetry = Telemetry::new();
        telemetry.queue("memory", "a\"b\\c\nd} 1").sent(1);
        let text = telemetry.text();
        assert!(
            text.contains(r#"messages_sent_total{provider="memory",queue="a\"b\\c\nd} 1"} 1"#),
            "{text}"
        );
    }

    #[test]
    fn series_nobody_holds_do_not_pile_up() {
        let telemetry = Telemetry::new();
        let held = telemetry.queue("memory", "orders");
        held.sent(1);
        for i in 0..30_000 {
            telemetry.queue("memory", &format!("reply-{i}")).sent(1);
        }
        let all = telemetry.queues.all();
        assert!(all.len() <= 20_000, "{} series", all.len());
        assert_eq!(value(&telemetry.text(), "messages_sent_total", ""), 1.0);
    }
}
