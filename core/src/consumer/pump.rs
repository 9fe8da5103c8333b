//! Receives what is wanted, again and again, until the consumer stops. It owns the reconnect: any
//! failure is seen in the status and tried again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;

use super::shared::Shared;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{Calling, is_away};

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
    let is_away = is_away(&error);
    shared.failure.send_replace(Some(error));
    let patience = async {
        shared.queue.sleep_until(now + away).await;
        // Nor is one tried while it is known to be away.
        shared.queue.while_sends_pause().await;
    };
    tokio::select! {
        () = patience => {}
        // Some other queue of the client may find out first that it is back.
        () = shared.queue.client_recovered(), if is_away => {}
    }
}

/// The right to receive. While the client's breaker gives it to nobody, or to another queue, that is
/// shown and waited for: `None`, since less may be wanted then.
pub(super) async fn may_receive(shared: &Shared) -> Result<Option<Calling>> {
    match shared.queue.may_receive() {
        Ok(calling) => Ok(Some(calling)),
        Err(error) if error.kind() == ErrorKind::CircuitOpen => {
            shared.looks.send_modify(|count| *count += 1);
            shared.failure.send_if_modified(|failure| {
                let shown = failure.is_some();
                failure.get_or_insert(error);
                !shown
            });
            if shared.queue.until_callable().await {
                shared.failure.send_if_modified(|failure| {
                    let held_off = |error: &mut Error| error.kind() == ErrorKind::CircuitOpen;
                    failure.take_if(held_off).is_some()
                });
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
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
        let Some(calling) = may_receive(shared).await? else {
            continue;
        };
        let turn = shared.turn();
        let without = shared.without();
        let received = shared.receive(calling, want, shared.options.wait, without.clone());
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
