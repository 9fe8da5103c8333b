//! Counting dead letters goes through all of them, however many there are, and takes nothing.

mod common;

use common::{Kit, kits, ms, now};
use queue_runtime_core::dead_letter::OTHERS;
use queue_runtime_core::{
    DeadLetterFilter, ErrorKind, Message, Queue, QueueOptions, ReceiveOptions, Settlement, Verb,
};

/// Sends messages and gives each up, for the reason made of its number.
fn bury(queue: &Queue, count: usize, reason: impl Fn(usize) -> String) {
    let messages = (0..count).map(|_| Message::new("body"));
    for sent in now(queue.send_many(messages)).unwrap() {
        sent.unwrap();
    }
    let options = ReceiveOptions::new().max_messages(count as u32).wait(ms(0));
    let deliveries = now(queue.receive(&options)).unwrap();
    assert_eq!(deliveries.len(), count);
    let settlements: Vec<Settlement> = deliveries
        .iter()
        .enumerate()
        .map(|(number, delivery)| {
            delivery.settlement(Verb::DeadLetter {
                reason: reason(number).into(),
                description: None,
            })
        })
        .collect();
    for settled in common::wait(queue.settle(settlements)).unwrap() {
        settled.unwrap();
    }
}

#[test]
fn all_pages_are_counted_each_dead_letter_once() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        bury(&queue, 1000, |_| "first".to_owned());
        let whole = now(queue.dead_letter_statistics(DeadLetterFilter::all())).unwrap();
        assert_eq!(whole.count, 1000);

        kit.advance(ms(1));
        bury(&queue, 1500, |number| format!("second {}", number % 3));
        for _ in 0..2 {
            let said = now(queue.dead_letter_statistics(DeadLetterFilter::all())).unwrap();
            assert_eq!((said.count, said.bytes), (2500, 10_000));
            let groups: Vec<_> = said.by_reason.iter().map(|g| (&*g.name, g.count)).collect();
            let second = ["second 0", "second 1", "second 2"].map(|name| (name, 500));
            assert_eq!(groups, [&[("first", 1000)][..], &second[..]].concat());
            assert_eq!(said.newest.unwrap().0 - said.oldest.unwrap().0, 1);
        }
        let filter = DeadLetterFilter::reason("second 1");
        let said = now(queue.dead_letter_statistics(filter)).unwrap();
        assert_eq!((said.count, said.by_reason.len()), (500, 1));
    }
}

#[test]
fn reasons_without_end_are_counted_together() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    bury(&queue, 2500, |number| format!("order {number} is bad"));
    let said = now(queue.dead_letter_statistics(DeadLetterFilter::all())).unwrap();
    assert_eq!(said.by_reason.len(), 1001);
    assert_eq!(
        (&*said.by_reason[0].name, said.by_reason[0].count),
        (OTHERS, 1500)
    );
}

#[test]
fn a_closed_client_counts_nothing() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    now(kit.client.close()).unwrap();
    let error = now(queue.dead_letter_statistics(DeadLetterFilter::all())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.operation(), Some("dead_letter_statistics"));
}
