//! The real-time scenarios on `sqs:`, standard and FIFO, against servers that nobody here wrote.

#[path = "common/conformance.rs"]
mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use queue_runtime_core::conformance::{Store, Target};
use queue_runtime_core::{Runtime, RuntimeConfig};
use queue_runtime_services::Service;

/// How late the servers' own clocks may be.
const SLACK: Duration = Duration::from_secs(3);

/// Queues of one kind on one server.
fn sqs(server: &Arc<Service>, fifo: bool) -> Target {
    static STORES: AtomicU64 = AtomicU64::new(0);
    let kind = if fifo { "sqs-fifo" } else { "sqs" };
    let endpoint = server.endpoint();
    let server = server.clone();
    let target = Target::new(format!("{kind}-{}", server.name()), move || {
        let runtime = Runtime::new(RuntimeConfig::default())?;
        let url = format!(
            "sqs://us-east-1?endpoint={endpoint}&access_key_id=test&secret_access_key=test&fifo={fifo}"
        );
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        Ok(Store::new(runtime, url)
            .prefix(format!("s{store}-"))
            .guard(server.clone()))
    });
    target.server(SLACK)
}

fn main() -> ExitCode {
    let mut targets = Vec::new();
    for name in ["ministack", "localstack"] {
        let server = match Service::start(name) {
            Ok(server) => Arc::new(server),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        };
        targets.extend([sqs(&server, false), sqs(&server, true)]);
    }
    common::conformance(targets)
}
