//! Producers: messages that are sent one by one leave in batches.

use queue_runtime_bindings::{Producer, ProducerOptions, ProducerReport, Result};

use super::ended;
use super::queue::message;
use crate::link::{Link, Outcome};
use crate::memory::{Page, Request};
use crate::reply::{Answer, write_message};

/// Makes one: queue, then the options in their order.
pub fn open(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let options = ProducerOptions {
        batch_size: request.number() as u32,
        batch_bytes: request.number() as u64,
        linger: request.duration(),
        max_pending: request.number() as u64,
        max_pending_bytes: request.number() as u64,
    };
    let producer = Producer::start(queue, &options)?;
    ended(Answer::Number(link.producers.insert(producer) as f64))
}

/// Lets it send what it has in the background.
pub fn forget(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.producers.try_remove(request.index());
    ended(Answer::Nothing)
}

/// Accepts a message: producer, whether it waits for room, the message.
pub fn send(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let producer = request.index();
    let waits = request.flag();
    let message = message(request)?;
    let sent = link.producers[producer].send(&message, waits);
    link.begin(sent, &[])
}

pub fn flush(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let flushed = link.producers[request.index()].flush();
    link.begin(flushed, &[])
}

/// Ends it: producer, how long that may take.
pub fn close(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let closed = link.producers[request.index()].close(request.duration());
    link.begin(closed, &[])
}

pub fn write_report(report: &ProducerReport, page: &mut Page<'_>) {
    page.number(report.sent() as f64);
    page.number(report.failed() as f64);
    let unsent = report.unsent();
    page.index(unsent.len());
    for message in unsent {
        page.some_number(message.delay_ms());
        write_message(message, "", page);
    }
}
