//! From Rust, beside the SDK doing the same calls by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};
use aws_smithy_http_client::tls::Provider as Tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use queue_runtime_core::{Message, Queue, ReceiveOptions, Runtime, RuntimeConfig, Verb};
use queue_runtime_services::Service;

use super::AREA;
use crate::Result;
use crate::measure::{Samples, rate, take_turns};
use crate::report::{Goal, Row, Unit};

/// Messages of a round; the server slows down with its depth, so they never wait all together.
const MESSAGES: u64 = 4_000;
/// Loops at a time.
const IN_FLIGHT: u64 = 8;
const BATCH: u64 = 10;
const BODY_BYTES: usize = 1024;
const ROUNDS: usize = 15;
const COST: &str = "Ours asks for the attributes that say attempts and times, bounds each wait, and \
                    gives a result for each message; its parts were not measured apart.";

/// Rate and processor's time.
pub fn rows(server: &Service) -> Result<Vec<Row>> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let url = format!(
        "sqs://us-east-1?endpoint={}&access_key_id=test&secret_access_key=test",
        server.endpoint()
    );
    let client = runtime.block_on(runtime.connect(url))??;
    let queue = client.queue("ours")?;
    runtime.block_on(queue.create())??;
    let sdk = sdk(&server.endpoint());
    let created = runtime.block_on(sdk.create_queue().queue_name("theirs").send())??;
    let their_url: Arc<str> = created.queue_url.ok_or("no URL")?.into();

    let (mut our_cpu, mut their_cpu) = (Vec::new(), Vec::new());
    let mut ours = || measured(&runtime, &mut our_cpu, || our_loop(queue.clone()));
    let mut theirs = || {
        measured(&runtime, &mut their_cpu, || {
            their_loop(sdk.clone(), their_url.clone())
        })
    };
    let [our_rate, their_rate] = take_turns(ROUNDS, [&mut ours, &mut theirs])?;
    // The first round of each was to warm up.
    let (our_cpu, their_cpu) = (
        Samples::from(our_cpu.split_off(1)),
        Samples::from(their_cpu.split_off(1)),
    );
    Ok(vec![
        Row::beside(
            AREA,
            "send, receive, ack by 10, 8 loops; the SDK by hand",
            Unit::Rate,
            &our_rate,
            &their_rate,
            Goal::AtLeast(0.95),
        )
        .unless_met(COST),
        Row::beside(
            AREA,
            "our processor's time for a message of it; the SDK by hand",
            Unit::Micros,
            &our_cpu,
            &their_cpu,
            Goal::AtMost(1.10),
        )
        .unless_met(COST),
    ])
}

/// Runs loops side by side. Answers their rate, and notes the processor's time for a message.
fn measured<F>(runtime: &Runtime, cpu: &mut Vec<f64>, each: impl Fn() -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (begun, before) = (Instant::now(), cpu_time()?);
    runtime.block_on(async {
        let loops: Vec<_> = (0..IN_FLIGHT).map(|_| tokio::spawn(each())).collect();
        for ended in loops {
            ended.await??;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })??;
    let used = cpu_time()?.saturating_sub(before);
    cpu.push(used.as_secs_f64() * 1e6 / MESSAGES as f64);
    Ok(rate(MESSAGES, begun))
}

async fn our_loop(queue: Queue) -> Result<()> {
    let options = ReceiveOptions::new()
        .max_messages(BATCH as u32)
        .wait(Duration::from_secs(2));
    for _ in 0..MESSAGES / IN_FLIGHT / BATCH {
        let body = "x".repeat(BODY_BYTES);
        for sent in queue
            .send_many((0..BATCH).map(|_| Message::new(body.clone())))
            .await?
        {
            sent?;
        }
        let mut left = BATCH as usize;
        while left > 0 {
            let deliveries = queue.receive(&options).await?;
            let settlements = deliveries
                .iter()
                .map(|delivery| delivery.settlement(Verb::Ack));
            for settled in queue.settle(settlements.collect()).await? {
                settled?;
            }
            left = left.saturating_sub(deliveries.len());
            if deliveries.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

async fn their_loop(sdk: aws_sdk_sqs::Client, url: Arc<str>) -> Result<()> {
    static IDS: AtomicU64 = AtomicU64::new(0);
    for _ in 0..MESSAGES / IN_FLIGHT / BATCH {
        let body = "x".repeat(BODY_BYTES);
        let entries = (0..BATCH).map(|_| {
            let id = IDS.fetch_add(1, Ordering::Relaxed).to_string();
            SendMessageBatchRequestEntry::builder()
                .id(id)
                .message_body(body.clone())
                .build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>()?;
        sdk.send_message_batch()
            .queue_url(&*url)
            .set_entries(Some(entries))
            .send()
            .await?;
        let mut left = BATCH as usize;
        while left > 0 {
            let request = sdk
                .receive_message()
                .queue_url(&*url)
                .max_number_of_messages(BATCH as i32);
            let messages = request
                .wait_time_seconds(2)
                .send()
                .await?
                .messages
                .unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            let entries = messages.iter().enumerate().map(|(id, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(id.to_string())
                    .receipt_handle(message.receipt_handle.clone().unwrap_or_default())
                    .build()
            });
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>()?;
            sdk.delete_message_batch()
                .queue_url(&*url)
                .set_entries(Some(entries))
                .send()
                .await?;
            left = left.saturating_sub(messages.len());
        }
    }
    Ok(())
}

fn sdk(endpoint: &str) -> aws_sdk_sqs::Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Tls::Rustls(CryptoMode::Ring))
        .build_https();
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .http_client(http)
        .retry_config(RetryConfig::standard())
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"));
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// The time that processors spent for this process, without its children.
fn cpu_time() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place is good for the length of the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
