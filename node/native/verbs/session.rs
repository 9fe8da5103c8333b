//! Held sessions.

use queue_runtime_bindings::Result;

use super::ended;
use super::queue::receive_options;
use crate::link::{Link, Outcome};
use crate::memory::Request;
use crate::reply::Answer;

/// Lets go of it in the background.
pub fn drop_session(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.sessions.try_remove(request.index());
    ended(Answer::Nothing)
}

/// Receives: session, then as of a queue.
pub fn receive(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let session = &link.sessions[request.index()];
    let received = session.receive(&receive_options(request));
    link.begin(received, &[])
}

/// Session, how long from now.
pub fn renew(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let renewed = link.sessions[request.index()].renew(request.some_duration());
    link.begin(renewed, &[])
}

pub fn locked_until(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let until = link.sessions[request.index()].locked_until();
    ended(Answer::Number(until as f64))
}

pub fn state(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let state = link.sessions[request.index()].state();
    link.begin(state, &[])
}

/// Session, its new state or none.
pub fn set_state(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let set = link.sessions[request.index()].set_state(request.some_bytes());
    link.begin(set, &[])
}

pub fn close(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let closed = link.sessions[request.index()].close();
    link.begin(closed, &[])
}
