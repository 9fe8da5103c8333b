//! What is explained is what then happens: schedules of queues, and where messages stand.

mod common;

use std::time::Duration;

use common::{HOUR, Kit, kits, look, ms, now, take};
use queue_runtime_core::explain::{BudgetFrom, Standing, Wait};
use queue_runtime_core::{
    DeadLetterFilter, ErrorKind, Explanation, Message, MessageExplanation, MessageId, OnFailure,
    Queue, QueueOptions, RedriveOptions, Retry, SessionOptions, Timestamp,
};

fn explain(queue: &Queue) -> Explanation {
    now(queue.explain()).unwrap()
}

fn of(queue: &Queue, id: &str) -> MessageExplanation {
    now(queue.explain_message(&MessageId::new(id))).unwrap()
}

fn send(queue: &Queue, id: &str, session: Option<&str>) {
    let message = Message::new("x").id(id);
    let message = match session {
        Some(session) => message.session(session),
        None => message,
    };
    now(queue.send(message)).unwrap();
}

fn options(retry: Retry, budget: u32) -> QueueOptions {
    QueueOptions {
        retry: Some(retry),
        budget: Some(budget),
        lock: Some(ms(30_000)),
        ..QueueOptions::default()
    }
}

fn linear() -> Retry {
    Retry::Linear {
        initial: ms(1000),
        step: ms(500),
        cap: HOUR,
    }
}

fn moment(kit: &Kit) -> Timestamp {
    kit.clock.timestamp(kit.clock.now())
}

fn later(kit: &Kit, by: Duration) -> Option<Timestamp> {
    Some(Timestamp(moment(kit).0 + by.as_millis() as i64))
}

#[test]
fn a_schedule_says_when_each_attempt_comes() {
    for kit in kits() {
        let queue = kit.queue(options(Retry::default(), 4));
        let said = explain(&queue);
        assert_eq!(said.budget, Some(4));
        assert_eq!(said.budget_from, BudgetFrom::Queue);
        assert_eq!(said.dead_letters.as_deref(), Some("q"));
        assert_eq!(said.on_failure, Some(OnFailure::Block));
        let most = said.waits.iter().map(|wait| wait.most);
        assert_eq!(most.collect::<Vec<_>>(), [ms(100), ms(200), ms(400)]);
        assert!(said.waits.iter().all(|wait| wait.least.is_zero()), "{said}");
        let free = said.failures.iter().filter(|failure| !failure.uses_attempt);
        let free: Vec<_> = free.map(|failure| failure.failure).collect();
        assert_eq!(free, ["throttled", "release"]);
    }
}

#[test]
fn the_text_of_a_schedule() {
    let kit = Kit::new();
    let queue = kit.queue(options(Retry::default(), 3));
    let text = "\
queue q (memory): 3 attempts at a message, as the queue is defined; each is locked for 30s
retry exponential:100ms,2,30s,jitter: when an attempt fails, the next one comes
  after attempt 1: 0s to 100ms later
  after attempt 2: 0s to 200ms later
  after attempt 3: never, it is a dead letter of this queue (reason max_attempts)
  all these waits together: 0s to 300ms
those after it in its session wait meanwhile (on_failure=block)
what a failure does:
  transient: uses an attempt; comes back as the retry policy says
  throttled: uses no attempt; comes back after the time that the failure says, or 1s
  release: uses no attempt; comes back after the delay it is given back with, or at once
  permanent: uses an attempt; is a dead letter at once
  lock_lost: uses an attempt; comes back at once when its lock ends, also when its process died; \
after the last attempt it is a dead letter with the reason crashed";
    assert_eq!(explain(&queue).to_string(), text);
    let json = serde_json::to_value(explain(&queue)).unwrap();
    assert_eq!(json["lock_ms"], 30_000);
    assert_eq!(json["waits"][1]["most_ms"], 200);
    assert_eq!(json["budget_from"], "queue");
}

#[test]
fn a_large_budget_is_listed_in_part() {
    let kit = Kit::new();
    let said = explain(&kit.queue(options(linear(), u32::MAX)));
    assert_eq!(said.waits.len(), 100);
    let last = Wait {
        least: ms(1000 + 99 * 500),
        most: ms(1000 + 99 * 500),
    };
    assert_eq!(said.waits[99], last);
    assert!(
        said.to_string()
            .contains("and so on, up to attempt 4294967295")
    );
    let kit = Kit::new();
    let said = explain(&kit.queue(options(linear(), 1)));
    assert!(said.waits.is_empty());
    assert!(said.to_string().contains("after attempt 1: never"));
}

