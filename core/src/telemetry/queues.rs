//! The series of all queues that were opened, and what is counted of clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::breakers::Breakers;
use super::series::Series;

/// Series of queues that nobody holds any more are kept up to this number of series.
const KEPT: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: BTreeMap<(&'static str, Box<str>), Arc<Series>>,
    /// The breakers around whole clients, by provider.
    clients: BTreeMap<&'static str, Arc<Breakers>>,
    /// At this number of series the next new one looks for series to drop.
    sweep_at: usize,
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The series of a queue: one, however often it is opened.
    pub(super) fn series(&self, provider: &'static str, queue: &str) -> Arc<Series> {
        let mut inner = self.lock();
        if let Some(series) = inner.series.get(&(provider, queue.into())) {
            return series.clone();
        }
        if inner.series.len() >= inner.sweep_at.max(KEPT) {
            inner
                .series
                .retain(|_, series| Arc::strong_count(series) > 1);
            // Looked for again when there are twice as many, so that looking stays cheap.
            inner.sweep_at = 2 * inner.series.len();
        }
        let series = Arc::new(Series::new(provider, queue));
        inner
            .series
            .insert((provider, queue.into()), series.clone());
        series
    }

    /// The breakers around the clients of a provider.
    pub(super) fn around_clients(&self, provider: &'static str) -> Arc<Breakers> {
        self.lock().clients.entry(provider).or_default().clone()
    }

    /// Those there are of [`Queues::around_clients`], with their providers.
    pub(super) fn all_around_clients(&self) -> Vec<(&'static str, Arc<Breakers>)> {
        let inner = self.lock();
        let all = inner.clients.iter();
        all.map(|(provider, breakers)| (*provider, breakers.clone()))
            .collect()
    }

    /// All series, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Series>> {
        self.lock().series.values().cloned().collect()
    }
}
