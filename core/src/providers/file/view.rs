//! One client's view of a queue: finding it, sending, receiving, accepting sessions, and the waiting
//! of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::engine::Sent;
use super::engine::deliver::Taken;
use super::engine::step::Step;
use super::fetch::{self, Spot};
use super::index::layout::{Message as Slot, Place, Queue, standing, wait as what};
use super::index::region::Cell;
use super::options::Durability;
use super::store::Store;
use crate::blocking;
use crate::clock::Tick;
use crate::config::{Create, OnFull, QueueDefinition, QueueOptions};
use crate::error::{ErrorKind, Result};
use crate::message::{Message, MessageId, SendResult};
use crate::provider::{AcceptRequest, ReceiveRequest, Received, SessionLock};
use crate::providers::embedded::{check_same, full, not_found};
use crate::reply::Reply;

pub(super) struct View {
    pub(super) name: Arc<str>,
    pub(super) options: QueueOptions,
    pub(super) definition: QueueDefinition,
    pub(super) store: Arc<Store>,
    pub(super) durability: Durability,
    /// The queue's node, and above it the generation of the index it is of. 0: not found yet.
    pub(super) bound: AtomicU64,
}

/// A result, and the position up to which the log must be on the disk before it is acknowledged.
pub(super) type Done<T> = Result<(T, Option<u64>)>;

/// What came of looking at a message without taking it.
#[derive(Debug)]
pub(super) enum Look<T> {
    Read(T),
    /// It is there, and what the log holds of it is damaged.
    Unreadable,
    /// It was settled or moved meanwhile.
    Gone,
}

impl<T> Look<T> {
    pub(super) fn read(self) -> Option<T> {
        match self {
            Self::Read(read) => Some(read),
            Self::Unreadable | Self::Gone => None,
        }
    }
}

impl View {
    /// Takes a step on this queue, which is made now if it may be.
    pub(super) fn step<T>(&self, mut verb: impl FnMut(&mut Step<'_>, u32) -> Result<T>) -> Done<T> {
        let mut bound = 0;
        let done = self.store.step(|step| {
            bound = self.bind(step)?;
            verb(step, bound as u32)
        })?;
        self.bound.store(bound, Ordering::Release);
        Ok(done)
    }

    fn bind(&self, step: &mut Step<'_>) -> Result<u64> {
        let generation = u64::from(step.r.header().generation.get()) << 32;
        let bound = self.bound.load(Ordering::Acquire);
        if bound & !u64::from(u32::MAX) == generation && bound as u32 != 0 {
            return Ok(bound);
        }
        let queue = match step.find_queue(&self.name) {
            Some(queue) => {
                let is = step.r.node::<Queue>(queue).definition(&self.definition);
                check_same(&is, &self.options)?;
                queue
            }
            None if self.definition.create == Create::Never => return Err(not_found()),
            None => step.create_queue(&self.name, &self.definition)?,
        };
        Ok(generation | u64::from(queue))
    }

    /// A result that may be acknowledged once the log is on the disk up to a position, as far as
    /// this client asks for it.
    pub(super) fn acknowledge<T: Send + 'static>(&self, done: Done<T>) -> Reply<T> {
        let (answer, position) = match done {
            Ok(done) => done,
            Err(error) => return Reply::error(error),
        };
        let Some(position) = self.must_wait_for(position) else {
            return Reply::now(Ok(answer));
        };
        if self.may_block() {
            return Reply::now(self.store.flush(position).map(|()| answer));
        }
        let flushed = self.store.flushed(position);
        Reply::later(async move { flushed.await.map(|()| answer) })
    }

    async fn acknowledged<T>(&self, (answer, position): (T, Option<u64>)) -> Result<T> {
        match self.must_wait_for(position) {
            Some(position) if self.may_block() => self.store.flush(position)?,
            Some(position) => self.store.flushed(position).await?,
            None => {}
        }
        Ok(answer)
    }

    /// Whether a flush may be led on the calling thread. Where time stands still until it is moved,
    /// nobody can tell how long a flush took, and a test is to see what it did at once.
    fn may_block(&self) -> bool {
        blocking::is_allowed() || self.store.ground.time.is_virtual()
    }

    /// The position to wait for, if this client waits for the disk at all.
    fn must_wait_for(&self, position: Option<u64>) -> Option<u64> {
        match self.durability {
            Durability::Commit => position,
            Durability::Interval(interval) => {
                if position.is_some() {
                    self.store.flush_within(interval);
                }
                None
            }
            Durability::Os => None,
        }
    }

    // --- send ---------------------------------------------------------------------------------

