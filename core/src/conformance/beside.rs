//! A second process that takes the steps of every client but the first, as it is told over a pipe.
//!
//! Both processes know the scenario; an order is the number of a step, with what earlier steps of
//! the other side made known, and the answer is what the step failed with, and what it has now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scenario::{Scenario, scenarios};
use super::step::{Action, Mode, Step};
use super::target::Store;
use super::world::{CLIENT, Checked, World};
use crate::clock::Tick;
use crate::message::MessageId;

#[derive(Serialize, Deserialize)]
enum Order {
    /// Takes the step of this number.
    Take {
        step: usize,
        /// What this process has now under names that the other one had.
        forget: Names,
        known: Known,
    },
    /// Time has come to this moment, of a virtual clock.
    CatchUp { to: u64 },
}

#[derive(Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
    names: Names,
    known: Known,
}

/// What later steps call by name.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Names {
    deliveries: BTreeSet<String>,
    sessions: BTreeSet<String>,
    consumers: BTreeSet<String>,
    background: BTreeSet<String>,
}

/// What later steps of either process may speak of.
#[derive(Default, Serialize, Deserialize)]
struct Known {
    ids: BTreeMap<String, String>,
    made: BTreeSet<String>,
    cursors: Vec<(Vec<u8>, u64)>,
}

/// The other process, as this one sees it. Killed when dropped.
pub(super) struct Beside {
    process: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
    names: Names,
}

impl Beside {
    /// Starts it; what comes of the command has to call [`serve`].
    fn start(mut command: Command, scenario: &Scenario) -> std::io::Result<Self> {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = pipes.spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (mut told, says) = pipes.ok_or(std::io::ErrorKind::BrokenPipe)?;
        writeln!(told, "{}", scenario.name)?;
        Ok(Self {
            process,
            told,
            says: BufReader::new(says),
            names: Names::default(),
        })
    }

    fn ask(&mut self, order: &Order) -> Checked<Answer> {
        let gone = |e: std::io::Error| format!("the other process: {e}");
        let order = serde_json::to_string(order).map_err(|e| e.to_string())?;
        writeln!(self.told, "{order}").map_err(gone)?;
        let mut line = String::new();
        self.says.read_line(&mut line).map_err(gone)?;
        let answer = serde_json::from_str(&line);
        answer.map_err(|e| format!("the other process said {line:?}: {e}"))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes steps of a scenario in this store, as the process says that started this one, until it
/// goes. Waits; not to be called on a thread of a tokio runtime.
///
/// # Errors
///
/// A text that says what was told and makes no sense.
pub fn serve(store: Store) -> Result<(), String> {
    let mut lines = std::io::stdin().lock().lines();
    let mut line = || lines.next().transpose().map_err(|e| e.to_string());
    let name = line()?.ok_or("no scenario was named")?;
    let all = scenarios()?;
    let scenario = all.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| format!("there is no scenario {name}"))?;
    let mut world = World::in_store(store, Duration::ZERO, scenario);
    let runtime = world.store.runtime().clone();
    let work = async {
        while let Some(line) = line()? {
            let order = serde_json::from_str(&line).map_err(|e| format!("{line}: {e}"))?;
            let answer = world.obey(order).await;
            let answer = serde_json::to_string(&answer).map_err(|e| e.to_string())?;
            println!("{answer}");
        }
        Ok(())
    };
    runtime.block_on(work).map_err(|e| e.to_string())?
}

impl Scenario {
    /// Whether clients beside the first have a part in it.
    pub(super) fn has_other_clients(&self) -> bool {
        let other = |step: &Step| client_of(step).is_some_and(|client| client != CLIENT);
        self.steps.iter().any(other)
    }
}

/// The client that a step names.
fn client_of(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Connect(connect) => Some(&connect.client),
        Action::Configure(configure) => Some(&configure.client),
        Action::CloseClient(name) => Some(name),
        _ => step.client.as_deref(),
    }
}

