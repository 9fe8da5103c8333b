//! One delivery: how it ends, and how long it is kept.

use queue_runtime_bindings::{CancelCause, Flags, Result};

use super::ended;
use crate::link::{Link, Outcome};
use crate::memory::Request;
use crate::reply::Answer;

pub fn ack(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let slot = request.index();
    let settled = link.deliveries[slot].ack(Flags::None);
    link.begin(settled, &[slot])
}

/// Delivery, reason, delay.
pub fn nack(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let slot = request.index();
    let (reason, delay) = (request.some_text(), request.some_duration());
    let settled = link.deliveries[slot].nack(reason, delay, Flags::None);
    link.begin(settled, &[slot])
}

/// Delivery, delay.
pub fn release(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let slot = request.index();
    let settled = link.deliveries[slot].release(request.some_duration(), Flags::None);
    link.begin(settled, &[slot])
}

/// Delivery, reason, description.
pub fn dead_letter(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let slot = request.index();
    let (reason, description) = (request.text(), request.some_text());
    let settled = link.deliveries[slot].dead_letter(reason, description, Flags::None);
    link.begin(settled, &[slot])
}

/// Delivery, how long from now.
pub fn extend(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let extended = link.deliveries[request.index()].extend(request.duration());
    link.begin(extended, &[])
}

pub fn locked_until(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let until = link.deliveries[request.index()].locked_until();
    ended(Answer::Number(until as f64))
}

/// Why work on it is to stop, as `CAUSES` of `src/delivery.ts` numbers it.
pub fn cancelled(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let number = match link.deliveries[request.index()].cancelled() {
        None => 0.0,
        Some(CancelCause::LockLost) => 1.0,
        Some(CancelCause::Stalled) => 2.0,
        Some(CancelCause::Drained) => 3.0,
    };
    ended(Answer::Number(number))
}

/// JavaScript lost it: it settles nothing, and comes back when its lock ends.
pub fn forget(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.deliveries.try_remove(request.index());
    ended(Answer::Nothing)
}
