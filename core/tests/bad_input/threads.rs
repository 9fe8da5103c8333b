//! Threads and executors that nobody prepared.

use super::*;

/// The least an executor can be: polls, parks, and knows nothing of tokio.
fn foreign_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < STUCK, "nobody was woken");
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(STUCK),
        }
    }
}

#[test]
fn a_foreign_executor_can_wait_on_the_system_clock() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    foreign_block_on(async {
        let client = runtime.connect("memory:").await.unwrap();
        let queue = client.queue("q").unwrap();
        assert!(queue.receive_one(ms(20)).await.unwrap().is_none());
        let next = SessionOptions::next().wait(ms(20));
        assert!(queue.accept_session(next).await.unwrap().is_none());

        let sender = queue.clone();
        let sent = thread::spawn(move || foreign_block_on(sender.send("a")));
        let a = queue.receive_one(HOUR).await.unwrap().expect("a message");
        sent.join().unwrap().unwrap();
        assert_eq!(body(&a), "a");
        a.extend(ms(20)).await.unwrap();
        drop(a);
        let again = queue
            .receive_one(HOUR)
            .await
            .unwrap()
            .expect("it comes back");
        assert_eq!(again.attempt(), 2);
        again.ack().await.unwrap();
    });
}

#[test]
fn a_foreign_executor_can_pace_a_redrive() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send_many(["a".into(), "b".into()])).unwrap();
    for delivery in look(&queue, 2) {
        now(delivery.dead_letter("bad", None)).unwrap();
    }
    let q = queue.clone();
    let slow = RedriveOptions {
        per_second: Some(1),
        ..RedriveOptions::default()
    };
    let mut redrive = Waiting::start(async move { q.redrive(slow).await });
    now(take(&queue).ack()).unwrap();
    assert!(look(&queue, 1).is_empty());
    kit.advance(Duration::from_secs(1));
    while redrive.is_woken() {
        if let Poll::Ready(report) = redrive.poll() {
            assert_eq!(report.unwrap().redriven, 2);
            assert_eq!(body(&take(&queue)), "b");
            return;
        }
        kit.advance(Duration::from_secs(1));
    }
    panic!("the redrive was not woken by the clock");
}

#[test]
fn block_on_inside_a_tokio_runtime_would_deadlock() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    tokio.block_on(async {
        assert_eq!(kind(runtime.block_on(async {})), ErrorKind::WouldDeadlock);
    });
    let inside = runtime.clone();
    let nested = runtime.block_on(async move { inside.block_on(async {}) });
    assert_eq!(kind(nested.unwrap()), ErrorKind::WouldDeadlock);
    assert_eq!(runtime.block_on(async { 7 }).unwrap(), 7);
}

#[test]
fn a_runtime_may_go_anywhere() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(async {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let client = runtime.connect("memory:").await.unwrap();
        let queue = client.queue("q").unwrap();
        queue.send("a").await.unwrap();
        let a = queue.receive_one(HOUR).await.unwrap().unwrap();
        drop((runtime, client, queue));
        a.ack().await.unwrap();
        drop(a);
    });
    // On a thread of its own.
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let own = runtime.clone();
    runtime.block_on(async move { drop(own) }).unwrap();
    drop(runtime);
}

#[test]
fn there_is_no_current_runtime_outside_of_one() {
    assert_eq!(kind(Runtime::current().map(drop)), ErrorKind::InvalidConfig);
}

/// The types a program shares between its threads can be shared.
#[test]
fn everything_crosses_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Queue>();
    crosses::<Delivery>();
    crosses::<Session>();
    crosses::<Runtime>();
    crosses::<Error>();
    crosses::<Message>();
}
