//! Runtimes and clients.

use std::sync::{Arc, Mutex, PoisonError};

use queue_runtime_bindings::{Client, Result, Runtime};

use super::ended;
use crate::link::{Link, Outcome};
use crate::memory::Request;
use crate::reply::Answer;

/// The runtime of all environments of the process, made at its first use.
static SHARED: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

/// A runtime of the caller's own: configuration as JSON, whether its clock is virtual.
pub fn runtime(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let runtime = Runtime::new(request.text(), request.flag())?;
    keep(link, Arc::new(runtime))
}

/// The runtime that every environment of the process shares.
pub fn shared_runtime(link: &mut Link, _: &mut Request<'_>) -> Result<Outcome> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = match &*shared {
        Some(runtime) => runtime.clone(),
        None => shared.insert(Arc::new(Runtime::new("", false)?)).clone(),
    };
    drop(shared);
    keep(link, runtime)
}

fn keep(link: &mut Link, runtime: Arc<Runtime>) -> Result<Outcome> {
    link.listen(&runtime)?;
    ended(Answer::Number(link.runtimes.insert(runtime) as f64))
}

pub fn drop_runtime(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.runtimes.try_remove(request.index());
    ended(Answer::Nothing)
}

pub fn now(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let now = link.runtimes[request.index()].now();
    ended(Answer::Number(now as f64))
}

/// Moves a virtual clock.
pub fn advance(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.runtimes[request.index()].advance(request.duration())?;
    ended(Answer::Nothing)
}

pub fn metrics(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    ended(Answer::Text(link.runtimes[request.index()].metrics()?))
}

/// Opens a client: runtime, URL, configuration as JSON.
pub fn connect(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let runtime = &link.runtimes[request.index()];
    let opened = Client::open(runtime, request.text(), request.text());
    link.begin(opened, &[])
}

pub fn drop_client(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.clients.try_remove(request.index());
    ended(Answer::Nothing)
}

pub fn close(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let closed = link.clients[request.index()].close();
    link.begin(closed, &[])
}

pub fn capabilities(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let json = link.clients[request.index()].capabilities()?;
    ended(Answer::Text(json))
}

pub fn breaker_state(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let breaker = link.clients[request.index()].breaker();
    ended(Answer::Text(breaker.name().to_owned()))
}

pub fn reset_breaker(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.clients[request.index()].reset_breaker()?;
    ended(Answer::Nothing)
}

/// Opens a queue: client, name, options as JSON.
pub fn open_queue(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let client = &link.clients[request.index()];
    let queue = client.queue(request.text(), request.text())?;
    ended(Answer::Number(link.queues.insert(queue) as f64))
}
