//! Receipts that are over, foreign or misused.

use super::*;

#[test]
fn a_receipt_works_once() {
    let kit = Kit::new();
    let queue = queue(&kit);
    for first in every_verb() {
        for second in every_verb() {
            now(queue.send("a")).unwrap();
            let a = take(&queue);
            now(a.settle(first.clone())).unwrap();
            assert!(a.is_settled());
            assert_eq!(kind(now(a.settle(second))), ErrorKind::InvalidReceipt);
            assert_eq!(kind(now(a.extend(LOCK))), ErrorKind::InvalidReceipt);
            for left in look(&queue, 10) {
                now(left.ack()).unwrap();
            }
        }
    }
}

#[test]
fn a_receipt_works_once_within_a_batch() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send_many(["a".into(), "b".into()])).unwrap();
    let got = look(&queue, 2);
    let batch = [&got[0], &got[0], &got[1]].map(|d| d.settlement(Verb::Ack));
    let results = now(queue.settle(batch.into())).unwrap();
    assert!(results[0].is_ok());
    assert_eq!(
        results[1].as_ref().unwrap_err().kind(),
        ErrorKind::InvalidReceipt
    );
    assert!(results[2].is_ok());
}

#[test]
fn every_verb_after_the_end_of_the_lock_is_lock_lost() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let lost = take(&queue);
    kit.advance(LOCK);
    let holder = take(&queue);
    for verb in every_verb() {
        let error = now(lost.settle(verb)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LockLost);
        assert_eq!(error.queue(), Some("q"));
        assert!(error.operation().is_some());
    }
    assert_eq!(kind(now(lost.extend(LOCK))), ErrorKind::LockLost);
    now(holder.ack()).expect("the one who holds it is not disturbed");
}

#[test]
fn every_verb_after_the_end_of_a_sessions_lock_is_session_lock_lost() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let stale = accept(&queue, "s");
    let lost = now(stale.receive(&ReceiveOptions::new()))
        .unwrap()
        .remove(0);
    now(stale.set_state(Some("before".into()))).unwrap();
    kit.advance(LOCK);
    let session = accept(&queue, "s");
    let holder = now(session.receive(&ReceiveOptions::new()))
        .unwrap()
        .remove(0);

    let gone = ErrorKind::SessionLockLost;
    for verb in every_verb() {
        assert_eq!(kind(now(lost.settle(verb))), gone);
    }
    assert_eq!(kind(now(lost.extend(LOCK))), gone);
    assert_eq!(kind(now(stale.receive(&ReceiveOptions::new()))), gone);
    assert_eq!(kind(now(stale.renew())), gone);
    assert_eq!(kind(now(stale.state())), gone);
    assert_eq!(kind(now(stale.set_state(None))), gone);
    assert_eq!(kind(now(stale.close())), gone);

    // The one who holds it is not disturbed.
    assert_eq!(
        now(session.state()).unwrap().as_deref(),
        Some(&b"before"[..])
    );
    now(session.renew()).unwrap();
    now(holder.ack()).unwrap();
}

#[test]
fn a_stale_holder_that_is_dropped_changes_nothing() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let stale = accept(&queue, "s");
    kit.advance(LOCK);
    let session = accept(&queue, "s");
    drop(stale);
    assert!(look(&queue, 1).is_empty(), "the session is still held");
    now(session.renew()).unwrap();
}

#[test]
fn foreign_receipts_are_invalid_and_touch_nothing() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let a = take(&queue);

    let elsewhere = kit.client.queue("elsewhere").unwrap();
    let private = now(kit.client.runtime().connect("memory:")).unwrap();
    let stranger = Kit::new();
    for other in [
        elsewhere,
        private.queue("q").unwrap(),
        stranger.client.queue("q").unwrap(),
    ] {
        // A delivery of its own, so that place and number of both are in use.
        now(other.send("theirs")).unwrap();
        let theirs = take(&other);
        for verb in every_verb() {
            let result = now(other.settle(vec![a.settlement(verb)]))
                .unwrap()
                .remove(0);
            assert_eq!(kind(result), ErrorKind::InvalidReceipt);
        }
        let receipts = vec![a.receipt().clone()];
        let result = now(other.extend(receipts, LOCK)).unwrap().remove(0);
        assert_eq!(kind(result), ErrorKind::InvalidReceipt);
        now(theirs.ack()).unwrap();
    }
    now(a.ack()).unwrap();
}

#[test]
fn made_up_receipts_are_invalid_and_touch_nothing() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let a = take(&queue);
    let Receipt::Slot {
        queue: number,
        slot,
        token,
        until,
        guard,
    } = *a.receipt()
    else {
        panic!("the built-in engines give receipts of their own");
    };
    let receipt = |number, slot, token| Receipt::Slot {
        queue: number,
        slot,
        token,
        until,
        guard,
    };
    let made_up = [
        Receipt::Text("a handle of some broker".into()),
        Receipt::Text("".into()),
        receipt(number.wrapping_add(1), slot, token),
        receipt(number.wrapping_sub(1), slot, token),
        receipt(number, slot.wrapping_add(1), token),
        receipt(number, u32::MAX, token),
        receipt(number, slot, token.wrapping_add(1)),
        receipt(number, slot, token.wrapping_sub(1)),
        receipt(number, slot, 0),
        receipt(number, slot, u64::MAX),
        receipt(0, 0, 0),
    ];
    for receipt in made_up {
        for verb in every_verb() {
            let settlement = Settlement::new(receipt.clone(), verb, 1);
            let result = now(queue.settle(vec![settlement])).unwrap().remove(0);
            assert_eq!(kind(result), ErrorKind::InvalidReceipt, "{receipt:?}");
        }
        let result = now(queue.extend(vec![receipt], LOCK)).unwrap().remove(0);
        assert_eq!(kind(result), ErrorKind::InvalidReceipt);
    }
    now(a.ack()).unwrap();
}

#[test]
fn good_and_bad_receipts_in_one_batch_do_not_disturb_each_other() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send_many(["a".into(), "b".into()])).unwrap();
    let got = look(&queue, 2);
    let bad = Receipt::Text("nothing".into());
    let batch = vec![
        got[0].receipt().clone(),
        bad.clone(),
        got[1].receipt().clone(),
    ];
    let results = now(queue.extend(batch.clone(), LOCK * 2)).unwrap();
    let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true]);
    let settle = |receipt| Settlement::new(receipt, Verb::Ack, 1);
    let results = now(queue.settle(batch.into_iter().map(settle).collect())).unwrap();
    let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true]);
}
