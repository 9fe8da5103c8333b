//! `file:` queues in a folder, durable, shared by any number of processes of one machine, with no
//! server. `docs/durability.md` says what is promised, `docs/file-format.md` what is on the disk.
//!
//! ```text
//! mod.rs      the port's verbs, as one or a few steps each
//! store.rs    a folder that is open: steps under the store's lock
//! engine/     the state of the queues and the verbs, as steps
//! index/      where the state stands: a mapped file, with an undo journal and a robust lock
//! log/        what must survive: records, frames, segments
//! flush.rs    bringing the log to the disk, for all at once
//! wait.rs     waiting and being woken across processes
//! keeper.rs   making and reusing the files of the log
//! recovery.rs the index from the log
//! fetch.rs    what messages say, from the log
//! ```
//!
//! Receiving touches no disk. What is sent, acked, dead-lettered and purged, and the state of
//! sessions, is acknowledged once it is on the disk, if the client asks for that.

mod engine;
mod fault;
mod faults;
mod fetch;
mod flush;
mod index;
mod keeper;
mod log;
mod options;
mod place;
mod recovery;
mod store;
mod sys;
#[cfg(test)]
mod tests;
mod time;
mod verify;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use self::engine::Letter;
use self::engine::Sent;
use self::engine::deliver::Taken;
use self::engine::step::Step;
use self::index::layout::{Queue, wait as what};
use self::index::region::Cell;
use self::log::record::nanos;
pub(super) use self::options::NAMES as OPTIONS;
use self::options::{Durability, FileOptions};
use self::store::Store;
pub use self::verify::{DamagedPart, QueueCount, SegmentFile, StoreReport, dump, verify};
use super::embedded::{NATIVE, already_exists, check_name, check_same, counted, full, not_found};
use crate::blocking;
use crate::capability::{Capabilities, Limits, Support};
use crate::clock::Tick;
use crate::config::{Create, OnFull, QueueDefinition, QueueOptions, Settings};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport, reason};
use crate::error::{ErrorKind, Result};
use crate::message::{Message, MessageId, SendResult};
use crate::provider::{
    AcceptRequest, Moment, Provider, ProviderQueue, ReceiveRequest, Received, SessionLock, only,
};
use crate::queue::{Peeked, Statistics};
use crate::reply::Reply;
use crate::runtime::Runtime;
use crate::settlement::{Receipt, Settlement};

/// Dead letters and messages that are looked at in one step.
const PAGE: usize = 1000;

struct FileProvider {
    store: Arc<Store>,
    durability: Durability,
    capabilities: Capabilities,
}

pub(super) fn open(runtime: &Runtime, settings: &Settings) -> Result<Arc<dyn Provider>> {
    let options = FileOptions::read(&settings.endpoint.options)?;
    let store = Store::open(runtime, &place::folder(settings)?, options)?;
    let limits = Limits {
        message_bytes: Some(store.superblock.identity.segment_bytes / 2),
        ..Limits::default()
    };
    Ok(Arc::new(FileProvider {
        store,
        durability: options.durability,
        capabilities: Capabilities::new("file", limits).with(Support::Native, NATIVE),
    }))
}

impl Provider for FileProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn queue(&self, name: &str, options: &QueueOptions) -> Result<Arc<dyn ProviderQueue>> {
        check_name(name)?;
        Ok(Arc::new(FileQueue(Arc::new(View {
            name: name.into(),
            definition: options.define()?,
            options: options.clone(),
            store: self.store.clone(),
            durability: self.durability,
            bound: AtomicU64::new(0),
        }))))
    }
}

/// One client's view of a queue.
struct FileQueue(Arc<View>);

struct View {
    name: Arc<str>,
    options: QueueOptions,
    definition: QueueDefinition,
    store: Arc<Store>,
    durability: Durability,
    /// The queue's node, and above it the generation of the index it is of. 0: not found yet.
    bound: AtomicU64,
}

/// A result, and the position up to which the log must be on the disk before it is acknowledged.
type Done<T> = Result<(T, Option<u64>)>;

