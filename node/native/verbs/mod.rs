//! The verbs that JavaScript calls, each in the file of what it works on.

mod client;
mod consumer;
mod delivery;
mod looking;
pub mod producer;
mod queue;
mod session;
mod session_key;
pub mod write_behind;

use crate::link::{Link, Outcome, Verb};
use crate::reply::Answer;

/// Every verb under its name in JavaScript.
pub const VERBS: &[(&str, Verb)] = &[
    ("cancel", Link::cancel),
    ("drain", Link::drain),
    ("again", Link::again),
    ("runtime", client::runtime),
    ("sharedRuntime", client::shared_runtime),
    ("dropRuntime", client::drop_runtime),
    ("now", client::now),
    ("advance", client::advance),
    ("metrics", client::metrics),
    ("connect", client::connect),
    ("dropClient", client::drop_client),
    ("closeClient", client::close),
    ("capabilities", client::capabilities),
    ("clientBreakerState", client::breaker_state),
    ("resetClientBreaker", client::reset_breaker),
    ("openQueue", client::open_queue),
    ("dropQueue", queue::drop_queue),
    ("send", queue::send),
    ("receive", queue::receive),
    ("settle", queue::settle),
    ("extendMany", queue::extend),
    ("create", queue::create),
    ("queueBreakerState", queue::breaker_state),
    ("resetQueueBreaker", queue::reset_breaker),
    ("acceptSession", queue::accept_session),
    ("acceptNextSession", queue::accept_next_session),
    ("ack", delivery::ack),
    ("nack", delivery::nack),
    ("release", delivery::release),
    ("deadLetter", delivery::dead_letter),
    ("extend", delivery::extend),
    ("lockedUntil", delivery::locked_until),
    ("forget", delivery::forget),
    ("cancelled", delivery::cancelled),
    ("consume", consumer::consume),
    ("consumeSession", consumer::consume_session),
    ("dropConsumer", consumer::drop_consumer),
    ("next", consumer::next),
    ("nextMessages", consumer::next_batch),
    ("waitChanged", consumer::wait_changed),
    ("stopConsumer", consumer::stop),
    ("drainConsumer", consumer::drain),
    ("consumerStatus", consumer::status),
    ("pauseConsumer", consumer::pause),
    ("resumeConsumer", consumer::resume),
    ("resetConsumerBreaker", consumer::reset_breaker),
    ("openProducer", producer::open),
    ("dropProducer", producer::forget),
    ("produce", producer::send),
    ("flushProducer", producer::flush),
    ("closeProducer", producer::close),
    ("dropSession", session::drop_session),
    ("receiveOfSession", session::receive),
    ("renewSession", session::renew),
    ("sessionLockedUntil", session::locked_until),
    ("sessionState", session::state),
    ("setSessionState", session::set_state),
    ("closeSession", session::close),
    ("sessionKey", session_key::of),
    ("peek", looking::peek),
    ("statistics", looking::statistics),
    ("explain", looking::explain),
    ("deadLetters", looking::dead_letters),
    ("deadLetterStatistics", looking::dead_letter_statistics),
    ("redrive", looking::redrive),
    ("purge", looking::purge),
    ("openWriteBehind", write_behind::open),
    ("dropWriteBehind", write_behind::forget),
    ("enqueue", write_behind::enqueue),
    ("enqueueMany", write_behind::enqueue_many),
    ("flush", write_behind::flush),
    ("feed", write_behind::feed),
    ("nextBatch", write_behind::next),
    ("finishBatch", write_behind::finish),
    ("failBatch", write_behind::fail),
    ("closeWriteBehind", write_behind::close),
    ("takeRejected", write_behind::take_rejected),
    ("writeBehindMetrics", write_behind::metrics),
    ("breakerState", write_behind::breaker_state),
];

/// What a verb answers that always ends at once.
fn ended(answer: Answer) -> queue_runtime_bindings::Result<Outcome> {
    Ok(Outcome::Ended(answer))
}
