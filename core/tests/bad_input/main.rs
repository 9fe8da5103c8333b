//! What a caller can do wrong: each gives an error of the right kind, or gives its messages back.

#![cfg(not(feature = "shuttle"))]

mod arguments;
mod closed;
#[path = "../common/mod.rs"]
mod common;
mod dropped;
mod panics;
mod receipts;
mod threads;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use common::{HOUR, Kit, STUCK, Waiting, bodies, body, look, ms, now, take};
use queue_runtime_core::{
    Capability, ClientConfig, DeadLetterFilter, Delivery, Error, ErrorKind, Message, OnFull, Queue,
    QueueOptions, Receipt, ReceiveOptions, RedriveOptions, Result, Runtime, RuntimeConfig, Session,
    SessionOptions, Settlement, Verb,
};

const LOCK: Duration = ms(500);
const TOO_LONG: Duration = Duration::from_secs(12 * 60 * 60 + 1);

fn queue(kit: &Kit) -> Queue {
    kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    })
}

/// The kind of the error, and the field it names.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    assert!(!error.message().is_empty());
    (error.kind(), error.field().unwrap_or_default().to_owned())
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    refused(result).0
}

fn argument(field: &str) -> (ErrorKind, String) {
    (ErrorKind::InvalidArgument, field.to_owned())
}

fn invalid(field: &str) -> (ErrorKind, String) {
    (ErrorKind::InvalidMessage, field.to_owned())
}

fn every_verb() -> [Verb; 4] {
    [
        Verb::Ack,
        Verb::Nack {
            reason: Some("no".into()),
            delay: None,
        },
        Verb::Release { delay: None },
        Verb::DeadLetter {
            reason: "bad".into(),
            description: None,
        },
    ]
}

fn accept(queue: &Queue, id: &str) -> Session {
    let accepted = now(queue.accept_session(SessionOptions::id(id)));
    accepted.unwrap().expect("the session asked for")
}
