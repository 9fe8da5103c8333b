//! Queues: send, receive, settle many, accept sessions.

use queue_runtime_bindings::{Delivery, Flags, Message, ReceiveOptions, Result, Settlements};

use super::ended;
use crate::link::{Link, Outcome};
use crate::memory::Request;
use crate::reply::Answer;

pub fn drop_queue(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.queues.try_remove(request.index());
    ended(Answer::Nothing)
}

pub fn breaker_state(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let breaker = link.queues[request.index()].breaker();
    ended(Answer::Text(breaker.name().to_owned()))
}

pub fn reset_breaker(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.queues[request.index()].reset_breaker()?;
    ended(Answer::Nothing)
}

/// Sends messages: queue, how many, each message.
pub fn send(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let count = request.index();
    let sent = if count == 1 {
        // Without a list of its own.
        queue.send(&[message(request)?], Flags::None)
    } else {
        let messages: Vec<_> = (0..count)
            .map(|_| message(request))
            .collect::<Result<_>>()?;
        queue.send(&messages, Flags::None)
    };
    link.begin(sent, &[])
}

/// A message: its body, whether there is more to it, and that.
pub fn message(request: &mut Request<'_>) -> Result<Message> {
    let mut message = Message::new(request.bytes())?;
    if request.flag() {
        type Set = fn(&mut Message, &str) -> Result<()>;
        let texts: [Set; 5] = [
            Message::set_id,
            Message::set_session,
            Message::set_correlation_id,
            Message::set_content_type,
            Message::set_dedup_id,
        ];
        for set in texts {
            if let Some(text) = request.some_text() {
                set(&mut message, text)?;
            }
        }
        if let Some(delay) = request.some_duration() {
            message.set_delay(delay)?;
        }
        if let Some(ttl) = request.some_duration() {
            message.set_ttl(ttl)?;
        }
        for _ in 0..request.index() {
            message.set_header(request.text(), request.text())?;
        }
    }
    Ok(message)
}

/// Receives: queue, how many at most, how long to wait, how long to lock, whether to keep the locks.
pub fn receive(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let received = queue.receive(&receive_options(request));
    link.begin(received, &[])
}

pub fn receive_options(request: &mut Request<'_>) -> ReceiveOptions {
    ReceiveOptions {
        max_messages: request.number() as u32,
        flags: Flags::None,
        wait: request.duration(),
        lock: request.some_duration(),
        keep_lock: request.flag(),
    }
}

/// Settles: queue, how many, and of each: delivery, verb and what belongs to that.
pub fn settle(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let mut settlements = Settlements::new()?;
    let count = request.index();
    let mut settles = Vec::with_capacity(count);
    for _ in 0..count {
        let slot = request.index();
        let delivery = &link.deliveries[slot];
        settles.push(slot);
        match request.index() {
            0 => settlements.ack(delivery)?,
            1 => settlements.nack(delivery, request.some_text(), request.some_duration())?,
            2 => settlements.release(delivery, request.some_duration())?,
            _ => settlements.dead_letter(delivery, request.text(), request.some_text())?,
        }
    }
    let settled = queue.settle(&settlements, Flags::None);
    link.begin(settled, &settles)
}

/// Extends: queue, how long, how many, the deliveries.
pub fn extend(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let lock = request.duration();
    let deliveries: Vec<&Delivery> = (0..request.index())
        .map(|_| &link.deliveries[request.index()])
        .collect();
    let extended = queue.extend(&deliveries, lock);
    link.begin(extended, &[])
}

pub fn create(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let created = link.queues[request.index()].create();
    link.begin(created, &[])
}

/// Takes a session: queue, id, how long to lock.
pub fn accept_session(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let accepted = queue.accept_session(request.text(), request.some_duration());
    link.begin(accepted, &[])
}

/// Takes any session that has work: queue, how long to wait, how long to lock.
pub fn accept_next_session(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let accepted = queue.accept_next_session(request.duration(), request.some_duration());
    link.begin(accepted, &[])
}
