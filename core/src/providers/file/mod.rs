//! `file:` queues in a folder, durable, shared by any number of processes of one machine, with no
//! server. `docs/durability.md` says what is promised, `docs/file-format.md` what is on the disk.
//!
//! ```text
//! mod.rs      the port's verbs, as one or a few steps each
//! view.rs     a client's view of a queue: sending, receiving, sessions, and waiting
//! letters.rs  looking without taking, and dead letters
//! store.rs    a folder that is open: steps under the store's lock
//! engine/     the state of the queues and the verbs, as steps
//! index/      where the state stands: a mapped file, with an undo journal and a robust lock
//! log/        what must survive: records, frames, segments
//! flush.rs    bringing the log to the disk, for all at once
//! wait.rs     waiting and being woken across processes
//! keeper.rs   making and reusing the files of the log
//! recovery/   the index from the log
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
#[cfg(not(feature = "shuttle"))]
mod futex;
#[cfg(feature = "shuttle")]
#[path = "futex_checked.rs"]
mod futex;
mod index;
mod keeper;
mod letters;
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
mod view;
mod wait;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;

use self::log::record::nanos;
pub(super) use self::options::NAMES as OPTIONS;
use self::options::{Durability, FileOptions};
use self::store::Store;
pub use self::verify::{DamagedPart, QueueCount, SegmentFile, StoreReport, dump, verify};
use self::view::{View, in_frames};
use super::embedded::{already_exists, check_name, of_client, of_queue, terms};
use crate::capability::{Capabilities, Limits};
use crate::config::{QueueOptions, Settings};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport};
use crate::error::Result;
use crate::message::{Message, SendResult};
use crate::provider::{
    AcceptRequest, Moment, Provider, ProviderQueue, ReceiveRequest, Received, SessionLock, Terms,
    only,
};
use crate::queue::{Peeked, Statistics};
use crate::reply::Reply;
use crate::runtime::Runtime;
use crate::settlement::{Receipt, Settlement};

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
        capabilities: of_client(NAME, limits, settings.queue.fair_groups),
    }))
}

const NAME: &str = "file";

/// A queue on a disk is bounded as one in memory is, by what a disk can hold: enough for the workers
/// of a busy system to be away for a while, and a quarter of what a store may take by default.
fn defaults() -> QueueOptions {
    QueueOptions {
        max_messages: Some(10_000_000),
        max_bytes: Some(16 << 30),
        ..QueueOptions::default()
    }
}

impl Provider for FileProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn queue_defaults(&self) -> QueueOptions {
        defaults()
    }

    fn is_embedded(&self) -> bool {
        true
    }

    fn queue(&self, name: &str, options: &QueueOptions) -> Result<Arc<dyn ProviderQueue>> {
        check_name(name)?;
        let definition = options.clone().or(&defaults()).define()?;
        let limits = self.capabilities.limits().clone();
        let capabilities = of_queue(NAME, limits, definition.fair_groups);
        let view = View {
            name: name.into(),
            definition,
            options: options.clone(),
            store: self.store.clone(),
            durability: self.durability,
            bound: AtomicU64::new(0),
        };
        Ok(Arc::new(FileQueue(Arc::new(view), capabilities)))
    }

    fn close(&self) -> Reply<()> {
        Reply::later(self.store.clone().come_to_rest())
    }
}

/// One client's view of a queue.
struct FileQueue(Arc<View>, Capabilities);

impl ProviderQueue for FileQueue {
    fn capabilities(&self) -> Option<&Capabilities> {
        Some(&self.1)
    }

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

    /// What is ready stands in memory that the processes share; bodies come from the system's cache
    /// of the log.
    fn is_local(&self) -> bool {
        true
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
            in_frames(
                step,
                &settlements,
                |_| 0,
                |step, settlement| Ok(Some(step.settle(queue, settlement))),
            )
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

    fn terms(&self) -> Reply<Terms> {
        let terms = self.0.step(|step, queue| {
            let queue: &index::layout::Queue = step.r.node(queue);
            Ok(terms(&queue.definition(&self.0.definition)))
        });
        Reply::now(terms.map(|(terms, _)| terms))
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
