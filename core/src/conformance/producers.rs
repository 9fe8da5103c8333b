//! Producers: their verbs, and what must come of them.

use serde::Deserialize;
use toml::Table;

use super::arguments::{Body, Span};
use super::check::check_value;
use super::consumers::{read, span};
use super::step::Action;
use super::verbs::{Came, Going, going};
use super::world::{Checked, World};
use crate::producer::{Producer, ProducerOptions, ProducerReport};

/// A producer to be made.
#[derive(Clone, Debug)]
pub(super) struct Produce {
    pub name: String,
    pub options: ProducerOptions,
}

impl Produce {
    /// Reads what is left of a step without what every step may say.
    pub fn read(table: Table) -> Result<Self, String> {
        let mut name = String::new();
        let mut options = ProducerOptions::new();
        for (key, value) in table {
            options = match &*key {
                "produce" => {
                    name = read(&key, value)?;
                    options
                }
                "batch_size" => options.batch_size(read(&key, value)?),
                "batch_bytes" => options.batch_bytes(read(&key, value)?),
                "linger" => options.linger(span(&key, value)?),
                "max_pending" => options.max_pending(read(&key, value)?),
                "max_pending_bytes" => options.max_pending_bytes(read(&key, value)?),
                "on_full" => options.on_full(read(&key, value)?),
                _ => return Err(format!("unknown field `{key}`")),
            };
        }
        Ok(Self { name, options })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseProducer {
    #[serde(rename = "close_producer")]
    producer: String,
    deadline: Span,
    expect: Produced,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Produced {
    sent: u64,
    failed: u64,
    #[serde(default)]
    unsent: Vec<Body>,
}

impl World<'_> {
    fn producer(&self, name: &str) -> Checked<Producer> {
        let producer = self.producers.get(name).cloned();
        producer.ok_or_else(|| format!("there is no producer {name:?}"))
    }

    /// Begins a verb of a producer.
    pub fn begin_of_producer(&self, action: &Action) -> Checked<Going> {
        Ok(match action {
            Action::Send(outgoing) => {
                let producer = self.producer(outgoing.by.as_deref().unwrap_or_default())?;
                let message = outgoing.message.clone();
                going(async move { Ok(Came::Sent(vec![Ok(producer.send(message).await?)])) })
            }
            Action::Flush(name) => {
                let producer = self.producer(name)?;
                going(async move {
                    producer.flush().await?;
                    Ok(Came::Nothing)
                })
            }
            Action::CloseProducer(close) => {
                let producer = self.producer(&close.producer)?;
                let deadline = close.deadline.0;
                going(async move { Ok(Came::Produced(producer.close(deadline).await)) })
            }
            other => return Err(format!("{other:?} is no verb of a producer")),
        })
    }
}

/// Compares a producer's report with what must be in it.
pub(super) fn check_report(close: &CloseProducer, report: &ProducerReport) -> Checked<()> {
    let wanted = &close.expect;
    check_value("sent", Some(wanted.sent), report.sent)?;
    check_value("failed", Some(wanted.failed), report.failed)?;
    let unsent: Vec<_> = report.unsent.iter().map(|m| m.body().clone()).collect();
    let expected = wanted.unsent.iter().map(|body| body.bytes.clone());
    check_value("unsent", Some(expected.collect()), unsent)
}
