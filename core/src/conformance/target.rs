//! What the scenarios are run against.

use std::any::Any;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::report::{Kind, Outcome};
use super::scenario::{Scenario, Tag};
use super::world::CLIENT;
use crate::Result;
use crate::capability::Capabilities;
use crate::config::RuntimeConfig;
use crate::runtime::{Runtime, Tasks};

/// A store that nobody else uses, for one scenario.
pub struct Store {
    runtime: Runtime,
    other: Option<Runtime>,
    beside: Option<Arc<dyn Fn() -> Command + Send + Sync>>,
    url: String,
    prefix: String,
    guard: Option<Box<dyn Any + Send>>,
}

impl Store {
    /// An empty store behind this URL. All clients of the scenario connect to it, on this runtime;
    /// its clock is the scenario's.
    pub fn new(runtime: Runtime, url: impl Into<String>) -> Self {
        Self {
            runtime,
            other: None,
            beside: None,
            url: url.into(),
            prefix: String::new(),
            guard: None,
        }
    }

    /// Connects all clients but the first over this runtime, as if they lived in another process.
    /// What its clock says must follow the first one's.
    pub fn other(mut self, runtime: Runtime) -> Self {
        self.other = Some(runtime);
        self
    }

    /// Has all clients but the first live in another process, which this command starts: it has to
    /// call [`follow`](super::follow()), or to do as that does in another language.
    pub fn beside(mut self, command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        self.beside = Some(Arc::new(command));
        self
    }

    /// Puts this before the name of every queue: for a server that keeps what scenarios before
    /// this one left.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Keeps this until the scenario has ended: a folder or a server that ends when dropped.
    pub fn guard(mut self, guard: impl Any + Send) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Connects the first client over a runtime of this limit.
    pub(super) fn limit_memory(&mut self, limit: u64) -> Result<()> {
        let config = RuntimeConfig {
            worker_threads: Some(1),
            memory_limit: Some(limit),
            ..RuntimeConfig::default()
        };
        let clock = self.runtime.clock().clone();
        self.runtime = Runtime::with_clock(config, clock)?;
        Ok(())
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Whether all clients but the first live in another process.
    pub(super) fn has_beside(&self) -> bool {
        self.beside.is_some()
    }

    /// What starts the other process, if the others live in one.
    pub(super) fn start_beside(&self) -> Option<Command> {
        self.beside.as_ref().map(|command| command())
    }

    /// The runtime of the client of this name.
    pub(super) fn runtime_of(&self, client: &str) -> &Runtime {
        match &self.other {
            Some(other) if client != CLIENT => other,
            _ => &self.runtime,
        }
    }

    /// What runs the background work of each runtime.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Tasks> {
        [Some(&self.runtime), self.other.as_ref()]
            .into_iter()
            .flatten()
            .map(Runtime::tasks)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The name of a scenario's queue in this store. An empty name stays empty: it is a mistake
    /// on purpose.
    pub(super) fn queue_name(&self, name: &str) -> String {
        if name.is_empty() {
            String::new()
        } else {
            format!("{}{name}", self.prefix)
        }
    }
}

type MakeStore = dyn Fn() -> Result<Store> + Send + Sync;

/// A provider, and how to get at fresh stores of it.
pub struct Target {
    provider: String,
    language: String,
    make: Box<MakeStore>,
    slack: Duration,
    deviations: BTreeMap<String, String>,
}

impl Target {
    /// A provider under the name it has in the report. `make` is called once for each scenario.
    ///
    /// With a virtual clock in the store's runtime every scenario runs; with the system's clock
    /// only those that make sense in real time.
    pub fn new(
        provider: impl Into<String>,
        make: impl Fn() -> Result<Store> + Send + Sync + 'static,
    ) -> Self {
        Self {
            provider: provider.into(),
            language: "rust".to_owned(),
            make: Box::new(make),
            slack: Duration::ZERO,
            deviations: BTreeMap::new(),
        }
    }

    /// The other processes of its stores speak this language: the report says `rust+python`.
    pub fn beside(mut self, language: &str) -> Self {
        self.language = format!("rust+{language}");
        self
    }

    /// The provider speaks to a server, whose messages may be this late.
    pub fn server(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// The server that the tests run against differs from what it stands for, so that this
    /// scenario would fail for this reason, which is not the provider's.
    pub fn deviation(mut self, scenario: &str, reason: &str) -> Self {
        self.deviations
            .insert(scenario.to_owned(), reason.to_owned());
        self
    }

    /// The name in the report.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The language in the report.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// Deviations of scenarios that there are not: mistakes, or left behind by a change of name.
    pub fn unknown_deviations<'a>(
        &'a self,
        scenarios: &'a [Scenario],
    ) -> impl Iterator<Item = &'a str> {
        let unknown = |name: &&str| !scenarios.iter().any(|scenario| scenario.name == *name);
        self.deviations.keys().map(String::as_str).filter(unknown)
    }

    /// The scenarios that this target is asked: all in virtual time, in real time those that make
    /// sense there; with two processes those with several clients.
    ///
    /// # Errors
    ///
    /// Those of making a store.
    pub fn choose(&self, mut scenarios: Vec<Scenario>) -> Result<Vec<Scenario>> {
        let store = self.store()?;
        if !store.runtime.clock().is_virtual() {
            scenarios.retain(|scenario| scenario.tags.contains(&Tag::RealTime));
        }
        if store.beside.is_some() {
            scenarios.retain(Scenario::has_other_clients);
        }
        Ok(scenarios)
    }

    /// What this provider declares.
    ///
    /// # Errors
    ///
    /// Those of opening a client.
    pub fn capabilities(&self) -> Result<Capabilities> {
        let store = self.store()?;
        let client = store
            .runtime
            .block_on(store.runtime.connect(store.url()))??;
        Ok(client.capabilities().clone())
    }

    /// Why a scenario is not run, if it is not: a declared capability or a server's deviation,
    /// and nothing else.
    pub fn skip(&self, scenario: &Scenario, capabilities: &Capabilities) -> Option<Outcome> {
        if let Some(reason) = self.deviations.get(&scenario.name) {
            return Some(Outcome::Skip(Kind::Server, reason.clone()));
        }
        let lacking = scenario.needs.iter().find(|c| !capabilities.has(**c));
        let having = scenario.lacks.iter().find(|c| capabilities.has(**c));
        let reason = match (lacking, having) {
            (Some(capability), _) => format!("{capability} is unsupported"),
            (None, Some(capability)) => format!("{capability} is supported"),
            (None, None) => return None,
        };
        Some(Outcome::Skip(Kind::Capability, reason))
    }

    pub(super) fn store(&self) -> Result<Store> {
        (self.make)()
    }

    pub(super) fn slack(&self) -> Duration {
        self.slack
    }
}
