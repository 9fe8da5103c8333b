//! What every verb of a queue works with, and the polls, which outlive the verbs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName as System;
use tokio::sync::oneshot;

use super::call::Link;
use super::credits::Credits;
use super::envelope::{Arrived, Kind};
use super::in_flight::{Held, InFlight, LONGEST};
use super::options::Options;
use super::polls::{Brought, Desk, LINGER};
use super::receive::Ask;
use super::remote::{Part, Remote};
use super::send::Duplicates;
use super::sessions::Sessions;
use crate::clock::{Tick, Timestamp};
use crate::config::{OnExpiry, QueueDefinition, QueueOptions};
use crate::dead_letter::reason;
use crate::error::{Error, Result};
use crate::provider::{DeadLetterPlace, Moment, Received, Terms};
use crate::reply::Reply;
use crate::runtime::Tasks;
use crate::settlement::Receipt;

/// The pause after a poll that SQS ended empty too early: nobody asks in a tight loop.
const EARLY: Duration = Duration::from_millis(500);

/// One client's view of a queue.
pub(super) struct Work {
    /// Its name as the source of dead letters, however it was opened.
    pub(super) source: Arc<str>,
    pub(super) definition: QueueDefinition,
    pub(super) options: QueueOptions,
    pub(super) settings: Arc<Options>,
    pub(super) link: Link,
    pub(super) tasks: Tasks,
    pub(super) shared: Arc<Shared>,
}

/// What the views of a queue in one runtime share.
pub(super) struct Shared {
    pub(super) kind: Kind,
    /// The queues of SQS: one, or its shards.
    pub(super) parts: Vec<Part>,
    pub(super) in_flight: InFlight,
    pub(super) credits: Credits,
    pub(super) desk: Desk,
    pub(super) sessions: Sessions,
    pub(super) duplicates: Duplicates,
}

impl Work {
    /// Does a piece of work on the runtime's threads. It goes on to its end when nobody waits for
    /// it any more.
    pub(super) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Reply<T> {
        let (sender, receiver) = oneshot::channel();
        self.tasks.spawn(async move {
            let _ = sender.send(work.await);
        });
        Reply::later(async move {
            receiver
                .await
                .unwrap_or_else(|_| Err(Error::closed("runtime")))
        })
    }

    pub(super) fn now(&self) -> Tick {
        self.tasks.clock().now()
    }

    pub(super) fn calendar(&self) -> Timestamp {
        self.tasks.clock().timestamp(self.now())
    }

    /// A queue of SQS, looked up and fit for what this client asks.
    pub(super) async fn remote(&self, part: usize) -> Result<&Remote> {
        let remote = self.shared.parts[part].remote(&self.link).await?;
        match (self.options.budget, remote.max_receives) {
            (Some(budget), Some(receives)) if budget > receives => Err(Error::invalid_config(
                "budget",
                format!(
                    "is {budget}, but the queue's redrive policy gives up after {receives} receives"
                ),
            )),
            _ => Ok(remote),
        }
    }

    /// Deliveries that a message may use: ours, or SQS's if that is less.
    pub(super) fn budget(&self, remote: &Remote) -> u32 {
        self.definition
            .budget
            .min(remote.max_receives.unwrap_or(u32::MAX))
    }

    /// What the queue holds to: its redrive policy, and what SQS does to times.
    pub(super) async fn terms(self: Arc<Self>) -> Result<Terms> {
        let lock = self.lock(None).await?;
        let remote = self.remote(0).await?;
        Ok(Terms {
            lock: Some(Duration::from_secs(u64::from(lock))),
            max_receives: remote.max_receives,
            dead_letters: match &remote.dead_letters {
                Some(queue) => DeadLetterPlace::Queue(queue.name.clone()),
                None => DeadLetterPlace::Nowhere,
            },
            longest_wait: Some(LONGEST),
            wait_step: Duration::from_secs(1),
            ..Terms::default()
        })
    }

    /// How long messages are locked, in the whole seconds of SQS: as asked, as configured, as the
    /// queue says, or by default.
    pub(super) fn lock(self: &Arc<Self>, asked: Option<Duration>) -> Reply<u32> {
        if let Some(lock) = asked.or(self.options.lock).or(self.settings.lock) {
            return Reply::now(Ok(seconds(lock)));
        }
        let work = self.clone();
        let of_queue = move |remote: &Remote| {
            let lock = remote.lock.filter(|lock| !lock.is_zero());
            seconds(lock.unwrap_or(work.definition.lock))
        };
        if let Some(remote) = self.shared.parts[0].known() {
            return Reply::now(Ok(of_queue(remote)));
        }
        let work = self.clone();
        self.run(async move { work.remote(0).await.map(of_queue) })
    }

    /// Begins a poll that goes on to its end whatever becomes of the receive.
    pub(super) fn begin_poll(self: &Arc<Self>, poll: u64, ask: Ask) {
        let work = self.clone();
        self.tasks.spawn(async move {
            let brought = work.poll(ask).await;
            let brought = brought.map(|brought| Brought {
                messages: work.deal(brought.messages),
                full: brought.full,
            });
            let unread = work.shared.desk.end(poll, brought, work.now());
            work.put_aside(unread, ask.lock);
        });
    }

