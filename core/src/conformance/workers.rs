//! Workers: the calls of a handler are seen by the scenario, which says how each ends.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Mutex, oneshot};
use toml::Table;

use super::arguments::{Body, Seen};
use super::check::check_value;
use super::consumers::{Intake, read, set, span};
use super::step::Action;
use super::verbs::{Came, Going, going};
use super::world::{Checked, World};
use crate::consumer::{Batch, BatchOptions, ConsumerOptions, Failure};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::queue::Queue;

/// A worker to be started.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub name: String,
    options: ConsumerOptions,
    /// Of a handler of batches.
    batches: Option<BatchOptions>,
}

impl Work {
    /// Reads what is left of a step without what every step may say.
    pub fn read(table: Table) -> std::result::Result<Self, String> {
        let mut work = Self {
            name: String::new(),
            options: ConsumerOptions::new(),
            batches: None,
        };
        let (mut least, mut most, mut target) = (None, None, None);
        for (key, value) in table {
            let batches = work.batches.unwrap_or_default();
            let batches = match &*key {
                "batch_size" => batches.batch_size(*most.insert(read(&key, value)?)),
                "batch_bytes" => batches.batch_bytes(read(&key, value)?),
                "batch_linger" => batches.batch_linger(span(&key, value)?),
                "batch_concurrency" => batches.batch_concurrency(read(&key, value)?),
                "min_batch_size" => {
                    least = Some(read(&key, value)?);
                    batches
                }
                "target_batch_duration" => {
                    target = Some(span(&key, value)?);
                    batches
                }
                "work" => {
                    work.name = read(&key, value)?;
                    continue;
                }
                _ => {
                    work.options = set(work.options, &key, value)?;
                    continue;
                }
            };
            work.batches = Some(batches);
        }
        work.batches = match (least, most, target) {
            (None, _, None) => work.batches,
            (Some(least), Some(most), Some(target)) => {
                work.batches.map(|b| b.adaptive(least, most, target))
            }
            _ => return Err("sizes adapt between two, to a duration".to_owned()),
        };
        Ok(work)
    }

    pub fn start(self, queue: &Queue) -> Result<Intake> {
        let (calls, seen) = mpsc::unbounded_channel();
        let worker = match self.batches {
            Some(batches) => queue.process_batches(self.options, batches, move |batch| {
                called(&calls, Messages::Many(batch))
            }),
            None => queue.process(self.options, move |delivery| {
                let ended = called(&calls, Messages::One(delivery));
                async move {
                    let failed = ended.await?.pop();
                    failed.map_or(Ok(()), |(_, failure)| Err(failure))
                }
            }),
        };
        Ok(Intake::Worker(worker?, Mutex::new(seen).into()))
    }
}

/// The calls of a worker's handler, as they come.
pub(super) type Calls = Arc<Mutex<UnboundedReceiver<Call>>>;

/// A call of a handler. It ends when it is told which of its messages failed.
pub(super) struct Call {
    pub messages: Messages,
    end: oneshot::Sender<Vec<usize>>,
}

/// What a handler was given.
pub(super) enum Messages {
    One(Arc<Delivery>),
    Many(Arc<Batch>),
}

impl Deref for Messages {
    type Target = [Delivery];

    fn deref(&self) -> &[Delivery] {
        match self {
            Self::One(delivery) => std::slice::from_ref(delivery),
            Self::Many(batch) => batch,
        }
    }
}

/// Lets the scenario see a call, and waits until it says how that ends.
fn called(
    calls: &UnboundedSender<Call>,
    messages: Messages,
) -> impl Future<Output = std::result::Result<Vec<(usize, Failure)>, Failure>> + Send + use<> {
    let (end, ended) = oneshot::channel();
    // After the end of the scenario nobody looks.
    let _ = calls.send(Call { messages, end });
    async move {
        let failed = ended.await?.into_iter();
        Ok(failed
            .map(|position| (position, Failure::retry("as the scenario says")))
            .collect())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NextCall {
    #[serde(rename = "call")]
    pub worker: String,
    pub expect: Option<Vec<Seen>>,
    pub count: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Return {
    /// One of the messages of the call.
    #[serde(rename = "return")]
    message: Body,
    #[serde(default)]
    failed: Vec<Body>,
}

impl World<'_> {
    /// Begins a verb about the calls of a handler.
    pub fn begin_of_worker(&mut self, action: &Action) -> Checked<Going> {
        match action {
            Action::Call(call) => {
                let intake = self.intake(&call.worker)?;
                let Intake::Worker(_, calls) = &*intake else {
                    return Err("it is no worker".to_owned());
                };
                let calls = calls.clone();
                Ok(going(async move {
                    Ok(Came::Call(calls.lock().await.recv().await))
                }))
            }
            Action::Return(returning) => {
                self.end_call(returning)?;
                Ok(going(async { Ok(Came::Nothing) }))
            }
            other => Err(format!("{other:?} is no verb of a worker")),
        }
    }

    fn end_call(&mut self, returning: &Return) -> Checked<()> {
        let place = |call: &Call, body: &Body| {
            let position = call.messages.iter().position(|d| *d.body() == body.bytes);
            position.ok_or_else(|| format!("no call has the message {:?}", body.name))
        };
        let mut calls = self.calls.iter();
        let Some(call) = calls.position(|call| place(call, &returning.message).is_ok()) else {
            return Err(format!(
                "no call has the message {:?}",
                returning.message.name
            ));
        };
        let call = self.calls.remove(call);
        let failed = returning.failed.iter().map(|body| place(&call, body));
        let failed = failed.collect::<Checked<_>>()?;
        let told = call.end.send(failed);
        told.map_err(|_| "the handler was cancelled".to_owned())
    }

    /// Compares a call with what must be seen, and keeps it until it is to end.
    pub fn check_call(&mut self, wanted: &NextCall, call: Option<Call>) -> Checked<()> {
        let messages = call.as_ref().map_or(&[][..], |call| &call.messages);
        check_value("the number of messages", wanted.count, messages.len())?;
        if let Some(expect) = &wanted.expect {
            self.check_deliveries(expect, messages, false)?;
        }
        self.calls.extend(call);
        Ok(())
    }
}