impl View {
    /// Takes a step on this queue, which is made now if it may be.
    fn step<T>(&self, mut verb: impl FnMut(&mut Step<'_>, u32) -> Result<T>) -> Done<T> {
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
    fn acknowledge<T: Send + 'static>(&self, done: Done<T>) -> Reply<T> {
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
    fn send_some(
        &self,
        step: &mut Step<'_>,
        queue: u32,
        messages: &[Message],
    ) -> Result<Vec<Result<SendResult>>> {
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            if !step.has_room_for_more()
                || step.batch.len() + message.bytes() > step.max_frame() / 2
            {
                step.keep()?;
            }
            match step.send(queue, message)? {
                Sent::Done(result) => results.push(Ok(result)),
                Sent::Full if self.definition.on_full == OnFull::Error => {
                    let is = step.r.node::<Queue>(queue).definition(&self.definition);
                    results.push(Err(full(&is)));
                }
                Sent::Full => break,
            }
        }
        Ok(results)
    }

    /// Stores messages one after the other, waiting for room where there is none.
    async fn send_rest(
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
                .await?;
            if let Some((stored, until)) = stored {
                results.extend(stored);
                position = position.max(until);
            }
        }
        self.acknowledged((results, position)).await
    }

    // --- receive ------------------------------------------------------------------------------