#[test]
fn what_counts_is_the_definition_that_the_queue_has() {
    let kit = Kit::open("memory:shared");
    let runtime = kit.client.runtime();
    let first = kit.queue(options(Retry::None, 2));
    send(&first, "m", None);
    let other = now(runtime.connect("memory:shared")).unwrap();
    let other = other.queue("q").unwrap();
    let said = explain(&other);
    assert_eq!(other.definition().budget, 5);
    assert_eq!((said.budget, said.waits.len()), (Some(2), 1));
}

#[test]
fn a_ready_message_can_be_had_at_once() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        send(&queue, "m", None);
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.attempts), (Standing::Ready, 0));
        assert_eq!((said.earliest, said.latest), (Some(moment(&kit)), None));
        assert!(said.to_string().contains("when its turn comes"), "{said}");
    }
}

#[test]
fn a_message_in_hand_comes_back_within_the_time_that_was_said() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        send(&queue, "m", None);
        let delivery = take(&queue);
        kit.advance(ms(10_000));
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.attempts), (Standing::InFlight, 1));
        assert_eq!(said.until, later(&kit, ms(20_000)));
        assert_eq!(said.earliest, later(&kit, ms(1000)));
        assert_eq!(said.latest, later(&kit, ms(21_000)));

        // At the earliest: it fails now.
        now(delivery.nack(None)).unwrap();
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.attempts), (Standing::Delayed, 1));
        assert_eq!(said.earliest, later(&kit, ms(1000)));
        assert_eq!(said.latest, said.earliest);
        assert!(
            said.to_string().contains("next attempt (number 2): in 1s"),
            "{said}"
        );
        kit.advance(ms(999));
        assert!(look(&queue, 1).is_empty());
        kit.advance(ms(1));
        // And now without anything said, until its lock is lost.
        drop(take(&queue));
        let said = of(&queue, "m");
        assert_eq!((said.attempts, said.until), (2, later(&kit, ms(30_000))));
        assert_eq!(said.earliest, later(&kit, ms(1500)));
        assert_eq!(said.latest, later(&kit, ms(31_500)));
        kit.advance(ms(30_000));
        assert_eq!(of(&queue, "m").standing, Standing::Ready);

        // The last attempt.
        let delivery = take(&queue);
        let said = of(&queue, "m");
        assert_eq!((said.attempts, said.budget), (3, Some(3)));
        assert_eq!((said.earliest, said.latest), (None, None));
        assert!(
            said.to_string()
                .contains("a failure makes it a dead letter"),
            "{said}"
        );
        now(delivery.nack(Some("no milk"))).unwrap();
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.attempts), (Standing::Dead, 3));
        let death = said.death.clone().unwrap();
        assert_eq!((&*death.reason, death.at), ("max_attempts", moment(&kit)));
        assert_eq!(death.description.as_deref(), Some("no milk"));
        assert!(
            said.to_string().contains("none, unless it is redriven"),
            "{said}"
        );

        now(queue.redrive(RedriveOptions::default())).unwrap();
        assert_eq!(of(&queue, "m").standing, Standing::Ready);
        now(take(&queue).ack()).unwrap();
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.earliest), (Standing::Gone, None));
    }
}

#[test]
fn a_lock_that_is_lost_before_the_retry_is_the_earliest() {
    for kit in kits() {
        let retry = Retry::Fixed { delay: HOUR };
        let queue = kit.queue(options(retry, 3));
        send(&queue, "m", None);
        let _delivery = take(&queue);
        let said = of(&queue, "m");
        assert_eq!(said.earliest, later(&kit, ms(30_000)));
        assert_eq!(said.latest, later(&kit, ms(30_000) + HOUR));
    }
}

#[test]
fn a_message_waits_behind_one_that_failed_in_its_session() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        send(&queue, "first", Some("s"));
        send(&queue, "second", Some("s"));
        send(&queue, "third", Some("s"));
        send(&queue, "other", Some("t"));
        let said = of(&queue, "second");
        let behind = said.behind.clone().unwrap();
        assert_eq!((&*behind.id, behind.standing), ("first", Standing::Ready));

        let delivery = take(&queue);
        let said = of(&queue, "second");
        let behind = said.behind.clone().unwrap();
        assert_eq!(
            (&*behind.id, behind.standing),
            ("first", Standing::InFlight)
        );
        assert_eq!(behind.until, later(&kit, ms(30_000)));

        now(delivery.nack(None)).unwrap();
        let said = of(&queue, "third");
        let behind = said.behind.clone().unwrap();
        assert_eq!((&*behind.id, behind.standing), ("first", Standing::Delayed));
        assert_eq!(said.earliest, later(&kit, ms(1000)));
        assert!(
            said.to_string()
                .contains("behind first, which comes back in 1s"),
            "{said}"
        );
        assert_eq!(of(&queue, "other").behind, None);
        assert_eq!(of(&queue, "first").behind, None);
    }
}

