//! A second process that takes the steps of every client but the first, as it is told over a pipe.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::background::PATIENCE;
use super::orders::{Answer, Begin, Names, Order, Take};
use super::scenario::Scenario;
use super::step::{Action, Mode, Step};
use super::world::{CLIENT, Checked, World};
use crate::clock::Tick;

/// How long the other process may say nothing, which gives up a step itself.
const SILENCE: Duration = PATIENCE.saturating_mul(2);

/// The other process, as this one sees it. Killed when dropped.
pub(super) struct Beside {
    process: Child,
    /// It ends when this is closed.
    told: Option<ChildStdin>,
    says: Receiver<io::Result<String>>,
    complains: Option<JoinHandle<String>>,
    names: Names,
}

impl Beside {
    fn start(mut command: Command) -> io::Result<Self> {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = pipes.stderr(Stdio::piped()).spawn()?;
        let pipes = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (Some(told), Some(answers), Some(complaints)) = pipes else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (line, says) = channel();
        spawn(move || {
            let mut lines = BufReader::new(answers).lines();
            lines.try_for_each(|read| line.send(read))
        });
        let complains = spawn(move || io::read_to_string(complaints).unwrap_or_default());
        Ok(Self {
            process,
            told: Some(told),
            says,
            complains: Some(complains),
            names: Names::default(),
        })
    }

    fn ask(&mut self, order: &Order) -> Checked<Answer> {
        let order = serde_json::to_string(order).map_err(|e| e.to_string())?;
        if let Some(told) = &mut self.told {
            // Who is gone hears nothing, and says nothing.
            let _ = writeln!(told, "{order}");
        }
        let line = match self.says.recv_timeout(SILENCE) {
            Ok(line) => line.map_err(|e| format!("the other process: {e}"))?,
            Err(RecvTimeoutError::Timeout) => return Err(self.killed("says nothing")),
            Err(RecvTimeoutError::Disconnected) => return Err(self.ended()?),
        };
        let answer = serde_json::from_str(&line);
        answer.map_err(|e| self.killed(&format!("said {line:?}: {e}")))
    }

    /// Has it end by itself, which must end well.
    fn end(mut self) -> Checked<()> {
        drop(self.told.take());
        match self.says.recv_timeout(SILENCE) {
            Ok(line) => Err(self.killed(&format!("said at its end: {line:?}"))),
            Err(RecvTimeoutError::Timeout) => Err(self.killed("does not end")),
            Err(RecvTimeoutError::Disconnected) => match self.process.wait() {
                Ok(status) if status.success() => Ok(()),
                _ => Err(self.ended()?),
            },
        }
    }

    /// What became of it, now that it has ended.
    fn ended(&mut self) -> Checked<String> {
        let status = self.process.wait().map_err(|e| e.to_string())?;
        Ok(self.in_its_words(&format!("ended with {status}")))
    }

    fn killed(&mut self, why: &str) -> String {
        let _ = self.process.kill();
        self.in_its_words(why)
    }

    fn in_its_words(&mut self, why: &str) -> String {
        let words = self.complains.take().and_then(|words| words.join().ok());
        format!("the other process {why}\n{}", words.unwrap_or_default())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
    /// Whether a step is taken in the other process: its client lives there, or what it names.
    pub(super) fn is_beside(&self, step: &Step) -> bool {
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
            Action::Consume(consume) => consume.from.as_ref().is_some_and(session),
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
    pub(super) async fn take_beside(&mut self, step: &Step) -> Checked<()> {
        // What was let go here is done before that.
        self.turn().await;
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
        let answer = beside.ask(&Order::Take(Take {
            step: step.written.clone(),
            forget,
            known: self.known(),
        }))?;
        // A later delivery of the same name takes the name over.
        self.deliveries
            .retain(|name, _| !answer.names.deliveries.contains(name));
        self.learn(answer.known);
        self.too_late |= answer.too_late;
        beside.names = answer.names;
        self.beside = Some(beside);
        failed(answer.error)
    }

    /// So much time passes in the other process, which does what is due.
    pub(super) fn advance_beside(&mut self, by: Duration) -> Checked<()> {
        match &mut self.beside {
            Some(beside) => failed(beside.ask(&Order::Advance(millis(by)))?.error),
            None => Ok(()),
        }
    }

    /// The other process ends with the scenario.
    pub(super) fn end_beside(&mut self) -> Checked<()> {
        self.beside.take().map_or(Ok(()), Beside::end)
    }

    fn start_beside(&self) -> Checked<Beside> {
        let command = self
            .store
            .start_beside()
            .ok_or("there is no other process")?;
        let started = Beside::start(command);
        let mut beside = started.map_err(|e| format!("the other process: {e}"))?;
        let clock = self.store.runtime().clock();
        let virtual_clock = clock.is_virtual();
        let passed = if virtual_clock { clock.now() } else { Tick(0) };
        let begin = Begin {
            url: self.store.url().to_owned(),
            virtual_clock,
            now_ms: millis(passed.since(Tick(0))),
            options: self.scenario.written_options.clone(),
        };
        failed(beside.ask(&Order::Begin(begin))?.error)?;
        Ok(beside)
    }
}

/// What an answer says of the order.
fn failed(error: Option<String>) -> Checked<()> {
    error.map_or(Ok(()), |e| Err(format!("in the other process: {e}")))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
