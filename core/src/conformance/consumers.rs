//! Consumers: their verbs, and what must come of them.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::arguments::{Seen, Span};
use super::background::PATIENCE;
use super::check::check_value;
use super::step::Action;
use super::verbs::{Came, Going, going};
use super::workers::{Calls, Work};
use super::world::{Checked, World};
use crate::consumer::{
    CancelCause, Consumer, ConsumerOptions, ConsumerStatus, DrainReport, Worker,
};
use crate::error::{Error, ErrorKind};
use crate::resilience::BreakerState;

/// How often one looks whether something has come to be.
const LOOK: Duration = Duration::from_millis(1);

/// What takes messages in: a consumer that is asked for them, or a worker with its handler's calls.
pub(super) enum Intake {
    Consumer(Consumer),
    Worker(Worker, Calls),
}

impl Intake {
    fn status(&self) -> ConsumerStatus {
        match self {
            Self::Consumer(consumer) => consumer.status(),
            Self::Worker(worker, _) => worker.status(),
        }
    }

    async fn drain(&self, deadline: Duration) -> DrainReport {
        match self {
            Self::Consumer(consumer) => consumer.drain(deadline).await,
            Self::Worker(worker, _) => worker.drain(deadline).await,
        }
    }

    fn pause(&self) {
        match self {
            Self::Consumer(consumer) => consumer.pause(),
            Self::Worker(worker, _) => worker.pause(),
        }
    }

    fn resume(&self) {
        match self {
            Self::Consumer(consumer) => consumer.resume(),
            Self::Worker(worker, _) => worker.resume(),
        }
    }

    fn reset_breaker(&self) {
        match self {
            Self::Consumer(consumer) => consumer.reset_breaker(),
            Self::Worker(worker, _) => worker.reset_breaker(),
        }
    }

    /// One that is asked.
    fn consumer(&self) -> Checked<&Consumer> {
        match self {
            Self::Consumer(consumer) => Ok(consumer),
            Self::Worker(..) => Err("it is a worker".to_owned()),
        }
    }
}

/// A consumer to be started.
#[derive(Clone, Debug)]
pub(super) struct Consume {
    name: String,
    /// The held session it receives from, if not from a queue.
    pub from: Option<String>,
    pub options: ConsumerOptions,
}

impl Consume {
    /// Reads what is left of a step without what every step may say.
    pub fn read(table: Table) -> Result<Self, String> {
        let mut consume = Self {
            name: String::new(),
            from: None,
            options: ConsumerOptions::new(),
        };
        for (key, value) in table {
            match &*key {
                "consume" => consume.name = read(&key, value)?,
                "from" => consume.from = Some(read(&key, value)?),
                _ => consume.options = set(consume.options, &key, value)?,
            }
        }
        Ok(consume)
    }
}

/// Sets an option of a consumer: one line for each.
pub(super) fn set(
    options: ConsumerOptions,
    key: &str,
    value: Value,
) -> Result<ConsumerOptions, String> {
    Ok(match key {
        "concurrency" => options.concurrency(read(key, value)?),
        "min_concurrency" => options.min_concurrency(read(key, value)?),
        "scale_cooldown" => options.scale_cooldown(span(key, value)?),
        "prefetch" => options.prefetch(read(key, value)?),
        "prefetch_bytes" => options.prefetch_bytes(read(key, value)?),
        "max_messages" => options.max_messages(read(key, value)?),
        "wait" => options.wait(span(key, value)?),
        "lock" => options.lock(span(key, value)?),
        "max_lock_renewal" => options.max_lock_renewal(span(key, value)?),
        "reconnect" => options.reconnect(read(key, value)?),
        "idle" => options.idle(span(key, value)?),
        "breaker" => options.breaker(parsed(key, value)?),
        "max_sessions" => options.max_sessions(read(key, value)?),
        "session_idle" => options.session_idle(span(key, value)?),
        "session_max_messages" => options.session_max_messages(read(key, value)?),
        "session_max_time" => options.session_max_time(span(key, value)?),
        "max_in_flight_per_group" => options.max_in_flight_per_group(read(key, value)?),
        _ => return Err(format!("unknown field `{key}`")),
    })
}

pub(super) fn read<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, String> {
    let read = value.try_into();
    read.map_err(|e: toml::de::Error| format!("{key}: {}", e.message()))
}

pub(super) fn span(key: &str, value: Value) -> Result<Duration, String> {
    read(key, value).map(|Span(span)| span)
}

fn parsed<T: FromStr<Err = Error>>(key: &str, value: Value) -> Result<T, String> {
    let text: String = read(key, value)?;
    text.parse().map_err(|e: Error| e.to_string())
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Next {
    #[serde(rename = "next")]
    pub consumer: String,
    /// A name of the delivery, beside its body.
    #[serde(default, rename = "as")]
    names: Vec<String>,
    pub expect: Option<Vec<Seen>>,
    pub count: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    #[serde(rename = "consumer_status")]
    pub consumer: String,
    expect: Expected,
}

/// What a consumer's status comes to say. What is not said may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    ready: Option<bool>,
    in_hand: Option<u64>,
    prefetched: Option<u64>,
    concurrency: Option<u64>,
    sessions: Option<u64>,
    paused: Option<bool>,
    over_memory: Option<bool>,
    /// As [`BreakerState::name`] says it.
    breaker: Option<String>,
}

