//! Holds the consumers of a runtime back while the process has more memory than it may.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::shared::Shared;
use crate::runtime::Tasks;

/// How often the memory is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at the memory of the process while a consumer of its runtime lives.
pub(crate) struct MemoryWatch {
    limit: u64,
    tasks: Tasks,
    watched: Mutex<Watched>,
    /// What was measured last.
    resident: AtomicU64,
    over: AtomicBool,
}

type Measure = Arc<dyn Fn() -> std::io::Result<u64> + Send + Sync>;

struct Watched {
    measure: Measure,
    consumers: Vec<Weak<Shared>>,
    /// Whether the task that looks runs.
    running: bool,
}

impl MemoryWatch {
    pub(crate) fn new(limit: u64, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self {
            limit,
            tasks,
            watched: Mutex::new(Watched {
                measure: Arc::new(resident),
                consumers: Vec::new(),
                running: false,
            }),
            resident: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures by this from now on.
    pub(crate) fn measure_by(&self, measure: Measure) {
        self.watched().measure = measure;
    }

    /// Holds this consumer back when it is to be, as long as it lives.
    pub(super) fn add(self: &Arc<Self>, consumer: &Arc<Shared>) {
        let mut watched = self.watched();
        watched.consumers.push(Arc::downgrade(consumer));
        let start = !std::mem::replace(&mut watched.running, true);
        drop(watched);
        consumer.over_memory(self.over.load(Relaxed));
        if start {
            self.tasks.spawn(self.clone().look_again_and_again());
        }
    }

    async fn look_again_and_again(self: Arc<Self>) {
        while let Some((measure, consumers)) = self.next() {
            let over = self.look(&measure);
            // Those that came since the last look are told too.
            for consumer in consumers {
                consumer.over_memory(over);
            }
            let then = self.tasks.clock().now() + EVERY;
            self.tasks.sleep_until(then).await;
        }
    }

    /// What to measure by and whom to tell; nothing once no consumer lives any more.
    fn next(&self) -> Option<(Measure, Vec<Arc<Shared>>)> {
        let mut watched = self.watched();
        let live = |consumer: Arc<Shared>| (!consumer.stop.is_cancelled()).then_some(consumer);
        let consumers: Vec<_> = watched.consumers.iter().filter_map(Weak::upgrade).collect();
        let consumers: Vec<_> = consumers.into_iter().filter_map(live).collect();
        watched.consumers = consumers.iter().map(Arc::downgrade).collect();
        if consumers.is_empty() {
            watched.running = false;
            self.over.store(false, Relaxed);
            return None;
        }
        Some((watched.measure.clone(), consumers))
    }

    /// Answers whether consumers are to be held back.
    fn look(&self, measure: &Measure) -> bool {
        let was_over = self.over.load(Relaxed);
        let resident = measure().unwrap_or_else(|error| {
            tracing::warn!(%error, "the memory of the process cannot be measured");
            0
        });
        self.resident.store(resident, Relaxed);
        let limit = self.limit;
        let over = if was_over {
            resident >= limit - limit / 10
        } else {
            resident > limit
        };
        self.over.store(over, Relaxed);
        match (was_over, over) {
            (false, true) => {
                tracing::warn!(resident, limit, "memory is over its limit: consumers pause");
            }
            (true, false) => tracing::info!(resident, limit, "memory is free: consumers go on"),
            _ => {}
        }
        over
    }
}

/// The resident memory of the process in bytes, as the system counts it: what was allocated and
/// touched, and what is mapped of files and shared memory.
fn resident() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| {
        let value = line.strip_prefix("VmRSS:")?.trim();
        value.strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    let kib = kib.ok_or_else(|| std::io::Error::other("/proc/self/status has no VmRSS"))?;
    Ok(kib * 1024)
}

/// Shows a watch in the metrics.
#[derive(Debug)]
pub(crate) struct ShownMemory(pub(crate) Arc<MemoryWatch>);

impl Collector for ShownMemory {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: u64| {
            let gauge = ConstGauge::new(value);
            let kind = MetricType::Gauge;
            gauge.encode(encoder.encode_descriptor(name, help, unit, kind)?)
        };
        let bytes = Some(&Unit::Bytes);
        let resident = self.0.resident.load(Relaxed);
        let help = "Memory of the process when a consumer last looked";
        gauge("memory_resident", help, bytes, resident)?;
        let help = "The memory above which consumers pause";
        gauge("memory_limit", help, bytes, self.0.limit)?;
        let help = "Whether consumers pause for want of memory";
        gauge(
            "memory_over_limit",
            help,
            None,
            self.0.over.load(Relaxed).into(),
        )
    }
}

impl fmt::Debug for MemoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWatch")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
