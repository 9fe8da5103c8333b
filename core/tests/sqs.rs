//! `sqs:` against servers that nobody here wrote: what the scenarios cannot say. Requests are
//! counted and broken by a proxy, and strangers speak through AWS's own client for Python.

#[path = "sqs/kit.rs"]
mod kit;

#[path = "sqs/breaker.rs"]
mod breaker;
#[path = "sqs/client_breaker.rs"]
mod client_breaker;
#[path = "sqs/consumers.rs"]
mod consumers;
#[path = "sqs/dead_letters.rs"]
mod dead_letters;
#[path = "sqs/faults.rs"]
mod faults;
#[path = "sqs/fifo.rs"]
mod fifo;
#[path = "sqs/requests.rs"]
mod requests;
#[path = "sqs/strangers.rs"]
mod strangers;