#[test]
fn with_skip_nothing_waits_for_what_failed() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            on_failure: Some(OnFailure::Skip),
            ..options(linear(), 3)
        });
        send(&queue, "first", Some("s"));
        send(&queue, "second", Some("s"));
        now(take(&queue).nack(None)).unwrap();
        let said = of(&queue, "second");
        assert_eq!(
            (said.behind.clone(), said.earliest),
            (None, Some(moment(&kit)))
        );
        assert_eq!(explain(&queue).on_failure, Some(OnFailure::Skip));
    }
}

#[test]
fn in_fair_groups_nothing_waits_for_another() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            fair_groups: Some(true),
            ..options(linear(), 3)
        });
        send(&queue, "first", Some("s"));
        send(&queue, "second", Some("s"));
        now(take(&queue).nack(None)).unwrap();
        let said = of(&queue, "second");
        assert_eq!(
            (said.behind.clone(), said.earliest),
            (None, Some(moment(&kit)))
        );
        assert_eq!(explain(&queue).on_failure, None);
    }
}

#[test]
fn a_parked_session_waits_for_its_dead_letters() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            on_failure: Some(OnFailure::Park),
            ..options(linear(), 1)
        });
        send(&queue, "first", Some("s"));
        send(&queue, "second", Some("s"));
        now(take(&queue).nack(None)).unwrap();
        let said = of(&queue, "second");
        assert!(said.parked);
        assert_eq!((said.earliest, said.latest), (None, None));
        assert!(said.to_string().contains("parked until"), "{said}");
        now(queue.purge_dead_letters(DeadLetterFilter::all())).unwrap();
        assert!(!of(&queue, "second").parked);
    }
}

#[test]
fn the_holder_of_a_session_is_told_of() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        send(&queue, "m", Some("s"));
        let session = now(queue.accept_session(SessionOptions::id("s")))
            .unwrap()
            .unwrap();
        kit.advance(ms(5000));
        let said = of(&queue, "m");
        assert_eq!(said.session_held_until, later(&kit, ms(25_000)));
        assert!(
            said.to_string()
                .contains("held by who accepted it, whose lock ends in 25s")
        );
        // Its lock is that of the session, kept or not.
        let options = queue_runtime_core::ReceiveOptions::new().wait(Duration::ZERO);
        let delivery = now(session.receive(&options)).unwrap().pop().unwrap();
        kit.advance(ms(1000));
        now(session.renew()).unwrap();
        assert_eq!(of(&queue, "m").until, later(&kit, ms(30_000)));
        now(delivery.ack()).unwrap();
        now(session.close()).unwrap();
    }
}

#[test]
fn what_expires_before_has_no_next_attempt() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        now(queue.send(Message::new("x").id("m").ttl(ms(800)))).unwrap();
        assert_eq!(of(&queue, "m").expires_at, later(&kit, ms(800)));
        now(take(&queue).nack(None)).unwrap();
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.earliest), (Standing::Delayed, None));
        assert!(
            said.to_string()
                .contains("none, it expires before in 800ms"),
            "{said}"
        );
        kit.advance(ms(1000));
        assert!(look(&queue, 1).is_empty());
    }
}

#[test]
fn what_is_fetched_ahead_has_used_no_attempt() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        send(&queue, "m", None);
        let options = queue_runtime_core::ConsumerOptions::new().prefetch(1);
        let consumer = queue.consume(options).unwrap();
        common::eventually("it is fetched", || consumer.status().prefetched == 1);
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.attempts), (Standing::Fetched, 0));
        assert_eq!(said.earliest, Some(moment(&kit)));
        let delivery = common::next(&consumer);
        let said = of(&queue, "m");
        assert_eq!((said.standing, said.attempts), (Standing::InFlight, 1));
        now(delivery.ack()).unwrap();
    }
}

#[test]
fn a_message_is_found_behind_many_others() {
    for kit in kits() {
        let queue = kit.queue(options(linear(), 3));
        for _ in 0..25 {
            let messages = (0..100).map(|_| Message::new("x"));
            now(queue.send_many(messages)).unwrap();
        }
        let sent = now(queue.send(Message::new("x"))).unwrap();
        let said = now(queue.explain_message(&sent.id)).unwrap();
        assert_eq!(said.standing, Standing::Ready);
    }
}

#[test]
fn a_closed_client_explains_nothing() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    now(kit.client.close()).unwrap();
    let error = now(queue.explain()).unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Closed, Some("explain"))
    );
    let error = now(queue.explain_message(&"m".into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}
