//! `memory:` queues in the memory of this process. `memory:` is private to its client,
//! `memory:name` is shared by the clients of one runtime and lives as long as the runtime.

mod browse;
mod dedup;
mod deliver;
mod entry;
mod graves;
mod holds;
mod lanes;
mod list;
mod queue;
mod state;
mod wheel;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use self::queue::SharedQueue;
use self::state::Sent;
use super::embedded::{
    already_exists, check_name, check_same, not_found, of_client, of_queue, terms,
};
use crate::capability::{Capabilities, Limits};
use crate::config::{Create, QueueDefinition, QueueOptions, Settings};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport};
use crate::error::{Error, Result};
use crate::message::{Message, SendResult};
use crate::provider::{
    AcceptRequest, Moment, Provider, ProviderQueue, ReceiveRequest, Received, SessionLock, Terms,
    only,
};
use crate::queue::{Peeked, Statistics};
use crate::reply::Reply;
use crate::runtime::{Runtime, Tasks};
use crate::settlement::{Receipt, Settlement};

/// Queues by name.
#[derive(Default)]
struct Store {
    queues: Mutex<HashMap<Arc<str>, Arc<SharedQueue>>>,
}

struct Memory {
    store: Arc<Store>,
    tasks: Tasks,
    capabilities: Capabilities,
}

pub(super) fn open(runtime: &Runtime, settings: &Settings) -> Result<Arc<dyn Provider>> {
    let endpoint = &settings.endpoint;
    if endpoint.url.has_authority() {
        return Err(Error::invalid_config(
            "url",
            "memory: has no host; write memory:name to share queues under a name",
        ));
    }
    let store = match endpoint.path.as_str() {
        "" => Arc::default(),
        name => {
            let invalid = |e: Error| Error::invalid_config("url", e.message().to_owned());
            check_name(name).map_err(invalid)?;
            runtime.share(&format!("memory:{name}"), Store::default)
        }
    };
    Ok(Arc::new(Memory {
        store,
        tasks: runtime.tasks().clone(),
        capabilities: of_client(NAME, Limits::default(), settings.queue.fair_groups),
    }))
}

const NAME: &str = "memory";

impl Provider for Memory {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn is_embedded(&self) -> bool {
        true
    }

    fn queue(&self, name: &str, options: &QueueOptions) -> Result<Arc<dyn ProviderQueue>> {
        check_name(name)?;
        let definition = options.define()?;
        Ok(Arc::new(MemoryQueue {
            name: name.into(),
            capabilities: of_queue(NAME, Limits::default(), definition.fair_groups),
            definition,
            options: options.clone(),
            store: self.store.clone(),
            tasks: self.tasks.clone(),
            shared: OnceLock::new(),
        }))
    }
}

/// One client's view of a queue: bound to the shared one at its first use.
struct MemoryQueue {
    name: Arc<str>,
    options: QueueOptions,
    definition: QueueDefinition,
    capabilities: Capabilities,
    store: Arc<Store>,
    tasks: Tasks,
    shared: OnceLock<Arc<SharedQueue>>,
}

impl MemoryQueue {
    /// The queue, created now if it may be.
    #[inline]
    fn shared(&self) -> Result<&Arc<SharedQueue>> {
        match self.shared.get() {
            Some(shared) => Ok(shared),
            None => self.bind(),
        }
    }

    #[cold]
    fn bind(&self) -> Result<&Arc<SharedQueue>> {
        let mut queues = self.queues();
        let shared = match queues.get(&self.name) {
            Some(shared) => {
                shared.step(|state, _| check_same(&state.definition, &self.options))?;
                shared.clone()
            }
            None if self.definition.create == Create::Never => {
                return Err(not_found());
            }
            None => self.add(&mut queues),
        };
        Ok(self.shared.get_or_init(|| shared))
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<SharedQueue>>> {
        let queues = self.store.queues.lock();
        queues.unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, queues: &mut HashMap<Arc<str>, Arc<SharedQueue>>) -> Arc<SharedQueue> {
        let shared = SharedQueue::new(self.definition.clone(), self.tasks.clone());
        queues.insert(self.name.clone(), shared.clone());
        shared
    }

    /// Answers a verb that never waits.
    #[inline]
    fn answer<T>(&self, verb: impl FnOnce(&Arc<SharedQueue>) -> Result<T>) -> Reply<T> {
        Reply::now(self.shared().and_then(verb))
    }
}

impl ProviderQueue for MemoryQueue {
    fn capabilities(&self) -> Option<&Capabilities> {
        Some(&self.capabilities)
    }

    fn send(&self, messages: Vec<Message>) -> Reply<Vec<Result<SendResult>>> {
        let shared = match self.shared() {
            Ok(shared) => shared,
            Err(error) => return Reply::error(error),
        };
        match shared.send_now(messages, self.definition.on_full) {
            Ok((results, rest)) if rest.is_empty() => Reply::now(Ok(results)),
            Ok((results, rest)) => Reply::later(shared.clone().send_rest(results, rest)),
            Err(error) => Reply::error(error),
        }
    }

    fn send_one(&self, message: Message) -> Reply<SendResult> {
        let shared = match self.shared() {
            Ok(shared) => shared,
            Err(error) => return Reply::error(error),
        };
        match shared.send_one_now(message, self.definition.on_full) {
            Ok(Sent::Done(result)) => Reply::now(Ok(result)),
            Ok(Sent::Full(message)) => only(Reply::later(
                shared.clone().send_rest(Vec::new(), vec![message]),
            )),
            Err(error) => Reply::error(error),
        }
    }

