//! A scenario while it runs: its clients and queues, and what later steps call by name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::arguments::{Connect, Filter};
use super::background::{Background, PATIENCE};
use super::beside::Beside;
use super::check::Context;
use super::consumers::Intake;
use super::scenario::Scenario;
use super::step::{self, Action, Mode, Step};
use super::target::{Store, Target};
use super::verbs::Came;
use super::workers::Call;
use crate::capability::Capability;
use crate::client::Client;
use crate::clock::Timestamp;
use crate::config::{ClientConfig, Create, QueueOptions};
use crate::dead_letter::DeadLetterFilter;
use crate::delivery::Delivery;
use crate::error::{ErrorKind, Result};
use crate::message::MessageId;
use crate::producer::Producer;
use crate::queue::Queue;
use crate::sessions::Session;

/// The client of a step that names none.
pub(super) const CLIENT: &str = "a";
/// The queue of a step that names none.
const QUEUE: &str = "jobs";

/// What a step may fail with: the sentence for the report.
pub(super) type Checked<T> = std::result::Result<T, String>;

pub(super) struct World<'a> {
    pub scenario: &'a Scenario,
    /// Goes before the store does.
    pub beside: Option<Beside>,
    /// What was to be cancelled in the other process was done before: nothing was shown.
    pub too_late: bool,
    pub store: Store,
    /// How late messages may be.
    pub slack: Duration,
    start: Timestamp,
    clients: HashMap<String, Client>,
    options: HashMap<String, QueueOptions>,
    queues: HashMap<(String, String), Queue>,
    pub background: HashMap<String, Background<Result<Came>>>,
    pub deliveries: HashMap<String, Arc<Delivery>>,
    pub sessions: HashMap<String, Arc<Session>>,
    /// Consumers and workers.
    pub consumers: HashMap<String, Arc<Intake>>,
    /// Calls of handlers that go on.
    pub calls: Vec<Call>,
    pub producers: HashMap<String, Producer>,
    /// Ids of sent messages, by their bodies.
    pub ids: HashMap<String, MessageId>,
    /// Ids that no sender chose.
    pub made: HashSet<MessageId>,
    /// Where listings go on, by the body of what was listed.
    pub cursors: HashMap<Vec<u8>, u64>,
}

impl<'a> World<'a> {
    pub fn new(target: &Target, scenario: &'a Scenario) -> Result<Self> {
        let mut store = target.store()?;
        if let Some(limit) = scenario.runtime.memory_limit {
            store.limit_memory(limit)?;
        }
        Ok(Self::in_store(store, target.slack(), scenario))
    }

    /// In a store that is there already.
    pub fn in_store(store: Store, slack: Duration, scenario: &'a Scenario) -> Self {
        let clock = store.runtime().clock();
        let start = clock.timestamp(clock.now());
        Self {
            scenario,
            beside: None,
            too_late: false,
            store,
            slack,
            start,
            clients: HashMap::new(),
            options: HashMap::new(),
            queues: HashMap::new(),
            background: HashMap::new(),
            deliveries: HashMap::new(),
            sessions: HashMap::new(),
            consumers: HashMap::new(),
            calls: Vec::new(),
            producers: HashMap::new(),
            ids: HashMap::new(),
            made: HashSet::new(),
            cursors: HashMap::new(),
        }
    }

    /// Takes every step. The error says which one failed, and how.
    pub fn run(&mut self) -> Checked<()> {
        let runtime = self.store.runtime().clone();
        let steps = async {
            for (index, step) in self.scenario.steps.iter().enumerate() {
                let text = step::text(&step.written);
                let placed = |e| format!("step {} {text}: {e}", index + 1);
                let taken = if self.is_beside(step) {
                    self.take_beside(step).await
                } else {
                    self.take(step).await
                };
                taken.map_err(placed)?;
            }
            self.end_beside()
        };
        runtime.block_on(steps).map_err(|e| e.to_string())?
    }

    pub async fn take(&mut self, step: &Step) -> Checked<()> {
        match &step.mode {
            Mode::Now => {
                if self.take_aside(&step.action).await? {
                    return Ok(());
                }
                let verb = self.begin(step).await?;
                let came = tokio::time::timeout(PATIENCE, verb).await;
                self.finish(step, came.map_err(|_| "it did not end")?)
            }
            Mode::Start(name) => {
                let verb = self.begin(step).await?;
                self.background
                    .insert(name.clone(), Background::start(verb));
                Ok(())
            }
            Mode::Join(name) => {
                let background = remove(&mut self.background, name)?;
                let came = background.join().await.ok_or("nothing woke it")?;
                self.finish(step, came)
            }
        }
    }

