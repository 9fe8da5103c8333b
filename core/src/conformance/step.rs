//! One step of a scenario: a verb, its arguments and what must come of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::arguments::*;
use super::consumers::{Cancelled, Consume, Drain, Next, Status};
use super::dead_letter_statistics::Count;
use super::producers::{CloseProducer, Produce};
use super::template;
use super::workers::{NextCall, Return, Work};

/// The steps that were started and wait for their `join` or `cancel`.
pub(super) type Started = BTreeMap<String, Table>;

/// A step, ready to be run.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// As it stands in the file.
    pub written: Table,
    /// The client that takes it, if said.
    pub client: Option<String>,
    /// The queue it is about, if said.
    pub queue: Option<String>,
    pub mode: Mode,
    pub action: Action,
    /// How it must fail, if it must.
    pub error: Option<Failure>,
}

/// Whether a step is waited for.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    Now,
    /// It goes on in the background under this name.
    Start(String),
    /// The one of this name comes to its end.
    Join(String),
}

/// What is done. Verbs of a delivery or session name it.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Send(Outgoing),
    SendMany(Vec<Outgoing>),
    Receive(Receive),
    Settle(Settle),
    SettleMany(Vec<Settle>),
    Extend(Extend),
    ExtendMany(ExtendMany),
    Drop(String),
    Accept(Accept),
    AcceptNext(AcceptNext),
    Renew(Renew),
    CloseSession(String),
    DropSession(String),
    State(State),
    SetState(SetState),
    Peek(Peek),
    DeadLetters(DeadLetters),
    Redrive(Redrive),
    Purge(Purge),
    Statistics(Counts),
    DeadLetterStatistics(Count),
    Explain(Explain),
    Create,
    Consume(Consume),
    Next(Next),
    ConsumerStatus(Status),
    Cancelled(Cancelled),
    Drain(Drain),
    Stop(String),
    Pause(String),
    Resume(String),
    ResetBreaker(String),
    DropConsumer(String),
    Work(Work),
    Call(NextCall),
    Return(Return),
    Produce(Produce),
    Flush(String),
    CloseProducer(CloseProducer),
    Advance(Advance),
    Pending(String),
    Cancel(String),
    Connect(Connect),
    Configure(Configure),
    CloseClient(String),
}

/// What every step may say.
#[derive(Deserialize)]
struct Common {
    client: Option<String>,
    queue: Option<String>,
    start: Option<String>,
    error: Option<Failure>,
}

const COMMON: [&str; 4] = ["client", "queue", "start", "error"];

impl Step {
    /// Reads a step. `started` carries from a `start` to its `join`.
    pub fn read(written: Table, started: &mut Started) -> Result<Self, String> {
        let mut table = template::expand_table(written.clone())?;
        let joined = take_text(&mut table, "join")?;
        if let Some(name) = &joined {
            let Some(mut whole) = started.remove(name) else {
                return Err(format!("{name:?} was not started"));
            };
            whole.remove("start");
            whole.extend(table);
            table = whole;
        }
        if let Some(Value::String(name)) = table.get("cancel")
            && started.remove(name).is_none()
        {
            return Err(format!("{name:?} was not started"));
        }
        let whole = table.clone();
        let common = COMMON.iter().filter_map(|key| table.remove_entry(*key));
        let common: Common = fields(common.collect())?;
        let mode = match (joined, common.start) {
            (Some(name), None) => Mode::Join(name),
            (None, Some(name)) => {
                started.insert(name.clone(), whole);
                Mode::Start(name)
            }
            (None, None) => Mode::Now,
            (Some(_), Some(_)) => return Err("a step is started or joined, not both".to_owned()),
        };
        let action = Action::read(table)?;
        action.check(&mode, common.error.is_some())?;
        Ok(Self {
            written,
            client: common.client,
            queue: common.queue,
            mode,
            action,
            error: common.error,
        })
    }
}

/// A step as it stands in the file, for people.
pub(super) fn text(written: &Table) -> String {
    Value::Table(written.clone()).to_string()
}

