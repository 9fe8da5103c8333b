//! `sqs:` queues of AWS SQS, standard and FIFO, and of servers that speak its protocol.
//!
//! One client of the SDK for each account and runtime (`connect`). A queue is looked up at its
//! first use (`remote`); its verbs work on `Work`. Receives and polls are apart: polls outlive the
//! receives that began them (`polls`, `receive`). What SQS does not know of a message in flight
//! this process keeps (`in_flight`, `credits`, `sessions`).

mod address;
mod batches;
mod call;
mod connect;
mod create;
mod credits;
mod dead_letters;
mod envelope;
mod error;
mod in_flight;
mod move_task;
mod options;
mod polls;
mod queue;
mod receive;
mod remote;
mod send;
mod sessions;
mod settle;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use self::address::Address;
use self::call::Link;
use self::connect::Clients;
use self::envelope::Kind;
pub(super) use self::options::NAMES;
use self::options::{Account, Options};
use self::queue::SqsQueue;
use self::remote::{MAX_BYTES, Part};
use self::work::{Shared, Work};
use crate::capability::{Capabilities, Capability, Limits, Support};
use crate::config::{OnFailure, QueueOptions, Settings};
use crate::error::{Error, Result};
use crate::provider::{Provider, ProviderQueue};
use crate::reply::Reply;
use crate::runtime::{Runtime, Tasks};

struct Sqs {
    settings: Arc<Options>,
    link: Link,
    tasks: Tasks,
    queues: Arc<Queues>,
    capabilities: Capabilities,
}

/// What the views of each queue share, among the clients of a runtime.
#[derive(Default)]
struct Queues(Mutex<HashMap<Place, Weak<Shared>>>);

/// Where a queue is: whose, and which queues of SQS it is made of and with.
type Place = (Account, Vec<Address>);

pub(super) async fn open(runtime: &Runtime, settings: &Settings) -> Result<Arc<dyn Provider>> {
    let url = &settings.endpoint.url;
    let plain = url.port().is_none() && url.username().is_empty() && url.password().is_none();
    if !plain || !matches!(settings.endpoint.path.as_str(), "" | "/") {
        let what = "is sqs://REGION and options; another server is given by endpoint=";
        return Err(Error::invalid_config("url", what));
    }
    let options = Options::read(url.host_str(), settings.endpoint.options.clone())?;
    let account = options.account.clone();
    let clients = Clients::of(runtime);
    // On the runtime's own threads, where its connections live.
    let sqs = runtime
        .handle()
        .spawn(async move { clients.client(&account).await });
    let sqs = sqs.await.map_err(|_| Error::closed("runtime"))??;
    let capabilities = match options.fifo {
        Some(true) => capabilities(&options, Kind::Fifo, true),
        Some(false) => capabilities(&options, Kind::Standard, true),
        None => either(&options),
    };
    Ok(Arc::new(Sqs {
        link: Link {
            sqs,
            timeout: options.timeout,
        },
        settings: Arc::new(options),
        tasks: runtime.tasks().clone(),
        queues: runtime.share("sqs:queues", Queues::default),
        capabilities,
    }))
}

/// What queues of one kind can do, with fair groups where they may have them.
fn capabilities(options: &Options, kind: Kind, fair_groups: bool) -> Capabilities {
    use Capability::*;
    let beyond = options.long_delay && kind == Kind::Standard;
    let limits = Limits {
        message_bytes: Some(MAX_BYTES as u64),
        send_batch: Some(receive::BATCH as u32),
        receive_batch: None,
        delay: (!beyond).then_some(send::LONGEST_DELAY),
        lock: Some(in_flight::LONGEST),
        headers: None,
    };
    let both = Capabilities::new("sqs", limits)
        .with(
            Support::Native,
            &[Extend, NackDelay, DeadLetter, Statistics, Create],
        )
        .with(
            Support::Emulated,
            &[Ttl, Release, DeadLetterList, Redrive, Purge],
        );
    match kind {
        Kind::Standard if fair_groups => both.with(Support::Native, &[Delay, FairGroups]),
        Kind::Standard => both.with(Support::Native, &[Delay]),
        Kind::Fifo => both
            .with(Support::Native, &[Sessions, Dedup])
            .with(Support::Emulated, &[SessionNext]),
    }
}

