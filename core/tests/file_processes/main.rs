//! Several processes on one `file:` store: waking each other, dying, forking.

#![cfg(target_os = "linux")]

mod child;
#[path = "../common/folder.rs"]
mod folder;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use queue_runtime_core::{
    Client, DeadLetterFilter, Delivery, ErrorKind, Message, Queue, QueueOptions, ReceiveOptions,
    Runtime, RuntimeConfig, SessionOptions, dead_letter::reason,
};

use child::{Child, Role};
use folder::Folder;

/// Longer than any of these tests takes: what comes earlier did not come by itself.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Some(role) = Role::from_environment() {
        child::run(&role);
        return ExitCode::SUCCESS;
    }
    let tests: [(&str, fn()); 9] = [
        ("what_a_killed_process_had_is_free_at_once", killed_holder),
        (
            "a_crash_that_spends_the_budget_says_so",
            killed_with_the_last_attempt,
        ),
        (
            "what_was_only_prefetched_goes_back_unblamed",
            killed_prefetcher,
        ),
        (
            "a_session_of_a_killed_process_is_free",
            killed_session_holder,
        ),
        ("a_receiver_is_woken_by_another_process", woken_by_another),
        (
            "a_waiting_receiver_gets_what_a_killed_process_had",
            waiting_for_the_dead,
        ),
        (
            "a_wake_that_a_killed_process_got_is_handed_on",
            killed_waiter,
        ),
        ("a_forked_child_is_told_so_and_holds_nothing", forked),
        ("processes_share_a_queue", shared),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn options() -> QueueOptions {
    QueueOptions {
        lock: Some(LONG),
        ..QueueOptions::default()
    }
}

/// This process's side of a store.
struct Side {
    runtime: Runtime,
    queue: Queue,
    _client: Client,
}

impl Side {
    fn open(folder: &Folder, options: QueueOptions) -> Self {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let connected = runtime.block_on(runtime.connect(folder.url("").as_str()));
        let client = connected.unwrap().unwrap();
        Self {
            queue: client.queue_with("q", options).unwrap(),
            runtime,
            _client: client,
        }
    }

    fn send(&self, message: impl Into<Message>) {
        let sent = self.runtime.block_on(self.queue.send(message.into()));
        sent.unwrap().unwrap();
    }

    fn receive(&self, wait: Duration) -> Vec<Delivery> {
        let options = ReceiveOptions::new().max_messages(10).wait(wait);
        let received = self.runtime.block_on(self.queue.receive(&options));
        received.unwrap().unwrap()
    }
}

fn killed_holder() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    side.send("a");
    side.send("b");
    let holder = Child::start(&folder, "hold");
    assert!(side.receive(Duration::ZERO).is_empty(), "the holder lives");
    holder.kill();
    let back = side.receive(Duration::ZERO);
    let seen: Vec<_> = back.iter().map(|d| (&**d.body(), d.attempt())).collect();
    assert_eq!(seen, [(&b"a"[..], 2), (&b"b"[..], 2)]);
}

fn killed_with_the_last_attempt() {
    let folder = Folder::new();
    let side = Side::open(
        &folder,
        QueueOptions {
            budget: Some(1),
            ..options()
        },
    );
    side.send("a");
    Child::start(&folder, "hold").kill();
    assert!(side.receive(Duration::ZERO).is_empty());
    let letters = side.queue.dead_letters(DeadLetterFilter::all(), None, 10);
    let letters = side.runtime.block_on(letters).unwrap().unwrap();
    let seen: Vec<_> = letters.iter().map(|l| (&*l.reason, l.attempts)).collect();
    assert_eq!(seen, [(reason::CRASHED, 1)]);
}

fn killed_prefetcher() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    side.send("a");
    side.send("b");
    Child::start(&folder, "prefetch").kill();
    let back = side.receive(Duration::ZERO);
    assert_eq!(
        back.iter().map(Delivery::attempt).collect::<Vec<_>>(),
        [2, 1]
    );
}

fn killed_session_holder() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    side.send(Message::new("a").session("s"));
    let accept = |wait| {
        let session = side
            .queue
            .accept_session(SessionOptions::id("s").wait(wait));
        side.runtime.block_on(session).unwrap()
    };
    let holder = Child::start(&folder, "session");
    let error = accept(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionLocked);
    holder.kill();
    let session = accept(Duration::ZERO).unwrap().unwrap();
    let options = ReceiveOptions::new().wait(Duration::ZERO);
    let back = side
        .runtime
        .block_on(session.receive(&options))
        .unwrap()
        .unwrap();
    assert_eq!(back[0].attempt(), 2);
}

fn woken_by_another() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    let mut sender = Child::start(&folder, "send");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| side.receive(LONG));
        sender.go_on();
        let received = waiting.join().unwrap();
        assert_eq!(&**received[0].body(), b"from a child");
    });
    let mut receiver = Child::start(&folder, "receive");
    side.send("from the parent");
    assert_eq!(receiver.line(), "from the parent");
}

fn waiting_for_the_dead() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    side.send("a");
    let holder = Child::start(&folder, "hold");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| side.receive(LONG));
        holder.kill();
        let received = waiting.join().unwrap();
        assert_eq!(
            (&**received[0].body(), received[0].attempt()),
            (&b"a"[..], 2)
        );
    });
}

fn killed_waiter() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    // The child waits first, so it would be woken first.
    let waiter = Child::start(&folder, "receive");
    let other = Side::open(&folder, options());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.receive(LONG));
        waiter.kill();
        side.send("a");
        assert_eq!(waiting.join().unwrap().len(), 1);
    });
}

fn forked() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    side.send("a");
    // It forks, the fork tries the store, says what came, and lives on.
    let mut parent = Child::start(&folder, "fork");
    assert_eq!(parent.line(), "forked");
    let orphan: i32 = parent.line().parse().unwrap();
    parent.kill();
    let back = side.receive(Duration::ZERO);
    // SAFETY: a signal to a process that this test made, which is asleep.
    unsafe { libc::kill(orphan, libc::SIGKILL) };
    assert_eq!(back.len(), 1, "the fork kept its dead parent's locks");
}

fn shared() {
    let folder = Folder::new();
    let side = Side::open(&folder, options());
    let mut children: Vec<Child> = (0..3).map(|_| Child::start(&folder, "work")).collect();
    let messages = (0..300).map(|n| Message::new(n.to_string()).session(format!("s{}", n % 7)));
    let sent = side
        .runtime
        .block_on(side.queue.send_many(messages.collect::<Vec<_>>()));
    assert!(sent.unwrap().unwrap().iter().all(Result::is_ok));
    let mut all: Vec<u32> = Vec::new();
    for child in &mut children {
        let mine: Vec<u32> = std::iter::from_fn(|| child.line().parse().ok()).collect();
        for session in 0..7 {
            let of: Vec<_> = mine.iter().filter(|n| *n % 7 == session).collect();
            assert!(of.is_sorted(), "session {session} out of order: {of:?}");
        }
        all.extend(mine);
    }
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<u32>>());
}
