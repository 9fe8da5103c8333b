//! Panics of callers.

use super::*;

#[test]
fn a_panic_between_receive_and_settle_uses_the_attempt() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _delivery = take(&queue);
        panic!("a handler that fails on purpose");
    }));
    assert!(unwound.is_err());
    assert!(
        look(&queue, 1).is_empty(),
        "it is locked until its lock ends"
    );
    kit.advance(LOCK);
    let again = take(&queue);
    assert_eq!((body(&again), again.attempt()), ("a", 2));
    now(again.ack()).unwrap();
}

#[test]
fn a_panic_while_a_session_is_held_lets_go_of_it() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let session = accept(&queue, "s");
        let _delivery = now(session.receive(&ReceiveOptions::new())).unwrap();
        panic!("a handler that fails on purpose");
    }));
    assert!(unwound.is_err());
    let again = take(&queue);
    assert_eq!((body(&again), again.attempt()), ("a", 2));
}

#[test]
fn a_panic_in_a_waker_does_not_harm_the_queue() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker that fails on purpose");
        }
    }
    let kit = Kit::new();
    let queue = queue(&kit);
    let bomb = Waker::from(Arc::new(Bomb));
    let mut waiting = Box::pin(queue.receive_one(HOUR));
    let polled = waiting.as_mut().poll(&mut Context::from_waker(&bomb));
    assert!(polled.is_pending());
    let _ = catch_unwind(AssertUnwindSafe(|| now(queue.send("a"))));
    drop(waiting);
    now(queue.send("b")).unwrap();
    let left = look(&queue, 10);
    assert_eq!(body(left.last().unwrap()), "b");
}

#[test]
fn a_panic_while_decoding_leaves_the_delivery_whole() {
    #[derive(Debug)]
    struct Picky;
    impl<'de> serde::Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("a decoder that fails on purpose");
        }
    }
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("[1]")).unwrap();
    let delivery = take(&queue);
    let decode = AssertUnwindSafe(|| delivery.json::<Picky>().map(drop));
    assert!(catch_unwind(decode).is_err());
    assert_eq!(delivery.json::<Vec<u32>>().unwrap(), &[1]);
    assert_eq!(refused(delivery.json::<u32>()), argument("type"));
    now(delivery.ack()).unwrap();
}