/// What a queue of one kind or the other can do: which one, its own capabilities say.
fn either(options: &Options) -> Capabilities {
    let standard = capabilities(options, Kind::Standard, true);
    let fifo = capabilities(options, Kind::Fifo, true);
    let of_fifo = |support: Support| {
        let had = |c: &Capability| !standard.has(*c) && fifo.support(*c) == support;
        Capability::ALL.into_iter().filter(had).collect::<Vec<_>>()
    };
    let (native, emulated) = (of_fifo(Support::Native), of_fifo(Support::Emulated));
    standard
        .with(Support::Native, &native)
        .with(Support::Emulated, &emulated)
}

impl Provider for Sqs {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn queue(&self, name: &str, options: &QueueOptions) -> Result<Arc<dyn ProviderQueue>> {
        let definition = options.define()?;
        let address = Address::read(name, self.settings.fifo)?;
        let kind = if address.is_fifo() {
            Kind::Fifo
        } else {
            Kind::Standard
        };
        check(options)?;
        let dead_letter_queue = self.settings.dead_letter_queue.as_deref();
        let dead_letter_queue = dead_letter_queue.map(|name| {
            let invalid =
                |e: Error| Error::invalid_config("dead_letter_queue", e.message().to_owned());
            let ending =
                if address.is_fifo() && !name.contains('/') && !name.ends_with(address::FIFO) {
                    address::FIFO
                } else {
                    ""
                };
            Address::read(&format!("{name}{ending}"), None).map_err(invalid)
        });
        let source = match self.settings.fifo {
            Some(true) => address.name.trim_end_matches(address::FIFO).into(),
            _ => address.name.clone(),
        };
        let parts = address.shards(self.settings.shards)?;
        let shared = self.queues.shared(
            &self.settings.account,
            parts,
            dead_letter_queue.transpose()?,
            kind,
        );
        let capabilities = capabilities(&self.settings, kind, definition.fair_groups);
        let work = Work {
            source,
            definition,
            options: options.clone(),
            settings: self.settings.clone(),
            link: self.link.clone(),
            tasks: self.tasks.clone(),
            shared,
        };
        Ok(Arc::new(SqsQueue {
            work: Arc::new(work),
            capabilities,
        }))
    }

    fn close(&self) -> Reply<()> {
        // Connections are the runtime's, and its other clients may use them.
        Reply::now(Ok(()))
    }
}

/// What SQS has only one value of.
fn check(options: &QueueOptions) -> Result<()> {
    if options
        .dedup_window
        .is_some_and(|window| window != send::DEDUP_WINDOW)
    {
        return Err(Error::invalid_config(
            "dedup_window",
            "is five minutes on SQS, always",
        ));
    }
    let longest = options
        .retry
        .as_ref()
        .map_or(Duration::ZERO, crate::resilience::Retry::longest);
    if longest > in_flight::LONGEST {
        return Err(Error::invalid_config(
            "retry",
            "waits longer than the 12 h that SQS can",
        ));
    }
    debug_assert_ne!(
        options.on_failure,
        Some(OnFailure::Park),
        "refused by capability"
    );
    Ok(())
}

impl Queues {
    fn shared(
        &self,
        account: &Account,
        parts: Vec<Address>,
        dead_letter_queue: Option<Address>,
        kind: Kind,
    ) -> Arc<Shared> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = parts
            .iter()
            .cloned()
            .chain(dead_letter_queue.clone())
            .collect();
        let key = (account.clone(), addresses);
        if let Some(shared) = queues.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        queues.retain(|_, shared| shared.strong_count() > 0);
        let part = |address| Part::new(address, dead_letter_queue.clone());
        let shared = Arc::new(Shared {
            kind,
            parts: parts.into_iter().map(part).collect(),
            in_flight: Default::default(),
            credits: Default::default(),
            desk: Default::default(),
            sessions: Default::default(),
            duplicates: Default::default(),
        });
        queues.insert(key, Arc::downgrade(&shared));
        shared
    }
}
