//! Receives what is wanted, again and again, until the consumer stops. It owns the reconnect: any
//! failure is seen in the status and tried again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;

use super::shared::Shared;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};

/// Runs until the consumer stops. What is received while it stops goes back, since its receive is
/// dropped.
pub(super) async fn pump(shared: Arc<Shared>) {
    let mut failures = 0;
    let stop = shared.stop.clone();
    while let Some(received) = stop.run_until_cancelled(receive(&shared)).await {
        match received {
            Ok(late) => {
                failures = 0;
                went_well(&shared);
                shared.looks.send_modify(|count| *count += 1);
                let _ = shared.release(&late).await;
            }
            Err(error) if error.kind() == ErrorKind::Closed => break,
            Err(error) => {
                failures += 1;
                shared.looks.send_modify(|count| *count += 1);
                let away = stay_away(&shared, error, failures);
                if stop.run_until_cancelled(away).await.is_none() {
                    break;
                }
            }
        }
    }
    let prefetched = shared.close();
    let _ = shared.release(&prefetched).await;
    shared.pumped.cancel();
}

/// A look at the provider succeeded.
pub(super) fn went_well(shared: &Shared) {
    shared
        .failure
        .send_if_modified(|failure| failure.take().is_some());
}

/// The n-th look in a row failed: shows it, and waits until the next one may begin.
pub(super) async fn stay_away(shared: &Shared, error: Error, failures: u32) {
    let now = shared.queue.clock().now();
    let away = shared.options.reconnect.delay(failures);
    let away = away.max(error.retry_after().unwrap_or_default());
    let name = shared.queue.name();
    tracing::warn!(queue = name, %error, ?away, "a receive failed and is tried again");
    shared.failure.send_replace(Some(error));
    shared.queue.sleep_until(now + away).await;
    // Nor is one tried while it is known to be away.
    shared.queue.while_sends_pause().await;
}

/// Waits until something is wanted, and receives it into the buffer. One that is not wanted any more
/// is given up. Answers what came too late, after the stop.
async fn receive(shared: &Arc<Shared>) -> Result<Vec<Delivery>> {
    loop {
        let want = shared.want();
        if want == 0 {
            shared.room.notified().await;
            continue;
        }
        let turn = shared.turn();
        let without = shared.without();
        let received = shared.receive(want, shared.options.wait, without.clone());
        let pending = match received.try_now() {
            Ok(received) => return received.map(|deliveries| shared.take_in(deliveries)),
            Err(pending) => pending,
        };
        drop(turn);
        let mut pending = pin!(pending);
        loop {
            tokio::select! {
                late = taken_in(shared, pending.as_mut()) => return late,
                () = shared.room.notified() => {
                    if shared.want() == 0 || shared.without() != without {
                        break;
                    }
                }
            }
        }
    }
}

/// Takes in what comes of a receive in the very turn that it comes in.
async fn taken_in(
    shared: &Shared,
    mut pending: Pin<&mut impl Future<Output = Result<Vec<Delivery>>>>,
) -> Result<Vec<Delivery>> {
    poll_fn(|context| {
        let _turn = shared.turn();
        let polled = pending.as_mut().poll(context);
        polled.map_ok(|deliveries| shared.take_in(deliveries))
    })
    .await
}