    /// Takes a step that is no verb of a provider. Answers whether it was one.
    async fn take_aside(&mut self, action: &Action) -> Checked<bool> {
        match action {
            Action::Advance(advance) => {
                for _ in 0..advance.times {
                    self.advance(advance.by.0).await?;
                }
            }
            Action::Pending(name) => {
                // Whatever is to end it, and was woken before, has its turn first.
                self.turn().await;
                let background = self.background.get_mut(name);
                if !background.ok_or("it was not started")?.is_pending() {
                    return Err("it has ended".to_owned());
                }
            }
            Action::Cancel(name) => drop(remove(&mut self.background, name)?),
            Action::Drop(name) => {
                let dropped = remove(&mut self.deliveries, name)?;
                // Its other names would keep it.
                self.deliveries
                    .retain(|_, other| !Arc::ptr_eq(other, &dropped));
            }
            Action::DropSession(name) => drop(remove(&mut self.sessions, name)?),
            Action::DropConsumer(name) => drop(remove(&mut self.consumers, name)?),
            Action::Configure(configure) => {
                self.queues
                    .retain(|(client, _), _| *client != configure.client);
                let options = configure.options.clone();
                self.options.insert(configure.client.clone(), options);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn advance(&mut self, by: Duration) -> Checked<()> {
        let clock = self.store.runtime().clock();
        if !clock.is_virtual() {
            tokio::time::sleep(by).await;
            return Ok(());
        }
        // The other process moves first, by so much: nobody moves its clock meanwhile. What both
        // share may move this one then, which is to come no further.
        let to = clock.now() + by;
        let clock = clock.clone();
        self.advance_beside(by)?;
        clock.catch_up(to);
        if !self.consumers.is_empty() {
            // Locks that are due are renewed before more time passes.
            self.turn().await;
        }
        Ok(())
    }

    /// Lets background work that is due have its turn.
    pub async fn turn(&self) {
        for tasks in self.store.tasks() {
            let (done, turn) = oneshot::channel::<()>();
            tasks.spawn(async move { drop(done) });
            let _ = turn.await;
        }
    }

    /// The client of this name, connected at its first use.
    pub async fn client(&mut self, name: &str) -> Result<Client> {
        if let Some(client) = self.clients.get(name) {
            return Ok(client.clone());
        }
        let runtime = self.store.runtime_of(name);
        let client = runtime.connect(self.store.url()).await?;
        self.clients.insert(name.to_owned(), client.clone());
        Ok(client)
    }

    /// Connects a client in a way of its own.
    pub async fn connect(&mut self, connect: &Connect) -> Result<()> {
        let mut url = connect.url.clone().unwrap_or(self.store.url().to_owned());
        if let Some(options) = &connect.url_options {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(options);
        }
        let mut config = ClientConfig::from(&*url);
        if !connect.require.is_empty() {
            config = config.require(connect.require.iter().copied());
        }
        let runtime = self.store.runtime_of(&connect.client);
        let client = runtime.connect(config).await?;
        self.clients.insert(connect.client.clone(), client);
        self.queues
            .retain(|(client, _), _| *client != connect.client);
        Ok(())
    }

    /// The queue of a step, opened at its first use.
    pub async fn queue(&mut self, step: &Step) -> Result<Queue> {
        let client = step.client.as_deref().unwrap_or(CLIENT);
        let name = step.queue.as_deref().unwrap_or(QUEUE);
        let key = (client.to_owned(), name.to_owned());
        if let Some(queue) = self.queues.get(&key) {
            return Ok(queue.clone());
        }
        let options = self
            .options
            .get(client)
            .unwrap_or(&self.scenario.options)
            .clone();
        let name = self.store.queue_name(name);
        let client = self.client(client).await?;
        let by_itself = client.capabilities().has(Capability::CreateAtFirstUse);
        let by_hand = !by_itself && options.create != Some(Create::Never);
        let queue = client.queue_with(&name, options)?;
        if by_hand {
            match queue.create().await {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        self.queues.insert(key, queue.clone());
        Ok(queue)
    }

    pub fn delivery(&self, name: &str) -> Checked<Arc<Delivery>> {
        let delivery = self.deliveries.get(name).cloned();
        delivery.ok_or_else(|| format!("there is no delivery {name:?}"))
    }

    pub fn session(&self, name: &str) -> Checked<Arc<Session>> {
        let session = self.sessions.get(name).cloned();
        session.ok_or_else(|| format!("there is no session {name:?}"))
    }

    pub fn context(&self) -> Context<'_> {
        Context {
            start: self.start,
            ids: &self.ids,
            store: &self.store,
        }
    }

    pub fn cursor(&self, body: &Option<String>) -> Checked<Option<u64>> {
        let Some(body) = body else { return Ok(None) };
        let cursor = self.cursors.get(body.as_bytes()).copied();
        cursor
            .map(Some)
            .ok_or_else(|| format!("nothing was listed with the body {body:?}"))
    }

    pub fn filter(&self, filter: &Filter) -> Checked<DeadLetterFilter> {
        let context = self.context();
        let ids = filter.ids_of.iter().map(|body| context.id_of(body));
        let header = filter.header.as_ref();
        Ok(DeadLetterFilter {
            ids: ids.collect::<Checked<_>>()?,
            reason: filter.reason.as_deref().map(Into::into),
            session: filter.session.as_deref().map(Into::into),
            header: header.map(|(name, value)| (name.as_str().into(), value.as_str().into())),
            since: filter.since.map(|span| context.moment(span)),
            until: filter.until.map(|span| context.moment(span)),
        })
    }
}

pub(super) fn remove<T>(named: &mut HashMap<String, T>, name: &str) -> Checked<T> {
    named
        .remove(name)
        .ok_or_else(|| format!("nothing is named {name:?}"))
}