impl Action {
    fn read(mut table: Table) -> Result<Self, String> {
        let verbs: Vec<String> = table
            .keys()
            .filter(|key| VERBS.contains(&key.as_str()))
            .cloned()
            .collect();
        let verb = match &verbs[..] {
            [verb] => verb.as_str(),
            [] => return Err(format!("no verb; there are: {}", VERBS.join(", "))),
            _ => return Err(format!("several verbs: {}", verbs.join(", "))),
        };
        Ok(match verb {
            "send" => Self::Send(fields(table)?),
            "send_many" => Self::SendMany(only(&mut table, verb)?),
            "receive" => Self::Receive(fields(table)?),
            "ack" | "nack" | "release" | "dead_letter" => Self::Settle(fields(table)?),
            "settle_many" => Self::SettleMany(only(&mut table, verb)?),
            "extend" => Self::Extend(fields(table)?),
            "extend_many" => Self::ExtendMany(fields(table)?),
            "drop" => Self::Drop(only(&mut table, verb)?),
            "accept" => Self::Accept(fields(table)?),
            "accept_next" => Self::AcceptNext(fields(table)?),
            "renew" => Self::Renew(fields(table)?),
            "close_session" => Self::CloseSession(only(&mut table, verb)?),
            "drop_session" => Self::DropSession(only(&mut table, verb)?),
            "state" => Self::State(fields(table)?),
            "set_state" => Self::SetState(fields(table)?),
            "peek" => Self::Peek(fields(table)?),
            "dead_letters" => Self::DeadLetters(fields(table)?),
            "redrive" => Self::Redrive(fields(table)?),
            "purge" => Self::Purge(fields(table)?),
            "statistics" => Self::Statistics(only(&mut table, verb)?),
            "dead_letter_statistics" => Self::DeadLetterStatistics(fields(table)?),
            "explain" => Self::Explain(fields(table)?),
            "create" => only::<True>(&mut table, verb).map(|True| Self::Create)?,
            "consume" => Self::Consume(Consume::read(table)?),
            "next" => Self::Next(fields(table)?),
            "consumer_status" => Self::ConsumerStatus(fields(table)?),
            "cancelled" => Self::Cancelled(fields(table)?),
            "drain" => Self::Drain(fields(table)?),
            "stop" => Self::Stop(only(&mut table, verb)?),
            "pause" => Self::Pause(only(&mut table, verb)?),
            "resume" => Self::Resume(only(&mut table, verb)?),
            "reset_breaker" => Self::ResetBreaker(only(&mut table, verb)?),
            "drop_consumer" => Self::DropConsumer(only(&mut table, verb)?),
            "work" => Self::Work(Work::read(table)?),
            "call" => Self::Call(fields(table)?),
            "return" => Self::Return(fields(table)?),
            "produce" => Self::Produce(Produce::read(table)?),
            "flush" => Self::Flush(only(&mut table, verb)?),
            "close_producer" => Self::CloseProducer(fields(table)?),
            "advance" => Self::Advance(fields(table)?),
            "pending" => Self::Pending(only(&mut table, verb)?),
            "cancel" => Self::Cancel(only(&mut table, verb)?),
            "connect" => Self::Connect(fields(table)?),
            "configure" => Self::Configure(fields(table)?),
            "close_client" => Self::CloseClient(only(&mut table, verb)?),
            other => unreachable!("{other} is listed and not read"),
        })
    }

    /// What a single argument cannot see.
    fn check(&self, mode: &Mode, fails: bool) -> Result<(), String> {
        let started = matches!(mode, Mode::Start(_));
        let in_background = matches!(
            self,
            Self::Send(_)
                | Self::Receive(_)
                | Self::AcceptNext(_)
                | Self::Redrive(_)
                | Self::Next(_)
                | Self::Drain(_)
                | Self::Call(_)
        );
        if started && !in_background {
            return Err("this verb cannot be started".to_owned());
        }
        if let Self::SendMany(entries) = self
            && entries.iter().any(|entry| entry.by.is_some())
        {
            return Err("unknown field `by` of an entry".to_owned());
        }
        let says_what_comes = match self {
            Self::Receive(receive) => receive.expect.is_some() || receive.count.is_some(),
            Self::AcceptNext(accept) => accept.expect.is_some(),
            Self::Next(next) => next.expect.is_some() || next.count.is_some(),
            Self::Call(call) => call.expect.is_some() || call.count.is_some(),
            Self::Peek(peek) => peek.expect.is_some(),
            Self::DeadLetters(list) => list.expect.is_some(),
            Self::Explain(explain) => explain.expect.is_some(),
            Self::DeadLetterStatistics(count) => count.expect.is_some(),
            _ => true,
        };
        if started || fails || says_what_comes {
            Ok(())
        } else {
            Err("it must say what comes: `expect`, or `count` of deliveries".to_owned())
        }
    }
}

const VERBS: [&str; 48] = [
    "send",
    "send_many",
    "receive",
    "ack",
    "nack",
    "release",
    "dead_letter",
    "settle_many",
    "extend",
    "extend_many",
    "drop",
    "accept",
    "accept_next",
    "renew",
    "close_session",
    "drop_session",
    "state",
    "set_state",
    "peek",
    "dead_letters",
    "redrive",
    "purge",
    "statistics",
    "dead_letter_statistics",
    "explain",
    "create",
    "consume",
    "next",
    "consumer_status",
    "cancelled",
    "drain",
    "stop",
    "pause",
    "resume",
    "reset_breaker",
    "drop_consumer",
    "work",
    "call",
    "return",
    "produce",
    "flush",
    "close_producer",
    "advance",
    "pending",
    "cancel",
    "connect",
    "configure",
    "close_client",
];

fn fields<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    table
        .try_into()
        .map_err(|e: toml::de::Error| e.message().to_owned())
}

/// The value of the only key there may be.
fn only<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<T, String> {
    let value = table
        .remove(key)
        .ok_or_else(|| format!("{key} is missing"))?;
    if let Some(other) = table.keys().next() {
        return Err(format!("unknown field `{other}`"));
    }
    value
        .try_into()
        .map_err(|e: toml::de::Error| e.message().to_owned())
}

/// A table, or a text that stands for the table with this one key.
pub(super) fn text_or_fields<T: DeserializeOwned>(value: Value, key: &str) -> Result<T, String> {
    match value {
        Value::String(_) => fields(Table::from_iter([(key.to_owned(), value)])),
        Value::Table(table) => fields(table),
        other => Err(format!("expected text or a table, found {other}")),
    }
}

fn take_text(table: &mut Table, key: &str) -> Result<Option<String>, String> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{key} is {other}, not a name")),
    }
}