impl World<'_> {
    /// Takes a step in the other process, if it is one of its.
    pub(super) fn take_beside(&mut self, index: usize, step: &Step) -> Option<Checked<()>> {
        self.is_beside(step).then(|| self.tell(index))
    }

    /// The other process moves its clock as well, and does what is due.
    pub(super) fn catch_up_beside(&mut self) -> Checked<()> {
        let to = self.store.runtime().clock().now().0;
        match &mut self.beside {
            Some(beside) => beside
                .ask(&Order::CatchUp { to })?
                .error
                .map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    /// Whether a step is taken in the other process: its client lives there, or what it names.
    fn is_beside(&self, step: &Step) -> bool {
        if !self.store.has_beside() {
            return false;
        }
        let Some(beside) = &self.beside else {
            return client_of(step).is_some_and(|client| client != CLIENT);
        };
        let names = &beside.names;
        if let Mode::Join(name) = &step.mode {
            return names.background.contains(name);
        }
        if let Some(client) = client_of(step) {
            return client != CLIENT;
        }
        let delivery =
            |name: &String| names.deliveries.contains(name) && !self.deliveries.contains_key(name);
        let session =
            |name: &String| names.sessions.contains(name) && !self.sessions.contains_key(name);
        let consumer = |name: &String| names.consumers.contains(name);
        match &step.action {
            Action::Settle(settle) => delivery(&settle.delivery),
            Action::SettleMany(entries) => entries.iter().all(|e| delivery(&e.delivery)),
            Action::Extend(extend) => delivery(&extend.delivery),
            Action::ExtendMany(extend) => extend.entries.iter().all(|e| delivery(&e.delivery)),
            Action::Drop(name) => delivery(name),
            Action::Cancelled(cancelled) => delivery(&cancelled.delivery),
            Action::Receive(receive) => receive.from.as_ref().is_some_and(session),
            Action::Renew(renew) => session(&renew.session),
            Action::CloseSession(name) | Action::DropSession(name) => session(name),
            Action::State(state) => session(&state.session),
            Action::SetState(set) => session(&set.session),
            Action::Next(next) => consumer(&next.consumer),
            Action::ConsumerStatus(status) => consumer(&status.consumer),
            Action::Drain(drain) => consumer(&drain.consumer),
            Action::Stop(name)
            | Action::Pause(name)
            | Action::Resume(name)
            | Action::ResetBreaker(name)
            | Action::DropConsumer(name) => consumer(name),
            Action::Call(call) => consumer(&call.worker),
            Action::Pending(name) | Action::Cancel(name) => names.background.contains(name),
            _ => false,
        }
    }

    /// Has the other process take a step, and learns what came of it.
    fn tell(&mut self, step: usize) -> Checked<()> {
        let mut beside = match self.beside.take() {
            Some(beside) => beside,
            None => self.start_beside()?,
        };
        let here = self.names();
        let both = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| {
            ours.intersection(theirs).cloned().collect()
        };
        let forget = Names {
            deliveries: both(&here.deliveries, &beside.names.deliveries),
            sessions: both(&here.sessions, &beside.names.sessions),
            ..Names::default()
        };
        let known = self.known();
        let answer = beside.ask(&Order::Take {
            step,
            forget,
            known,
        })?;
        // A later delivery of the same name takes the name over.
        self.deliveries
            .retain(|name, _| !answer.names.deliveries.contains(name));
        self.learn(answer.known);
        beside.names = answer.names;
        self.beside = Some(beside);
        answer.error.map_or(Ok(()), Err)
    }

    fn start_beside(&self) -> Checked<Beside> {
        let command = self
            .store
            .start_beside()
            .ok_or("there is no other process")?;
        let started = Beside::start(command, self.scenario);
        let mut beside = started.map_err(|e| format!("the other process: {e}"))?;
        let clock = self.store.runtime().clock();
        if clock.is_virtual() {
            let to = clock.now().0;
            beside.ask(&Order::CatchUp { to })?;
        }
        Ok(beside)
    }

    /// Does what it is told, in the other process.
    async fn obey(&mut self, order: Order) -> Answer {
        let done = match order {
            Order::Take {
                step,
                forget,
                known,
            } => {
                self.deliveries
                    .retain(|name, _| !forget.deliveries.contains(name));
                self.sessions
                    .retain(|name, _| !forget.sessions.contains(name));
                self.learn(known);
                let scenario = self.scenario;
                match scenario.steps.get(step) {
                    Some(step) => self.take(step).await,
                    None => Err(format!("there is no step {step}")),
                }
            }
            Order::CatchUp { to } => self.catch_up(to).await,
        };
        Answer {
            error: done.err(),
            names: self.names(),
            known: self.known(),
        }
    }

    /// Moves this process's clock as far as the other's, and lets what is due have its turn.
    async fn catch_up(&self, to: u64) -> Checked<()> {
        self.store.runtime().clock().catch_up(Tick(to));
        self.turn().await;
        Ok(())
    }

    fn names(&self) -> Names {
        fn keys<T>(named: &HashMap<String, T>) -> BTreeSet<String> {
            named.keys().cloned().collect()
        }
        Names {
            deliveries: keys(&self.deliveries),
            sessions: keys(&self.sessions),
            consumers: keys(&self.consumers),
            background: keys(&self.background),
        }
    }

    fn known(&self) -> Known {
        let text = |(body, id): (&String, &MessageId)| (body.clone(), id.to_string());
        Known {
            ids: self.ids.iter().map(text).collect(),
            made: self.made.iter().map(MessageId::to_string).collect(),
            cursors: self.cursors.clone().into_iter().collect(),
        }
    }

    fn learn(&mut self, known: Known) {
        let id = |id: String| MessageId::from(&*id);
        let ids = known.ids.into_iter();
        self.ids.extend(ids.map(|(body, text)| (body, id(text))));
        self.made.extend(known.made.into_iter().map(id));
        self.cursors.extend(known.cursors);
    }
}