    fn is_local(&self) -> bool {
        true
    }

    fn receive(&self, request: ReceiveRequest) -> Reply<Vec<Box<Received>>> {
        let received = self
            .shared()
            .and_then(|shared| shared.step(|state, now| state.receive(&request, now)));
        match (received, self.shared.get()) {
            (Ok(none), Some(shared)) if none.is_empty() && !request.wait.is_zero() => {
                Reply::later(shared.clone().receive(request))
            }
            (received, _) => Reply::now(received),
        }
    }

    fn receive_one(&self, request: &ReceiveRequest) -> Reply<Option<Box<Received>>> {
        let received = self
            .shared()
            .and_then(|shared| shared.step(|state, now| state.receive_one(request, now)));
        match (&received, self.shared.get()) {
            (Ok(None), Some(shared)) if !request.wait.is_zero() => {
                let received = Reply::later(shared.clone().receive(request.clone()));
                received.map(|mut received| Ok(received.pop()))
            }
            _ => Reply::now(received),
        }
    }

    fn begin(&self, receipts: Vec<Receipt>) -> Reply<Vec<Result<()>>> {
        self.answer(|shared| {
            shared.step(|state, now| Ok(receipts.iter().map(|r| state.begin(r, now)).collect()))
        })
    }

    fn begin_one(&self, receipt: &Receipt) -> Reply<()> {
        self.answer(|shared| shared.step(|state, now| state.begin(receipt, now)))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Reply<Vec<Result<()>>> {
        self.answer(|shared| {
            shared.step(|state, now| {
                let mut results = Vec::with_capacity(settlements.len());
                for settlement in settlements {
                    results.push(state.settle(&settlement, now));
                }
                Ok(results)
            })
        })
    }

    fn settle_one(&self, settlement: &Settlement) -> Reply<()> {
        self.answer(|shared| shared.step(|state, now| state.settle(settlement, now)))
    }

    fn extend(&self, receipts: Vec<Receipt>, lock: Duration) -> Reply<Vec<Result<Moment>>> {
        self.answer(|shared| {
            shared.step(|state, now| {
                let extend = |receipt| state.extend(receipt, lock, now).map(Moment::Tick);
                Ok(receipts.iter().map(extend).collect())
            })
        })
    }

    fn accept_session(&self, request: AcceptRequest) -> Reply<Option<SessionLock>> {
        let accepted = self
            .shared()
            .and_then(|shared| shared.step(|state, now| state.accept(&request, now)));
        match (accepted, self.shared.get()) {
            (Ok(None), Some(shared)) if !request.wait.is_zero() => {
                Reply::later(shared.clone().accept_next(request))
            }
            (accepted, _) => Reply::now(accepted),
        }
    }

    fn renew_session(&self, session: SessionLock, lock: Option<Duration>) -> Reply<Moment> {
        self.answer(|shared| {
            shared.step(|state, now| state.renew(&session, lock, now).map(Moment::Tick))
        })
    }

    fn close_session(&self, session: SessionLock) -> Reply<()> {
        self.answer(|shared| {
            shared.step(|state, now| {
                let held = state.holder(&session)?;
                state.end_hold(held, now);
                Ok(())
            })
        })
    }

    fn session_state(&self, session: SessionLock) -> Reply<Option<Bytes>> {
        self.answer(|shared| shared.step(|state, _| state.session_state(&session)))
    }

    fn set_session_state(&self, session: SessionLock, bytes: Option<Bytes>) -> Reply<()> {
        self.answer(|shared| shared.step(|state, _| state.set_session_state(&session, bytes)))
    }

    fn peek(&self, after: Option<u64>, max: u32) -> Reply<Vec<Peeked>> {
        let clock = self.tasks.clock();
        self.answer(|shared| shared.step(|state, _| Ok(state.peek(clock, after, max as usize))))
    }

    fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<Vec<DeadLetter>> {
        let (name, clock, max) = (&self.name, self.tasks.clock(), max as usize);
        self.answer(|shared| {
            shared.step(|state, _| Ok(state.dead_letters(name, clock, &filter, after, max)))
        })
    }

    fn redrive(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<RedriveReport> {
        let (name, clock, max) = (&self.name, self.tasks.clock(), max as usize);
        self.answer(|shared| {
            shared.step(|state, _| Ok(state.redrive(name, clock, &filter, after, max)))
        })
    }

    fn purge_dead_letters(&self, filter: DeadLetterFilter) -> Reply<u64> {
        let (name, clock) = (&self.name, self.tasks.clock());
        self.answer(|shared| shared.step(|state, _| Ok(state.purge(name, clock, &filter))))
    }

    fn statistics(&self) -> Reply<Statistics> {
        self.answer(|shared| shared.step(|state, now| Ok(state.statistics(now))))
    }

    fn terms(&self) -> Reply<Terms> {
        self.answer(|shared| shared.step(|state, _| Ok(terms(&state.definition))))
    }

    fn create(&self) -> Reply<()> {
        let mut queues = self.queues();
        if queues.contains_key(&self.name) {
            return Reply::error(already_exists());
        }
        let shared = self.add(&mut queues);
        self.shared.get_or_init(|| shared);
        Reply::now(Ok(()))
    }
}
