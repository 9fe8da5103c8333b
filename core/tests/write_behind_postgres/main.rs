//! Write-behind into a real PostgreSQL server.

#![cfg(not(feature = "shuttle"))]

#[path = "../common/mod.rs"]
mod common;
mod kit;
mod model;
#[path = "../../../tests/services/postgres.rs"]
mod postgres;
#[path = "../common/small_disk.rs"]
mod small_disk;
mod tables;
mod trouble;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::{HOUR, STUCK, eventually, soak};
use kit::{Kit, connect, start};
use postgres::Server;
use proptest::prelude::*;
use queue_runtime_core::{
    Entry, ErrorKind, Result, Retry, Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions,
};
use serde_json::{Value, json};
use small_disk::SmallDisk;
use tokio::task::JoinHandle;
