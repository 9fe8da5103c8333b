//! Consumers: messages that keep coming.

use queue_runtime_bindings::{BatchOptions, Consumer, ConsumerOptions, Result, Sessions};

use super::ended;
use crate::link::{Link, Outcome};
use crate::memory::Request;
use crate::reply::Answer;

/// Begins to receive: queue, then the options in their order.
pub fn consume(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = request.index();
    let consumer = Consumer::start(&link.queues[queue], &options(request))?;
    ended(Answer::Number(link.consumers.insert(consumer) as f64))
}

/// Begins to receive from a session: session, then the options in their order.
pub fn consume_session(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let session = request.index();
    let consumer = Consumer::start_of(&link.sessions[session], &options(request))?;
    ended(Answer::Number(link.consumers.insert(consumer) as f64))
}

fn options(request: &mut Request<'_>) -> ConsumerOptions {
    ConsumerOptions {
        concurrency: request.number() as u32,
        min_concurrency: some_count(request),
        scale_cooldown: request.some_duration(),
        prefetch: some_count(request),
        prefetch_bytes: request.number() as u64,
        max_messages: some_count(request),
        wait: request.duration(),
        lock: request.some_duration(),
        max_lock_renewal: request.duration(),
        reconnect: request.some_text().map(str::to_owned),
        idle: request.some_duration(),
        breaker: request.some_text().map(str::to_owned),
        sessions: Sessions {
            max: some_count(request),
            idle: request.some_duration(),
            max_messages: some_count(request),
            max_time: request.some_duration(),
        },
        max_in_flight_per_group: some_count(request),
        batches: batches(request),
    }
}

/// How batches wait for more: whether they do, then the options in their order.
fn batches(request: &mut Request<'_>) -> Option<BatchOptions> {
    request.flag().then(|| BatchOptions {
        size: request.number() as u32,
        bytes: request.number() as u64,
        linger: request.duration(),
        min_size: request.number() as u32,
        target_duration: request.some_duration(),
    })
}

fn some_count(request: &mut Request<'_>) -> Option<u32> {
    let count = request.number();
    (count >= 0.0).then_some(count as u32)
}

/// Stops it in the background.
pub fn drop_consumer(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.consumers.try_remove(request.index());
    ended(Answer::Nothing)
}

/// The next message; none at the end.
pub fn next(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let next = link.consumers[request.index()].next();
    link.begin(next, &[])
}

/// The next batch; empty at the end.
pub fn next_batch(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let next = link.consumers[request.index()].next_batch();
    link.begin(next, &[])
}

/// Waits until something has happened that is worth a look.
pub fn wait_changed(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let changed = link.consumers[request.index()].wait_changed();
    link.begin(changed, &[])
}

pub fn stop(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let stopped = link.consumers[request.index()].stop();
    link.begin(stopped, &[])
}

/// Consumer, until when.
pub fn drain(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let consumer = &link.consumers[request.index()];
    let drained = consumer.drain(request.duration());
    link.begin(drained, &[])
}

pub fn pause(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.consumers[request.index()].pause()?;
    ended(Answer::Nothing)
}

pub fn resume(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.consumers[request.index()].resume()?;
    ended(Answer::Nothing)
}

pub fn reset_breaker(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.consumers[request.index()].reset_breaker()?;
    ended(Answer::Nothing)
}

pub fn status(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let json = link.consumers[request.index()].status()?;
    ended(Answer::Text(json))
}
