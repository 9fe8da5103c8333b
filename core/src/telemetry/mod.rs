//! Metrics of a runtime: one registry each, no global one.

use std::time::Duration;

use crate::error::ErrorKind;

/// The registry of one runtime.
pub(crate) struct Telemetry {}

/// The metrics of one queue, looked up once when it is opened.
#[derive(Clone)]
pub(crate) struct QueueMetrics {}

impl Telemetry {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// The metrics of a queue of a provider.
    pub(crate) fn queue(&self, _provider: &'static str, _queue: &str) -> QueueMetrics {
        QueueMetrics {}
    }

    /// The exposition text.
    pub(crate) fn text(&self) -> String {
        String::new()
    }
}

impl QueueMetrics {
    /// Messages were stored by one send.
    pub(crate) fn sent(&self, _messages: usize) {}

    /// Messages were handed over by one receive.
    pub(crate) fn received(&self, _messages: usize) {}

    /// A delivery was ended by this verb.
    pub(crate) fn settled(&self, _verb: &'static str) {}

    /// A delivery was ended this long after it was handed over.
    pub(crate) fn processed(&self, _duration: Duration) {}

    /// A verb, or one message of it, failed.
    pub(crate) fn failed(&self, _kind: ErrorKind) {}
}