    /// Stores messages until one finds no room. Answers the results of those that were dealt with.
    pub(super) fn send_some(
        &self,
        step: &mut Step<'_>,
        queue: u32,
        messages: &[Message],
    ) -> Result<Vec<Result<SendResult>>> {
        in_frames(step, messages, Message::bytes, |step, message| {
            Ok(match step.send(queue, message)? {
                Sent::Done(result) => Some(Ok(result)),
                Sent::Full if self.definition.on_full == OnFull::Error => {
                    let is = step.r.node::<Queue>(queue).definition(&self.definition);
                    Some(Err(full(&is)))
                }
                Sent::Full => None,
            })
        })
    }

    /// Stores messages one after the other, waiting for room where there is none.
    pub(super) async fn send_rest(
        self: Arc<Self>,
        mut results: Vec<Result<SendResult>>,
        messages: Vec<Message>,
        mut position: Option<u64>,
    ) -> Result<Vec<Result<SendResult>>> {
        while results.len() < messages.len() {
            let (queue, _) = self.step(|_, queue| Ok(queue))?;
            let rest = &messages[results.len()..];
            let stored = self
                .store
                .wait(queue, what::ROOM, None, Tick::NEVER, |step| {
                    let queue = self.bind(step)? as u32;
                    let stored = self.send_some(step, queue, rest)?;
                    Ok((!stored.is_empty()).then_some(stored))
                })
                .await;
            match stored {
                Ok(Some((stored, until))) => {
                    results.extend(stored);
                    position = position.max(until);
                }
                Ok(None) => {}
                Err(error) if results.is_empty() => return Err(error),
                // What is stored is stored.
                Err(error) => results.resize_with(messages.len(), || Err(error.clone())),
            }
        }
        self.acknowledged((results, position)).await
    }

    // --- receive ------------------------------------------------------------------------------

    /// What is ready now.
    pub(super) fn receive_now(&self, request: &ReceiveRequest) -> Result<Vec<Box<Received>>> {
        loop {
            let ((taken, others), _) = self.step(|step, queue| {
                let taken = step.receive(queue, request)?;
                let others = taken.is_empty() && step.others_hold();
                Ok((taken, others))
            })?;
            // What a dead process had in its hands is free, and who looks is who sees it.
            if !(others && self.store.bury_the_dead()?) {
                return self.read(taken);
            }
        }
    }

    /// Waits for messages.
    pub(super) async fn receive_later(
        self: Arc<Self>,
        request: ReceiveRequest,
    ) -> Result<Vec<Box<Received>>> {
        let deadline = self.store.tasks.clock().now() + request.wait;
        let (queue, _) = self.step(|_, queue| Ok(queue))?;
        let held = request.session.as_deref();
        let waits_for = match request.without {
            None => what::MESSAGE,
            Some(_) => what::SOME_MESSAGE,
        };
        let found = self
            .store
            .wait(queue, waits_for, held, deadline, |step| {
                let queue = self.bind(step)? as u32;
                let taken = step.receive(queue, &request)?;
                Ok((!taken.is_empty()).then_some(taken))
            })
            .await?;
        match found {
            Some((taken, _)) => self.read(taken),
            None => Ok(Vec::new()),
        }
    }

    /// The deliveries with their messages.
    fn read(&self, taken: Vec<Taken>) -> Result<Vec<Box<Received>>> {
        let store = &self.store;
        let wanted: Vec<_> = taken
            .iter()
            .map(|t| ((t.position, t.len), t.number))
            .collect();
        let messages = store.ground.read_messages(&store.bodies, &wanted);
        let mut received = Vec::with_capacity(taken.len());
        for (taken, message) in taken.into_iter().zip(messages) {
            let message = match message {
                Some((_, message)) => message,
                None => match self.read_again(&taken)? {
                    Some(message) => message,
                    None => continue,
                },
            };
            received.push(self.received(taken, message));
        }
        Ok(received)
    }

    /// A message that was moved before it was read, or that cannot be read. That one is set apart.
    #[cold]
    fn read_again(&self, taken: &Taken) -> Result<Option<Message>> {
        let store = &self.store;
        let receipt = taken.receipt();
        let (message, _) = self.step(|step, queue| {
            let Ok(id) = step.in_hands(queue, &receipt) else {
                // Its lock ended meanwhile; it is somebody else's now.
                return Ok(None);
            };
            let place = &step.r.node::<Slot>(id).record;
            let bytes = step.read_place(place).unwrap_or_default();
            let read = fetch::message_in(&bytes, taken.number, &store.bodies);
            if read.is_none() {
                tracing::error!(
                    folder = %store.folder.display(), queue = %self.name,
                    position = place.position.get(),
                    "a message cannot be read and is set apart"
                );
                step.settles = true;
                step.set_apart(queue, &receipt);
            }
            Ok(read)
        })?;
        Ok(message.map(|(_, message)| message))
    }

