//! Session keys: which session a message is of, by its headers.

use queue_runtime_bindings::{Message, Result};

use super::ended;
use crate::link::{Link, Outcome};
use crate::memory::Request;
use crate::reply::Answer;

/// Key as JSON, the moment, how many headers, each header.
pub fn of(_: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let (key, now) = (request.text(), request.number() as i64);
    let mut message = Message::new(&[])?;
    for _ in 0..request.index() {
        message.set_header(request.text(), request.text())?;
    }
    message.set_session_by(key, now)?;
    ended(Answer::SomeText(
        message.view().session().map(str::to_owned),
    ))
}
