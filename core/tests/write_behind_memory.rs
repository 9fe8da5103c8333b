//! Memory stays flat over many entries: 10 million of them in a soak of 50.

#![cfg(all(target_os = "linux", not(feature = "shuttle")))]

mod common;

use common::{HOUR, soak};
use queue_runtime_core::{Entry, Error, ErrorKind, Runtime, WriteBehind, WriteBehindOptions};

const ROUND: u64 = 100_000;
/// More than the noise of allocators, less than a byte for each entry of a soak would be.
const NOISE: u64 = 8 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn memory_stays_flat_over_many_entries() {
    let runtime = Runtime::shared().unwrap();
    // Some are bad, some fail at first, and some keys come again.
    let sink = |entries: Vec<Entry>| async move {
        if fastrand::u8(..) < 8 {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        let write = |entry: &Entry| match entry.body().last() {
            Some(b'0') => Err(Error::new(ErrorKind::InvalidMessage, "bad")),
            _ => Ok(()),
        };
        Ok(entries.iter().map(write).collect())
    };
    let options = WriteBehindOptions {
        max_entries: Some(10_000),
        writers: Some(2),
        retry: Some("none".parse().unwrap()),
        breaker: Some("none".parse().unwrap()),
        ..WriteBehindOptions::default()
    };
    let sut = runtime.block_on(WriteBehind::with_sink(&runtime, options, sink));
    let sut = sut.unwrap().unwrap();
    let round = |count: u64| {
        let enqueue = async {
            for number in 0..count {
                let entry = Entry::new(format!("an entry of some length, number {number}"));
                let entry = entry.key(format!("{}", number % 5_000));
                sut.enqueue(entry).await.unwrap();
                if number % 1_000 == 0 {
                    sut.take_rejected();
                }
            }
            sut.flush().await.unwrap();
            sut.take_rejected();
        };
        runtime.block_on(enqueue).unwrap();
    };
    let count = ROUND * u64::from(soak());
    round(count);
    let before = resident();
    round(count);
    let grown = resident().saturating_sub(before);
    assert!(grown < NOISE, "it grew by {} KiB", grown >> 10);
    let metrics = sut.metrics();
    assert_eq!(metrics.total_persisted + metrics.total_failed, 2 * count);
    assert!(metrics.total_failed > 0 && metrics.total_retries > 0);
    assert!(
        runtime
            .block_on(sut.close(HOUR))
            .unwrap()
            .unwritten
            .is_empty()
    );
}
