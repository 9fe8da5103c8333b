//! Consumers that work through held sessions: how many, for how long, in what order, and an end
//! that adds up. On the virtual clock, in memory and in files.

#![cfg(not(feature = "shuttle"))]

mod before;
#[path = "../common/mod.rs"]
mod common;
mod ending;
mod given;
mod kit;
mod room;
mod working;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{HOUR, Kit, STUCK, body, eventually, kits, ms, next, nothing, soak, wait};
use kit::*;
use queue_runtime_core::{
    CancelCause, Consumer, ConsumerOptions, Delivery, DrainReport, ErrorKind, Failure, Message,
    Queue, QueueOptions, Retry, Session, SessionOptions,
};
