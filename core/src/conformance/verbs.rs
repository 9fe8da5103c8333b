//! The verbs of a provider: begun here, and what came of them compared with what must.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::arguments::{AcceptNext, Outgoing, Receive, Redriven, Seen};
use super::check::{Sight, check_counts, check_end, check_explained, check_seen, check_value};
use super::consumers::{Consume, Intake};
use super::dead_letter_statistics::check_counted;
use super::producers::check_report;
use super::step::{Action, Mode, Step};
use super::workers::Call;
use super::world::{Checked, World, remove};
use crate::clock::Timestamp;
use crate::consumer::{CancelCause, ConsumerStatus, DrainReport};
use crate::dead_letter::{DeadLetter, DeadLetterStatistics, RedriveOptions, RedriveReport};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::message::SendResult;
use crate::producer::{Producer, ProducerReport};
use crate::queue::explain::MessageExplanation;
use crate::queue::{Peeked, Queue, ReceiveOptions, SessionOptions, Statistics};
use crate::sessions::Session;

/// A verb on its way.
pub(super) type Going = Pin<Box<dyn Future<Output = Result<Came>> + Send>>;

/// What came of a verb.
pub(super) enum Came {
    Nothing,
    Sent(Vec<Result<SendResult>>),
    Deliveries(Vec<Delivery>),
    /// Of each entry of a batch.
    Each(Vec<Result<()>>),
    Session(Option<Session>),
    Locked(Timestamp),
    State(Option<Bytes>),
    Peeked(Vec<Peeked>),
    DeadLetters(Vec<DeadLetter>),
    Redriven(RedriveReport),
    Purged(u64),
    Statistics(Statistics),
    DeadLetterStatistics(DeadLetterStatistics),
    Explained(MessageExplanation),
    Intake(Intake),
    ConsumerStatus(ConsumerStatus),
    Cancelled(Option<CancelCause>),
    Drained(DrainReport),
    Call(Option<Call>),
    Producer(Producer),
    Produced(ProducerReport),
}

pub(super) fn going(verb: impl Future<Output = Result<Came>> + Send + 'static) -> Going {
    Box::pin(verb)
}