    /// Keeps messages for a moment, and gives back what nobody fetches.
    pub(super) fn put_aside(self: &Arc<Self>, messages: Vec<Box<Received>>, lock: u32) {
        if messages.is_empty() {
            return;
        }
        let since = self.now();
        self.shared.desk.put_aside(messages, lock, since);
        let work = self.clone();
        self.tasks.spawn(async move {
            work.tasks.sleep_until(since + LINGER).await;
            let stale = work.shared.desk.take_stale(since);
            work.give_back(
                stale
                    .iter()
                    .map(|received| received.receipt.clone())
                    .collect(),
            )
            .await;
        });
    }

    async fn poll(self: &Arc<Self>, ask: Ask) -> Result<Brought> {
        let remote = self.remote(ask.part).await?;
        // The same for every try: SQS then answers the same messages again, not further ones.
        let attempt = super::envelope::unasked();
        let sqs = &self.link.sqs;
        let request = || {
            let mut request = sqs
                .receive_message()
                .queue_url(&remote.url)
                .max_number_of_messages(ask.most as i32)
                .wait_time_seconds(ask.wait as i32)
                .visibility_timeout(ask.lock as i32)
                .message_attribute_names("All")
                .message_system_attribute_names(System::ApproximateReceiveCount)
                .message_system_attribute_names(System::ApproximateFirstReceiveTimestamp)
                .message_system_attribute_names(System::SentTimestamp)
                .message_system_attribute_names(System::MessageGroupId);
            if self.shared.kind == Kind::Fifo {
                request = request
                    .message_system_attribute_names(System::SequenceNumber)
                    .message_system_attribute_names(System::MessageDeduplicationId)
                    .receive_request_attempt_id(&attempt);
            }
            request.send()
        };
        let wait = Duration::from_secs(ask.wait);
        let begun = self.now();
        let answer = self.link.poll("ReceiveMessage", wait, request).await?;
        let arrived: Vec<Arrived> = answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(Arrived::read)
            .collect();
        let full = arrived.len() >= ask.most;
        if arrived.is_empty() && self.now().since(begun) < wait / 2 {
            self.tasks.sleep_until(begun + EARLY.min(wait)).await;
        }
        let messages = self.look_through(arrived, ask, remote).await;
        Ok(Brought { messages, full })
    }

    /// Hands over what can be worked on. What is not due goes on its way, what is over goes away.
    async fn look_through(
        self: &Arc<Self>,
        arrived: Vec<Arrived>,
        ask: Ask,
        remote: &Remote,
    ) -> Vec<Box<Received>> {
        let (now, calendar) = (self.now(), self.calendar());
        let until = now + Duration::from_secs(u64::from(ask.lock));
        let mut messages = Vec::with_capacity(arrived.len());
        let (mut early, mut expired, mut crashed) = (Vec::new(), Vec::new(), Vec::new());
        for arrived in arrived {
            let attempt = self
                .shared
                .credits
                .attempt(&arrived.sqs_id, arrived.receives);
            let is_over = arrived
                .extra
                .expires_at
                .is_some_and(|end| end <= calendar.0);
            let is_early = arrived
                .extra
                .not_before
                .is_some_and(|start| start > calendar.0);
            let is_spent = attempt > self.budget(remote) && remote.dead_letters.is_some();
            let received = received(&arrived, attempt, until);
            let held = Held {
                arrived,
                attempt,
                part: ask.part,
                received_at: now,
                until,
                session: None,
            };
            match (is_over, is_early, is_spent) {
                (true, ..) => expired.push(held),
                (_, true, _) => early.push(held),
                (_, _, true) => crashed.push(Held {
                    attempt: attempt - 1,
                    ..held
                }),
                _ => {
                    self.shared.in_flight.add(held, now);
                    messages.push(received);
                }
            }
        }
        if !early.is_empty() {
            self.hop(early, remote).await;
        }
        if !expired.is_empty() {
            match self.definition.on_expiry {
                OnExpiry::Drop => self.delete_in_silence(expired).await,
                OnExpiry::DeadLetter => self.bury(expired, reason::EXPIRED).await,
            }
        }
        if !crashed.is_empty() {
            self.bury(crashed, reason::CRASHED).await;
        }
        messages
    }
}

fn received(arrived: &Arrived, attempt: u32, until: Tick) -> Box<Received> {
    Box::new(Received {
        id: arrived.id.clone(),
        message: arrived.message.clone(),
        receipt: Receipt::Text(arrived.handle.clone()),
        attempt,
        sequence: arrived.sequence.unwrap_or(0),
        enqueued_at: Moment::Timestamp(arrived.enqueued_at),
        locked_until: Moment::Tick(until),
    })
}

/// In the whole seconds of SQS, rounded up; a lock of none would be none.
pub(super) fn seconds(duration: Duration) -> u32 {
    (duration.as_secs_f64().ceil() as u32).max(1)
}