    fn received(&self, taken: Taken, message: Message) -> Box<Received> {
        let time = &self.store.ground.time;
        Box::new(Received {
            id: id_of(&message, taken.engine, taken.number),
            message,
            receipt: taken.receipt(),
            attempt: taken.attempt,
            sequence: taken.sequence,
            enqueued_at: time.moment(taken.enqueued),
            locked_until: time.moment(taken.until),
        })
    }

    /// What messages say that stand in nodes, by these numbers, whose records are at these places.
    pub(super) fn read_messages(&self, wanted: &[(u32, u64, Spot)]) -> Result<Vec<Look<Message>>> {
        let (ground, bodies) = (&self.store.ground, &self.store.bodies);
        let spots: Vec<_> = wanted.iter().map(|(_, n, spot)| (*spot, *n)).collect();
        let read = wanted.iter().zip(ground.read_messages(bodies, &spots));
        read.map(|((slot, number, _), read)| match read {
            Some((_, message)) => Ok(Look::Read(message)),
            None => self.read_moved(
                (*slot, *number),
                |slot| &slot.record,
                |bytes| fetch::message_in(bytes, *number, bodies).map(|(_, message)| message),
            ),
        })
        .collect()
    }

    /// What a record says that was moved before it could be read: it is read where it is now, which
    /// does not change under the lock.
    #[cold]
    pub(super) fn read_moved<T>(
        &self,
        (slot, number): (u32, u64),
        place: fn(&Slot) -> &Place,
        say: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Look<T>> {
        let read = self.store.step(|step| {
            let is_it = |m: &&Slot| m.standing.get() != standing::FREE && m.number.get() == number;
            let Some(message) = step.r.find::<Slot>(slot).filter(is_it) else {
                return Ok(Look::Gone);
            };
            let bytes = step.read_place(place(message)).unwrap_or_default();
            Ok(say(&bytes).map_or(Look::Unreadable, Look::Read))
        });
        read.map(|(read, _)| read)
    }

    // --- sessions -----------------------------------------------------------------------------

    pub(super) fn accept_now(&self, request: &AcceptRequest) -> Result<Option<SessionLock>> {
        loop {
            let accepted = self.step(|step, queue| match step.accept(queue, request) {
                Err(error) if error.kind() == ErrorKind::SessionLocked && step.others_hold() => {
                    Ok(Err(error))
                }
                accepted => {
                    let accepted = accepted?;
                    let others = accepted.is_none() && step.others_hold();
                    Ok(Ok((accepted, others)))
                }
            });
            let retry = match accepted?.0 {
                Ok((accepted, false)) => return Ok(accepted),
                Ok((accepted, true)) => Ok(accepted),
                Err(error) => Err(error),
            };
            if !self.store.bury_the_dead()? {
                return retry;
            }
        }
    }

    pub(super) async fn accept_later(
        self: Arc<Self>,
        request: AcceptRequest,
    ) -> Result<Option<SessionLock>> {
        let deadline = self.store.tasks.clock().now() + request.wait;
        let (queue, _) = self.step(|_, queue| Ok(queue))?;
        let found = self
            .store
            .wait(queue, what::SESSION, None, deadline, |step| {
                let queue = self.bind(step)? as u32;
                step.accept(queue, &request)
            })
            .await?;
        Ok(found.map(|(lock, _)| lock))
    }
}

/// Does one thing for each input until it answers `None`, in as many frames as that takes. Fails as
/// a whole only where nothing was done: what a frame has kept stays, and the others fail alone.
pub(super) fn in_frames<I, T>(
    step: &mut Step<'_>,
    inputs: &[I],
    bytes: impl Fn(&I) -> usize,
    mut verb: impl FnMut(&mut Step<'_>, &I) -> Result<Option<Result<T>>>,
) -> Result<Vec<Result<T>>> {
    let mut results = Vec::with_capacity(inputs.len());
    let mut kept = 0;
    let mut each = |step: &mut Step<'_>| -> Result<()> {
        for input in inputs {
            if !step.has_room_for_more() || step.batch.len() + bytes(input) > step.max_frame() / 2 {
                step.keep()?;
                kept = results.len();
            }
            match verb(step, input)? {
                Some(result) => results.push(result),
                None => break,
            }
        }
        if kept > 0 {
            step.keep()?;
        }
        Ok(())
    };
    match each(step) {
        Err(error) if kept > 0 => {
            step.take_back();
            results.truncate(kept);
            results.resize_with(inputs.len(), || Err(error.clone()));
            Ok(results)
        }
        done => done.map(|()| results),
    }
}

/// The identity of a message: the sender's, or the engine's own.
pub(super) fn id_of(message: &Message, engine: u64, number: u64) -> MessageId {
    match message.properties.as_deref().and_then(|p| p.id.as_ref()) {
        Some(given) => given.clone(),
        None => MessageId::made(engine, number),
    }
}