impl World<'_> {
    /// Begins a verb. An error of the provider is the verb's; the error here is the scenario's.
    pub async fn begin(&mut self, step: &Step) -> Checked<Going> {
        Ok(match &step.action {
            Action::Settle(settle) if is_placed(step) => {
                let delivery = self.delivery(&settle.delivery)?;
                let settlement = delivery.settlement(settle.verb.clone());
                let queue = self.queue(step).await;
                going(async move {
                    let results = queue?.settle(vec![settlement]).await?;
                    results.into_iter().collect::<Result<()>>()?;
                    Ok(Came::Nothing)
                })
            }
            Action::Settle(settle) => {
                let delivery = self.delivery(&settle.delivery)?;
                let verb = settle.verb.clone();
                going(async move {
                    delivery.settle(verb).await?;
                    Ok(Came::Nothing)
                })
            }
            Action::Extend(extend) => {
                let delivery = self.delivery(&extend.delivery)?;
                let lock = extend.lock.0;
                going(async move {
                    delivery.extend(lock).await?;
                    Ok(Came::Locked(delivery.locked_until()))
                })
            }
            Action::Receive(receive) if receive.from.is_some() => {
                let session = self.session(receive.from.as_deref().unwrap_or_default())?;
                let options = receive_options(receive);
                going(async move { session.receive(&options).await.map(Came::Deliveries) })
            }
            Action::Renew(renew) => {
                let session = self.session(&renew.session)?;
                let lock = renew.lock.map(|lock| lock.0);
                going(async move {
                    session.renew_for(lock).await?;
                    Ok(Came::Locked(session.locked_until()))
                })
            }
            Action::CloseSession(name) => {
                let session = remove(&mut self.sessions, name)?;
                let session = Arc::into_inner(session).ok_or("a receive goes on in it")?;
                going(async move {
                    session.close().await?;
                    Ok(Came::Nothing)
                })
            }
            Action::State(state) => {
                let session = self.session(&state.session)?;
                going(async move { session.state().await.map(Came::State) })
            }
            Action::SetState(set) => {
                let session = self.session(&set.session)?;
                let to = set.to.as_ref().map(|body| body.bytes.clone());
                going(async move {
                    session.set_state(to).await?;
                    Ok(Came::Nothing)
                })
            }
            Action::Connect(connect) => {
                let connected = self.connect(connect).await;
                going(async move { connected.map(|()| Came::Nothing) })
            }
            Action::CloseClient(name) => {
                let client = self.client(name).await;
                going(async move {
                    client?.close().await?;
                    Ok(Came::Nothing)
                })
            }
            Action::Next(_)
            | Action::Drain(_)
            | Action::Stop(_)
            | Action::Pause(_)
            | Action::Resume(_)
            | Action::ResetBreaker(_) => self.begin_of_consumer(&step.action)?,
            Action::Call(_) | Action::Return(_) => self.begin_of_worker(&step.action)?,
            Action::Send(outgoing) if outgoing.by.is_some() => {
                self.begin_of_producer(&step.action)?
            }
            Action::Flush(_) | Action::CloseProducer(_) => self.begin_of_producer(&step.action)?,
            Action::Consume(Consume {
                from: Some(from),
                options,
                ..
            }) => {
                let consumer = self.session(from)?.consume(options.clone());
                going(async move { consumer.map(Intake::Consumer).map(Came::Intake) })
            }
            Action::ConsumerStatus(_) | Action::Cancelled(_) => {
                // What was woken before, and what is due, has its turn first.
                self.turn().await;
                self.begin_of_consumer(&step.action)?
            }
            _ => match self.queue(step).await {
                Ok(queue) => self.begin_on(queue, step)?,
                Err(error) => going(async move { Err(error) }),
            },
        })
    }

    /// Begins a verb of a queue.
    fn begin_on(&self, queue: Queue, step: &Step) -> Checked<Going> {
        Ok(match &step.action {
            Action::Send(outgoing) => {
                let message = outgoing.message.clone();
                going(async move { Ok(Came::Sent(vec![Ok(queue.send(message).await?)])) })
            }
            Action::SendMany(entries) => {
                let messages: Vec<_> = entries.iter().map(|e| e.message.clone()).collect();
                going(async move { queue.send_many(messages).await.map(Came::Sent) })
            }
            Action::Receive(receive) => {
                let options = receive_options(receive);
                // A receive of one has its own way through the library; it is to be seen, too.
                let one = (receive.max == 1 && receive.lock.is_none()).then_some(receive.wait.0);
                let wanted = match step.mode {
                    Mode::Now => receive.wanted(),
                    _ => 0,
                };
                let slack = self.slack;
                going(async move {
                    let mut deliveries = match one {
                        Some(wait) => Vec::from_iter(queue.receive_one(wait).await?),
                        None => queue.receive(&options).await?,
                    };
                    collect(&queue, options, &mut deliveries, wanted, slack).await?;
                    Ok(Came::Deliveries(deliveries))
                })
            }
            Action::SettleMany(entries) => {
                let mut settlements = Vec::new();
                for entry in entries {
                    let delivery = self.delivery(&entry.delivery)?;
                    settlements.push(delivery.settlement(entry.verb.clone()));
                }
                going(async move { queue.settle(settlements).await.map(Came::Each) })
            }
            Action::ExtendMany(extend) => {
                let mut receipts = Vec::new();
                for entry in &extend.entries {
                    receipts.push(self.delivery(&entry.delivery)?.receipt().clone());
                }
                let lock = extend.lock.0;
                going(async move {
                    let results = queue.extend(receipts, lock).await?;
                    Ok(Came::Each(
                        results.into_iter().map(|r| r.map(drop)).collect(),
                    ))
                })
            }
            Action::Accept(accept) => {
                let options = SessionOptions::id(&*accept.id);
                let options = with_lock(options, accept.lock.map(|lock| lock.0));
                going(async move { queue.accept_session(options).await.map(Came::Session) })
            }
            Action::AcceptNext(accept) => {
                let options = SessionOptions::next().wait(accept.wait.0);
                let options = with_lock(options, accept.lock.map(|lock| lock.0));
                going(async move { queue.accept_session(options).await.map(Came::Session) })
            }
            Action::Peek(peek) => {
                let (after, max) = (self.cursor(&peek.after)?, peek.max);
                going(async move { queue.peek(after, max).await.map(Came::Peeked) })
            }
            Action::DeadLetters(list) => {
                let filter = self.filter(&list.filter)?;
                let (after, max) = (self.cursor(&list.after)?, list.max);
                going(async move {
                    let letters = queue.dead_letters(filter, after, max).await?;
                    Ok(Came::DeadLetters(letters))
                })
            }
            Action::Redrive(redrive) => {
                let options = RedriveOptions {
                    filter: self.filter(&redrive.filter)?,
                    max: redrive.max,
                    per_second: redrive.per_second,
                    dry_run: redrive.dry_run,
                    after: self.cursor(&redrive.after)?,
                };
                going(async move { queue.redrive(options).await.map(Came::Redriven) })
            }
            Action::Purge(purge) => {
                let filter = self.filter(&purge.filter)?;
                going(async move { queue.purge_dead_letters(filter).await.map(Came::Purged) })
            }
            Action::Statistics(_) => {
                going(async move { queue.statistics().await.map(Came::Statistics) })
            }
            Action::DeadLetterStatistics(count) => {
                let filter = self.filter(&count.filter)?;
                going(async move {
                    let statistics = queue.dead_letter_statistics(filter).await?;
                    Ok(Came::DeadLetterStatistics(statistics))
                })
            }
            Action::Explain(explain) => {
                let id = self.context().id_of(&explain.body)?;
                going(async move { queue.explain_message(&id).await.map(Came::Explained) })
            }
            Action::Consume(consume) => {
                let consumer = queue.consume(consume.options.clone());
                going(async move { consumer.map(Intake::Consumer).map(Came::Intake) })
            }
            Action::Work(work) => {
                let worker = work.clone().start(&queue);
                going(async move { worker.map(Came::Intake) })
            }
            Action::Produce(produce) => {
                let producer = queue.producer(produce.options);
                going(async move { producer.map(Came::Producer) })
            }
            Action::Create => going(async move {
                queue.create().await?;
                Ok(Came::Nothing)
            }),
            other => return Err(format!("{other:?} is no verb of a queue")),
        })
    }

    /// Compares what came of a verb with what must, and keeps what later steps call by name.
    pub fn finish(&mut self, step: &Step, came: Result<Came>) -> Checked<()> {
        let Some(came) = check_end(step.error.as_ref(), came, &self.context())? else {
            return Ok(());
        };
        match (&step.action, came) {
            (Action::Send(outgoing), Came::Sent(results)) => {
                self.check_sent(std::slice::from_ref(outgoing), results)
            }
            (Action::SendMany(entries), Came::Sent(results)) => self.check_sent(entries, results),
            (Action::Receive(receive), Came::Deliveries(deliveries)) => {
                check_value("the number of deliveries", receive.count, deliveries.len())?;
                if let Some(wanted) = &receive.expect {
                    self.check_deliveries(wanted, &deliveries, receive.any_order)?;
                }
                self.name_deliveries(&receive.names, deliveries);
                Ok(())
            }
            (Action::SettleMany(entries), Came::Each(results)) => {
                self.check_each(entries.iter().map(|e| e.error.as_ref()), results)
            }
            (Action::ExtendMany(extend), Came::Each(results)) => {
                self.check_each(extend.entries.iter().map(|e| e.error.as_ref()), results)
            }
            (Action::Extend(extend), Came::Locked(until)) => {
                self.check_until(extend.locked_until, until)
            }
            (Action::Renew(renew), Came::Locked(until)) => {
                self.check_until(renew.locked_until, until)
            }
            (Action::Accept(accept), Came::Session(session)) => {
                let session = session.ok_or("no session came")?;
                check_value("the session", Some(accept.id.as_str()), session.id())?;
                self.check_until(accept.locked_until, session.locked_until())?;
                let name = accept.name.as_ref().unwrap_or(&accept.id).clone();
                self.sessions.insert(name, Arc::new(session));
                Ok(())
            }
            (Action::AcceptNext(accept), Came::Session(session)) => {
                self.check_next(accept, session)
            }
            (Action::State(state), Came::State(got)) => {
                let wanted = state.expect.first().map(|body| body.bytes.clone());
                check_value("the state", Some(wanted), got)
            }
            (Action::Peek(peek), Came::Peeked(peeked)) => {
                let sights: Vec<Sight> = peeked.iter().map(Sight::from).collect();
                let cursors = peeked
                    .iter()
                    .map(|p| (p.message.body().to_vec(), p.sequence));
                self.cursors.extend(cursors);
                check_seen(
                    peek.expect.as_deref().unwrap_or_default(),
                    &sights,
                    false,
                    &self.context(),
                )
            }
            (Action::DeadLetters(list), Came::DeadLetters(letters)) => {
                let sights: Vec<Sight> = letters.iter().map(Sight::from).collect();
                let cursors = letters
                    .iter()
                    .map(|l| (l.message.body().to_vec(), l.number));
                self.cursors.extend(cursors);
                check_seen(
                    list.expect.as_deref().unwrap_or_default(),
                    &sights,
                    false,
                    &self.context(),
                )
            }
            (Action::Redrive(redrive), Came::Redriven(report)) => {
                let got = Redriven {
                    matched: report.matched,
                    redriven: report.redriven,
                    failed: report.failed.len() as u64,
                };
                check_value("the report", redrive.expect.clone(), got)
            }
            (Action::Purge(purge), Came::Purged(count)) => {
                check_value("the count", purge.expect, count)
            }
            (Action::Statistics(counts), Came::Statistics(got)) => check_counts(counts, &got),
            (Action::DeadLetterStatistics(count), Came::DeadLetterStatistics(got)) => {
                match &count.expect {
                    Some(wanted) => check_counted(wanted, &got, &self.context()),
                    None => Ok(()),
                }
            }
            (Action::Explain(explain), Came::Explained(got)) => match &explain.expect {
                Some(wanted) => check_explained(wanted, &got, &self.context()),
                None => Ok(()),
            },
            (Action::Call(wanted), Came::Call(call)) => self.check_call(wanted, call),
            (Action::Produce(produce), Came::Producer(producer)) => {
                self.producers.insert(produce.name.clone(), producer);
                Ok(())
            }
            (Action::CloseProducer(close), Came::Produced(report)) => check_report(close, &report),
            (action, came) => self.finish_of_consumer(action, came),
        }
    }

    fn check_sent(
        &mut self,
        entries: &[Outgoing],
        results: Vec<Result<SendResult>>,
    ) -> Checked<()> {
        check_value("the number of results", Some(entries.len()), results.len())?;
        for (index, (entry, result)) in entries.iter().zip(results).enumerate() {
            let placed = |e| format!("message {}: {e}", index + 1);
            let sent = check_end(entry.error.as_ref(), result, &self.context()).map_err(placed)?;
            if let Some(sent) = sent {
                self.check_stored(entry, sent).map_err(placed)?;
            }
        }
        Ok(())
    }

    fn check_stored(&mut self, entry: &Outgoing, sent: SendResult) -> Checked<()> {
        check_value(
            "duplicate",
            Some(entry.duplicate_of.is_some()),
            sent.is_duplicate(),
        )?;
        if let Some(first) = &entry.duplicate_of {
            let first = self.context().id_of(first)?;
            return check_value("the id", Some(first), sent.id);
        }
        match &entry.message.properties().id {
            Some(id) => check_value("the id", Some(id), &sent.id)?,
            None if sent.id.to_string().is_empty() => return Err("the id is empty".to_owned()),
            None if !self.made.insert(sent.id.clone()) => {
                return Err(format!("the id {} was given before", sent.id));
            }
            None => {}
        }
        self.ids.insert(entry.name.clone(), sent.id);
        Ok(())
    }

    pub(super) fn check_deliveries(
        &self,
        wanted: &[Seen],
        deliveries: &[Delivery],
        any_order: bool,
    ) -> Checked<()> {
        let sights: Vec<Sight> = deliveries.iter().map(Sight::from).collect();
        check_seen(wanted, &sights, any_order, &self.context())
    }

    /// Keeps deliveries under these names, and under their bodies.
    pub(super) fn name_deliveries(&mut self, names: &[String], deliveries: Vec<Delivery>) {
        for (index, delivery) in deliveries.into_iter().enumerate() {
            let delivery = Arc::new(delivery);
            if let Some(name) = names.get(index) {
                self.deliveries.insert(name.clone(), delivery.clone());
            }
            let body = String::from_utf8_lossy(delivery.body()).into_owned();
            self.deliveries.insert(body, delivery);
        }
    }

    fn check_next(&mut self, accept: &AcceptNext, session: Option<Session>) -> Checked<()> {
        let got: Vec<String> = session.iter().map(|s| s.id().to_owned()).collect();
        check_value("the session", accept.expect.clone(), got)?;
        if let Some(session) = session {
            let name = accept
                .name
                .clone()
                .unwrap_or_else(|| session.id().to_owned());
            self.sessions.insert(name, Arc::new(session));
        }
        Ok(())
    }

    fn check_each<'e>(
        &self,
        wanted: impl ExactSizeIterator<Item = Option<&'e super::arguments::Failure>>,
        results: Vec<Result<()>>,
    ) -> Checked<()> {
        check_value("the number of results", Some(wanted.len()), results.len())?;
        for (index, (wanted, result)) in wanted.zip(results).enumerate() {
            check_end(wanted, result, &self.context())
                .map_err(|e| format!("entry {}: {e}", index + 1))?;
        }
        Ok(())
    }

    fn check_until(&self, wanted: Option<super::arguments::Span>, got: Timestamp) -> Checked<()> {
        let wanted = wanted.map(|span| self.context().moment(span));
        check_value("the end of the lock", wanted, got)
    }
}

/// Whether a settlement is sent through a queue that the step names, instead of its delivery's.
fn is_placed(step: &Step) -> bool {
    step.client.is_some() || step.queue.is_some()
}

fn receive_options(receive: &Receive) -> ReceiveOptions {
    let options = ReceiveOptions::new()
        .max_messages(receive.max)
        .wait(receive.wait.0);
    match receive.lock {
        Some(lock) => options.lock(lock.0),
        None => options,
    }
}

fn with_lock(options: SessionOptions, lock: Option<Duration>) -> SessionOptions {
    match lock {
        Some(lock) => options.lock(lock),
        None => options,
    }
}

/// Receives what is still missing from a server that may be late.
async fn collect(
    queue: &Queue,
    options: ReceiveOptions,
    deliveries: &mut Vec<Delivery>,
    wanted: usize,
    slack: Duration,
) -> Result<()> {
    let end = Instant::now() + slack;
    while deliveries.len() < wanted && Instant::now() < end {
        let missing = (wanted - deliveries.len()) as u32;
        let options = options
            .clone()
            .max_messages(missing)
            .wait(Duration::from_secs(1));
        deliveries.extend(queue.receive(&options).await?);
    }
    Ok(())
}