impl Expected {
    fn check(&self, got: &ConsumerStatus) -> Checked<()> {
        check_value("ready", self.ready, got.ready)?;
        check_value("in_hand", self.in_hand, got.in_hand)?;
        check_value("prefetched", self.prefetched, got.prefetched)?;
        check_value("concurrency", self.concurrency, got.concurrency)?;
        check_value("sessions", self.sessions, got.sessions)?;
        check_value("paused", self.paused, got.paused)?;
        check_value("over_memory", self.over_memory, got.over_memory)?;
        let breaker = self.breaker.as_deref();
        check_value("breaker", breaker, BreakerState::name(got.breaker))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancelled {
    #[serde(rename = "cancelled")]
    pub delivery: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    None,
    LockLost,
    Stalled,
    Drained,
}

impl From<Option<CancelCause>> for Cause {
    fn from(cause: Option<CancelCause>) -> Self {
        match cause {
            None => Self::None,
            Some(CancelCause::LockLost) => Self::LockLost,
            Some(CancelCause::Stalled) => Self::Stalled,
            Some(CancelCause::Drained) => Self::Drained,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    #[serde(rename = "drain")]
    pub consumer: String,
    deadline: Span,
    expect: Option<Drained>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drained {
    finished: u64,
    released: u64,
    abandoned: u64,
}

impl From<DrainReport> for Drained {
    fn from(report: DrainReport) -> Self {
        Self {
            finished: report.finished,
            released: report.released,
            abandoned: report.abandoned,
        }
    }
}

impl World<'_> {
    pub(super) fn intake(&self, name: &str) -> Checked<Arc<Intake>> {
        let intake = self.consumers.get(name).cloned();
        intake.ok_or_else(|| format!("there is no consumer {name:?}"))
    }

    /// Begins a verb of a consumer, or of what it handed out.
    pub fn begin_of_consumer(&self, action: &Action) -> Checked<Going> {
        Ok(match action {
            Action::Next(next) => {
                let intake = self.intake(&next.consumer)?;
                intake.consumer()?;
                going(async move {
                    let Intake::Consumer(consumer) = &*intake else {
                        return Ok(Came::Deliveries(Vec::new()));
                    };
                    let delivery = consumer.next().await;
                    // Where it ended for want of its session, other languages fail.
                    let lost = |error: &Error| error.kind() == ErrorKind::SessionLockLost;
                    match consumer.status().failure.filter(lost) {
                        Some(error) if delivery.is_none() => Err(error),
                        _ => Ok(Came::Deliveries(delivery.into_iter().collect())),
                    }
                })
            }
            Action::ConsumerStatus(status) => {
                let consumer = self.intake(&status.consumer)?;
                let expected = status.expect.clone();
                going(async move {
                    // It gets there in the background; what it must not be is seen by who asks.
                    let end = Instant::now() + PATIENCE / 2;
                    while expected.check(&consumer.status()).is_err() && Instant::now() < end {
                        tokio::time::sleep(LOOK).await;
                    }
                    Ok(Came::ConsumerStatus(consumer.status()))
                })
            }
            Action::Cancelled(cancelled) => {
                let delivery = self.delivery(&cancelled.delivery)?;
                let waits = cancelled.cause != Cause::None;
                going(async move {
                    if waits {
                        delivery.cancelled().await;
                    }
                    Ok(Came::Cancelled(delivery.cancel_cause()))
                })
            }
            Action::Drain(drain) => {
                let consumer = self.intake(&drain.consumer)?;
                let deadline = drain.deadline.0;
                going(async move { Ok(Came::Drained(consumer.drain(deadline).await)) })
            }
            Action::Stop(name) => {
                let intake = self.intake(name)?;
                intake.consumer()?;
                going(async move {
                    if let Intake::Consumer(consumer) = &*intake {
                        consumer.stop().await;
                    }
                    Ok(Came::Nothing)
                })
            }
            Action::Pause(name) => {
                self.intake(name)?.pause();
                going(async { Ok(Came::Nothing) })
            }
            Action::Resume(name) => {
                self.intake(name)?.resume();
                going(async { Ok(Came::Nothing) })
            }
            Action::ResetBreaker(name) => {
                self.intake(name)?.reset_breaker();
                going(async { Ok(Came::Nothing) })
            }
            other => return Err(format!("{other:?} is no verb of a consumer")),
        })
    }

    /// Compares what came of a verb that is about consumers with what must.
    pub fn finish_of_consumer(&mut self, action: &Action, came: Came) -> Checked<()> {
        match (action, came) {
            (
                Action::Consume(Consume { name, .. }) | Action::Work(Work { name, .. }),
                Came::Intake(intake),
            ) => {
                self.consumers.insert(name.clone(), Arc::new(intake));
                Ok(())
            }
            (Action::Next(next), Came::Deliveries(deliveries)) => {
                check_value("the number of deliveries", next.count, deliveries.len())?;
                if let Some(wanted) = &next.expect {
                    self.check_deliveries(wanted, &deliveries, false)?;
                }
                self.name_deliveries(&next.names, deliveries);
                Ok(())
            }
            (Action::ConsumerStatus(status), Came::ConsumerStatus(got)) => {
                status.expect.check(&got)
            }
            (Action::Cancelled(cancelled), Came::Cancelled(got)) => {
                check_value("the cause", Some(cancelled.cause), got.into())
            }
            (Action::Drain(drain), Came::Drained(report)) => {
                check_value("the report", drain.expect, report.into())
            }
            (_, _) => Ok(()),
        }
    }
}
