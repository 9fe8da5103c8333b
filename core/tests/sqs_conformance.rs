//! The real-time scenarios on `sqs:`, standard and FIFO, against servers that nobody here wrote, and
//! against AWS itself where the environment names a region and a prefix.

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

/// Queues of one kind on AWS itself, whose names begin with `QRT_TEST_AWS_PREFIX`, in the region
/// `QRT_TEST_AWS_REGION`, with the credentials of the environment. They are left there.
fn aws(fifo: bool) -> Option<Target> {
    static STORES: AtomicU64 = AtomicU64::new(0);
    let region = std::env::var("QRT_TEST_AWS_REGION").ok()?;
    let prefix = std::env::var("QRT_TEST_AWS_PREFIX").ok()?;
    let kind = if fifo { "sqs-fifo" } else { "sqs" };
    let target = Target::new(format!("{kind}-aws"), move || {
        let runtime = Runtime::new(RuntimeConfig::default())?;
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        let run = std::process::id();
        Ok(Store::new(runtime, format!("sqs://{region}?fifo={fifo}"))
            .prefix(format!("{prefix}{run}-{store}-")))
    });
    Some(target.server(SLACK))
}

fn main() -> ExitCode {
    let mut targets: Vec<_> = [aws(false), aws(true)].into_iter().flatten().collect();
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
