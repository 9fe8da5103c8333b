//! What an environment of Node holds: its clients, queues, sessions, deliveries and write-behinds,
//! each under a number, and its operations that go on.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use queue_runtime_bindings::{
    Client, Consumer, Delivery, Details, Ended, Events, Flags, Op, Output, Producer, Queue, Result,
    Runtime, Session, Started, Value, WriteBatch, WriteBehind,
};
use slab::Slab;

use crate::memory::{Page, Request, WORD};
use crate::reply::{self, Answer, Reply};
use crate::wake::Wake;

/// At most so many ended operations are taken at a time.
const ENDED: usize = 256;

/// What JavaScript calls. What it works on and its arguments are in the request.
pub type Verb = fn(&mut Link, &mut Request<'_>) -> Result<Outcome>;

/// What came of a verb.
pub enum Outcome {
    Ended(Answer),
    /// It goes on, under this number.
    Pending(usize),
    /// A reply from before, which found no room.
    Unwritten(Reply),
}

/// What the reply begins with; then come the place where it ends, and what belongs to it.
enum State {
    /// The answer.
    Ended = 0,
    /// The number of the operation, in place of the end.
    Pending = 1,
    /// The error.
    Failed = 2,
    /// How many bytes are wanted, in place of the end: the verb `again` writes the reply.
    NoRoom = 3,
}

pub struct Link {
    pub runtimes: Slab<Arc<Runtime>>,
    pub clients: Slab<Client>,
    pub queues: Slab<Queue>,
    pub sessions: Slab<Session>,
    pub consumers: Slab<Consumer>,
    pub producers: Slab<Producer>,
    pub deliveries: Slab<Delivery>,
    pub write_behinds: Slab<WriteBehind>,
    /// In the hands of sinks.
    pub write_batches: Slab<WriteBatch>,
    wake: Arc<Wake>,
    events: Option<Events>,
    pending: Slab<Pending>,
    /// Ended operations whose replies are not written yet.
    ended: VecDeque<(usize, Reply)>,
    /// A reply that found no room.
    unwritten: Option<Reply>,
}

/// An operation that goes on.
struct Pending {
    op: Box<dyn Cancel>,
    /// The deliveries it settles.
    settles: Vec<usize>,
    cancelled: bool,
}

trait Cancel {
    fn cancel(&self) -> Result<()>;
}

impl<T: Output> Cancel for Op<T> {
    fn cancel(&self) -> Result<()> {
        Op::cancel(self)
    }
}

impl Link {
    pub fn new(wake: Arc<Wake>) -> Self {
        Self {
            runtimes: Slab::new(),
            clients: Slab::new(),
            queues: Slab::new(),
            sessions: Slab::new(),
            consumers: Slab::new(),
            producers: Slab::new(),
            deliveries: Slab::new(),
            write_behinds: Slab::new(),
            write_batches: Slab::new(),
            wake,
            events: None,
            pending: Slab::new(),
            ended: VecDeque::new(),
            unwritten: None,
        }
    }

    /// Runs a verb and writes its reply.
    pub fn run(&mut self, verb: Verb, request: &mut Request<'_>, page: &mut Page<'_>) {
        let start = page.at();
        let run = || match verb(self, request) {
            Ok(Outcome::Pending(tag)) => {
                page.index(State::Pending as usize);
                page.index(tag);
            }
            Ok(Outcome::Ended(answer)) => self.write(Ok(answer), page),
            Ok(Outcome::Unwritten(reply)) => self.write(reply, page),
            Err(error) => self.write(Err(Details::clone(&error)), page),
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            page.back_to(start);
            self.write(Err(reply::panicked(&*panic)), page);
        }
    }

    /// Writes a reply, or that it finds no room.
    fn write(&mut self, reply: Reply, page: &mut Page<'_>) {
        let start = page.at();
        self.try_write(&reply, page);
        if !page.holds_all() {
            let wanted = page.at() - start;
            page.back_to(start);
            page.index(State::NoRoom as usize);
            page.index(wanted);
            self.unwritten = Some(reply);
        }
    }

    /// Writes a reply; keeps nothing of it if there is no room.
    fn try_write(&mut self, reply: &Reply, page: &mut Page<'_>) {
        let start = page.at();
        page.index(match reply {
            Ok(_) => State::Ended as usize,
            Err(_) => State::Failed as usize,
        });
        page.index(0);
        match reply {
            Ok(answer) => reply::write(answer, self, page),
            Err(error) => reply::write_error(error, page),
        }
        page.set(start + WORD, page.at() as f64);
    }

    /// The reply that found no room.
    pub fn again(&mut self, _: &mut Request<'_>) -> Result<Outcome> {
        let reply = self.unwritten.take();
        Ok(Outcome::Unwritten(reply.expect("a reply found no room")))
    }

    /// Lets operations of a runtime tell their ends. Those of one runtime tell those of all.
    pub fn listen(&mut self, runtime: &Runtime) -> Result<()> {
        if self.events.is_none() {
            let events = Events::new(runtime)?;
            let wake = self.wake.clone();
            events.set_wake(move || wake.call())?;
            self.events = Some(events);
        }
        Ok(())
    }

    /// What became of a verb that was begun, which settles these deliveries.
    pub fn begin<T>(&mut self, started: Result<Started<T>>, settles: &[usize]) -> Result<Outcome>
    where
        T: Output + 'static,
        Value: From<T>,
    {
        match started? {
            Started::Done(value) => Ok(Outcome::Ended(self.accept(value.into(), settles))),
            Started::Pending(op) => {
                let entry = self.pending.vacant_entry();
                let tag = entry.key();
                let events = self.events.as_ref().expect("a runtime is there");
                events.watch(&op, tag as u64)?;
                entry.insert(Pending {
                    op: Box::new(op),
                    settles: settles.to_vec(),
                    cancelled: false,
                });
                Ok(Outcome::Pending(tag))
            }
        }
    }

    /// Takes in what a verb gave.
    fn accept(&mut self, value: Value, settles: &[usize]) -> Answer {
        match value {
            Value::Client(client) => Answer::Number(self.clients.insert(client) as f64),
            Value::Session(session) => {
                Answer::Session(session.map(|session| self.sessions.insert(session)))
            }
            Value::WriteBehind(opened) => Answer::Number(self.write_behinds.insert(opened) as f64),
            Value::WriteBatch(batch) => {
                Answer::WriteBatch(batch.map(|batch| self.write_batches.insert(batch)))
            }
            value => {
                // What is settled is nobody's any more; what could not be may be tried again.
                for (index, slot) in settles.iter().enumerate() {
                    let settled = match &value {
                        Value::SettleResults(results) => results.get(index).is_ok(),
                        _ => true,
                    };
                    if settled {
                        self.deliveries.try_remove(*slot);
                    }
                }
                Answer::Value(value)
            }
        }
    }

    /// Asks an operation to end, which it may have done meanwhile.
    pub fn cancel(&mut self, request: &mut Request<'_>) -> Result<Outcome> {
        if let Some(pending) = self.pending.get_mut(request.index()) {
            pending.cancelled = true;
            pending.op.cancel()?;
        }
        Ok(Outcome::Ended(Answer::Nothing))
    }

    /// The replies of operations that have ended, as many as find room.
    pub fn drain(&mut self, _: &mut Request<'_>) -> Result<Outcome> {
        if self.ended.is_empty()
            && let Some(events) = &self.events
        {
            for ended in events.drain(ENDED) {
                let reply = self.end(ended);
                self.ended.push_back(reply);
            }
        }
        Ok(Outcome::Ended(Answer::Ended))
    }

    fn end(&mut self, Ended { tag, result }: Ended) -> (usize, Reply) {
        let tag = tag as usize;
        let pending = self.pending.remove(tag);
        let reply = match result {
            Ok(Value::Batch(batch)) if pending.cancelled => {
                // It came just before it was given up: nobody expects it.
                for delivery in batch.iter() {
                    let _ = delivery.release(None, Flags::None);
                }
                Err(reply::cancelled())
            }
            Ok(Value::Session(_)) if pending.cancelled => Err(reply::cancelled()),
            Ok(Value::WriteBatch(_)) if pending.cancelled => Err(reply::cancelled()),
            Ok(value) => Ok(self.accept(value, &pending.settles)),
            Err(error) => Err(Details::clone(&error)),
        };
        (tag, reply)
    }

    /// Writes ended operations: each under its number. When not even the first finds room, the
    /// page shows how much it wants.
    pub fn write_ended(&mut self, page: &mut Page<'_>) {
        let start = page.at();
        while let Some((tag, reply)) = self.ended.pop_front() {
            let before = page.at();
            page.index(tag);
            self.try_write(&reply, page);
            if !page.holds_all() {
                self.ended.push_front((tag, reply));
                if before > start {
                    page.back_to(before);
                }
                return;
            }
        }
    }
}

/// The environment ends: whatever goes on is given up, and gives back what it brings.
impl Drop for Link {
    fn drop(&mut self) {
        for (_, pending) in &self.pending {
            let _ = pending.op.cancel();
        }
    }
}