    /// What is ready now.
    fn receive_now(&self, request: &ReceiveRequest) -> Result<Vec<Box<Received>>> {
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
    async fn receive_later(self: Arc<Self>, request: ReceiveRequest) -> Result<Vec<Box<Received>>> {
        let deadline = self.store.tasks.clock().now() + request.wait;
        let (queue, _) = self.step(|_, queue| Ok(queue))?;
        let held = request.session.as_deref();
        let found = self
            .store
            .wait(queue, what::MESSAGE, held, deadline, |step| {
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
            let place = &step.r.node::<index::layout::Message>(id).record;
            let bytes = step.read_place(place).unwrap_or_default();
            let read = fetch::message_in(&bytes, taken.number, &store.bodies);
            if read.is_none() {
                tracing::error!(
                    folder = %store.folder.display(), queue = %self.name,
                    position = place.position.get(),
                    "a message cannot be read and is set apart"
                );
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

    // --- sessions -----------------------------------------------------------------------------

    fn accept_now(&self, request: &AcceptRequest) -> Result<Option<SessionLock>> {
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

    async fn accept_later(self: Arc<Self>, request: AcceptRequest) -> Result<Option<SessionLock>> {
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

    // --- dead letters -------------------------------------------------------------------------

    /// Gives dead letters that match, oldest first, from after a number on, to `each`, page by
    /// page, until `max` of them were given. Answers the number of the last one looked at.
    fn each_letter(
        &self,
        filter: &DeadLetterFilter,
        mut after: Option<u64>,
        max: usize,
        mut each: impl FnMut(Vec<(Letter, Option<Message>, DeadLetter)>) -> Result<()>,
    ) -> Result<()> {
        let mut left = max;
        while left > 0 {
            let (letters, _) = self.step(|step, queue| Ok(step.letters(queue, after, PAGE)))?;
            let Some(last) = letters.last() else { break };
            after = Some(last.death_number);
            let mut page = self.read_letters(letters);
            page.retain(|(_, _, letter)| filter.matches(letter));
            page.truncate(left);
            left -= page.len();
            each(page)?;
        }
        Ok(())
    }

    /// What dead letters say. One whose message cannot be read has an empty body.
    fn read_letters(&self, letters: Vec<Letter>) -> Vec<(Letter, Option<Message>, DeadLetter)> {
        let (store, time) = (&self.store, &self.store.ground.time);
        let wanted: Vec<_> = letters.iter().map(|l| (l.record, l.number)).collect();
        let messages = store.ground.read_messages(&store.bodies, &wanted);
        let spots: Vec<_> = letters.iter().map(|l| l.death).collect();
        let why = store.ground.read_deaths(&spots, |death| {
            let description: Option<Arc<str>> = death.description.map(Into::into);
            (Arc::<str>::from(death.reason), description)
        });
        let read = letters.into_iter().zip(messages).zip(why);
        read.map(|((letter, message), why)| {
            let message = message.map(|(_, message)| message);
            let shown = message.clone().unwrap_or_default();
            let (reason, description) = why.unwrap_or_else(|| (reason::UNREADABLE.into(), None));
            let mut dead = DeadLetter::new(
                id_of(&shown, letter.engine, letter.number),
                shown,
                reason,
                letter.attempts,
                self.name.clone(),
                letter.death_number,
                time.timestamp(letter.enqueued),
                time.timestamp(letter.died),
            );
            dead.description = description;
            dead.first_delivered_at = (letter.first_delivered != index::layout::NEVER)
                .then(|| time.timestamp(letter.first_delivered));
            (letter, message, dead)
        })
        .collect()
    }

    fn redrive(
        &self,
        filter: &DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Done<RedriveReport> {
        let mut report = RedriveReport::default();
        let mut position = None;
        self.each_letter(filter, after, max, |page| {
            let (steps, until) = self.step(|step, queue| {
                let mut ends = Vec::with_capacity(page.len());
                for (letter, message, _) in &page {
                    let room = message.as_ref().map_or(0, Message::bytes);
                    if !step.has_room_for_more() || step.batch.len() + room > step.max_frame() / 2 {
                        step.keep()?;
                    }
                    let _ = queue;
                    ends.push(match message {
                        Some(message) => step.revive(letter, &counted(message)),
                        None => Some(false),
                    });
                }
                Ok(ends)
            })?;
            position = position.max(until);
            for (end, (_, message, letter)) in steps.into_iter().zip(page) {
                report.last = Some(letter.number);
                let Some(redriven) = end else { continue };
                report.matched += 1;
                report.redriven += u64::from(redriven);
                if !redriven {
                    let why = match message {
                        Some(_) => "the queue is full",
                        None => "its record in the log cannot be read",
                    };
                    report.failed.push((letter.id, why.into()));
                }
            }
            Ok(())
        })?;
        Ok((report, position))
    }

    fn purge(&self, filter: &DeadLetterFilter) -> Done<u64> {
        let (mut count, mut position) = (0, None);
        self.each_letter(filter, None, usize::MAX, |page| {
            let (purged, until) = self.step(|step, _| {
                let mut purged = 0;
                for (letter, _, _) in &page {
                    if !step.has_room_for_more() {
                        step.keep()?;
                    }
                    purged += u64::from(step.purge(letter));
                }
                Ok(purged)
            })?;
            count += purged;
            position = position.max(until);
            Ok(())
        })?;
        Ok((count, position))
    }

    fn peek(&self, mut after: Option<u64>, max: usize) -> Result<Vec<Peeked>> {
        let (store, time) = (&self.store, &self.store.ground.time);
        let mut peeked = Vec::new();
        while peeked.len() < max {
            let page = PAGE.min(max - peeked.len());
            let (shown, _) = self.step(|step, queue| Ok(step.peek(queue, after, page)))?;
            let Some(last) = shown.last() else { break };
            let is_last = shown.len() < page;
            after = Some(last.sequence);
            let wanted: Vec<_> = shown.iter().map(|s| (s.record, s.number)).collect();
            let messages = store.ground.read_messages(&store.bodies, &wanted);
            for (shown, message) in shown.into_iter().zip(messages) {
                // One that cannot be read was settled meanwhile, or will be set apart when its
                // turn comes.
                let Some((_, message)) = message else {
                    continue;
                };
                peeked.push(Peeked::new(
                    id_of(&message, shown.engine, shown.number),
                    message,
                    shown.state,
                    shown.sequence,
                    shown.attempts,
                    time.timestamp(shown.enqueued),
                ));
            }
            if is_last {
                break;
            }
        }
        Ok(peeked)
    }
}

/// The identity of a message: the sender's, or the engine's own.
fn id_of(message: &Message, engine: u64, number: u64) -> MessageId {
    match message.properties.as_deref().and_then(|p| p.id.as_ref()) {
        Some(given) => given.clone(),
        None => MessageId::made(engine, number),
    }
}

impl ProviderQueue for FileQueue {
    fn send(&self, messages: Vec<Message>) -> Reply<Vec<Result<SendResult>>> {
        let view = &self.0;
        let sent = view.step(|step, queue| view.send_some(step, queue, &messages));
        match sent {
            Ok((results, position)) if results.len() < messages.len() => {
                Reply::later(view.clone().send_rest(results, messages, position))
            }
            sent => view.acknowledge(sent),
        }
    }

    fn receive(&self, request: ReceiveRequest) -> Reply<Vec<Box<Received>>> {
        match self.0.receive_now(&request) {
            Ok(none) if none.is_empty() && !request.wait.is_zero() => {
                Reply::later(self.0.clone().receive_later(request))
            }
            received => Reply::now(received),
        }
    }

    fn begin(&self, receipts: Vec<Receipt>) -> Reply<Vec<Result<()>>> {
        let begun = self.0.step(|step, queue| {
            let mut results = Vec::with_capacity(receipts.len());
            for receipt in &receipts {
                if !step.has_room_for_more() {
                    step.keep()?;
                }
                results.push(step.begin(queue, receipt));
            }
            Ok(results)
        });
        Reply::now(begun.map(|(results, _)| results))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Reply<Vec<Result<()>>> {
        let settled = self.0.step(|step, queue| {
            step.settles = true;
            let mut results = Vec::with_capacity(settlements.len());
            for settlement in &settlements {
                if !step.has_room_for_more() || step.batch.len() > step.max_frame() / 2 {
                    step.keep()?;
                }
                results.push(step.settle(queue, settlement));
            }
            Ok(results)
        });
        self.0.acknowledge(settled)
    }

    fn settle_one(&self, settlement: &Settlement) -> Reply<()> {
        let settled = self.0.step(|step, queue| {
            step.settles = true;
            step.settle(queue, settlement)
        });
        self.0.acknowledge(settled)
    }

    fn extend(&self, receipts: Vec<Receipt>, lock: Duration) -> Reply<Vec<Result<Moment>>> {
        let (view, lock) = (&self.0, nanos(lock));
        let extended = view.step(|step, queue| {
            let mut results = Vec::with_capacity(receipts.len());
            for receipt in &receipts {
                if !step.has_room_for_more() {
                    step.keep()?;
                }
                let until = step.extend(queue, receipt, lock);
                results.push(until.map(|until| step.ground.time.moment(until)));
            }
            Ok(results)
        });
        Reply::now(extended.map(|(results, _)| results))
    }

    fn accept_session(&self, request: AcceptRequest) -> Reply<Option<SessionLock>> {
        match self.0.accept_now(&request) {
            Ok(None) if !request.wait.is_zero() => {
                Reply::later(self.0.clone().accept_later(request))
            }
            accepted => Reply::now(accepted),
        }
    }

    fn renew_session(&self, session: SessionLock, lock: Option<Duration>) -> Reply<Moment> {
        let renewed = self.0.step(|step, queue| {
            let until = step.renew(queue, &session, lock)?;
            Ok(step.ground.time.moment(until))
        });
        Reply::now(renewed.map(|(until, _)| until))
    }

    fn close_session(&self, session: SessionLock) -> Reply<()> {
        let closed = self
            .0
            .step(|step, queue| step.close_session(queue, &session));
        Reply::now(closed.map(drop))
    }

    fn session_state(&self, session: SessionLock) -> Reply<Option<Bytes>> {
        use self::log::frame::read_record;
        use self::log::record::Record;
        let state = self.0.step(|step, queue| {
            let Some(bytes) = step.session_state(queue, &session)? else {
                return Ok(None);
            };
            let record = read_record(&bytes).and_then(|(kind, of)| Record::read(kind, of));
            match record {
                Some(Record::State(state)) => Ok(state.state.map(Bytes::copy_from_slice)),
                _ => Err(engine::append::unreadable(0)),
            }
        });
        Reply::now(state.map(|(state, _)| state))
    }

    fn set_session_state(&self, session: SessionLock, state: Option<Bytes>) -> Reply<()> {
        let set = self
            .0
            .step(|step, queue| step.set_session_state(queue, &session, state.as_deref()));
        self.0.acknowledge(set)
    }

    fn peek(&self, after: Option<u64>, max: u32) -> Reply<Vec<Peeked>> {
        Reply::now(self.0.peek(after, max as usize))
    }

    fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        let listed = self.0.each_letter(&filter, after, max as usize, |page| {
            letters.extend(page.into_iter().map(|(_, _, letter)| letter));
            Ok(())
        });
        Reply::now(listed.map(|()| letters))
    }

    fn redrive(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<RedriveReport> {
        self.0
            .acknowledge(self.0.redrive(&filter, after, max as usize))
    }

    fn purge_dead_letters(&self, filter: DeadLetterFilter) -> Reply<u64> {
        self.0.acknowledge(self.0.purge(&filter))
    }

    fn statistics(&self) -> Reply<Statistics> {
        let statistics = self.0.step(|step, queue| Ok(step.statistics(queue)));
        Reply::now(statistics.map(|(statistics, _)| statistics))
    }

    fn create(&self) -> Reply<()> {
        let view = &self.0;
        let created = view.store.step(|step| {
            if step.find_queue(&view.name).is_some() {
                return Err(already_exists());
            }
            step.create_queue(&view.name, &view.definition)?;
            step.lasting = true;
            Ok(())
        });
        view.acknowledge(created)
    }

    fn send_one(&self, message: Message) -> Reply<SendResult> {
        only(self.send(vec![message]))
    }
}
