//! What cannot be seen from outside of the crate: a disk that fails, a calendar that jumps, and
//! files that are kept between two halves of a verb.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::faults::injected::{Broken, WALL_SHIFT};
use super::index::region::Cell;
use super::options::FileOptions;
use super::store::Store;
use super::view::View;
use crate::{
    Client, Delivery, ErrorKind, Message, Queue, ReceiveOptions, Runtime, RuntimeConfig, blocking,
};

struct Kit {
    folder: PathBuf,
    runtime: Runtime,
    _client: Client,
    queue: Queue,
}

impl Kit {
    fn new(name: &str, options: &str) -> Self {
        let name = format!("qrt-file-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        Self::open(folder, options)
    }

    fn open(folder: PathBuf, options: &str) -> Self {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let url = format!(
            "file://{}?segment_bytes=1048576&{options}",
            folder.display()
        );
        let client = runtime.block_on(runtime.connect(url)).unwrap().unwrap();
        Self {
            folder,
            queue: client.queue("q").unwrap(),
            _client: client,
            runtime,
        }
    }

    fn send(&self) -> crate::Result<()> {
        let sent = self.runtime.block_on(self.queue.send(Message::new("a")));
        sent.unwrap().map(drop)
    }

    /// Flushes of this store's files fail until what is answered is dropped.
    fn break_disk(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("log-")
            {
                broken.push(Broken::syncs_of(&path));
            }
        }
        broken
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn after_a_flush_that_failed_nothing_is_acknowledged_by_anybody() {
    for may_block in [false, true] {
        let kit = Kit::new(&format!("poison-{may_block}"), "durability=commit");
        kit.send().unwrap();
        let options = ReceiveOptions::new();
        let received = kit.runtime.block_on(kit.queue.receive(&options));
        let received = received.unwrap().unwrap();
        let _broken = kit.break_disk();
        let failed = match may_block {
            true => blocking(|| kit.send()),
            false => kit.send(),
        };
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
        let acked = kit.runtime.block_on(received[0].ack()).unwrap();
        assert_eq!(acked.unwrap_err().kind(), ErrorKind::Io);
        // Nor by a client that asks for less, or by another store on the folder.
        let other = kit.open_beside("durability=os");
        assert_eq!(other.unwrap_err().kind(), ErrorKind::Io);
    }
}

impl Kit {
    /// Another store on the same folder, as in another process.
    fn open_beside(&self, options: &str) -> crate::Result<Client> {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let url = format!("file://{}?{options}", self.folder.display());
        runtime.block_on(runtime.connect(url)).unwrap()
    }
}

#[test]
fn an_interval_is_flushed_by_itself_and_os_never_is() {
    let synced = |kit: &Kit| crate::store::verify(&kit.folder).unwrap();
    let kit = Kit::new("interval", "durability=interval(1ms)");
    kit.send().unwrap();
    let begun = std::time::Instant::now();
    while synced(&kit).flushed.unwrap() < synced(&kit).end {
        assert!(begun.elapsed().as_secs() < 60, "it is never flushed");
        std::thread::yield_now();
    }
    // Nor does it owe anything when its client ends.
    for closes in [true, false] {
        let kit = Kit::new(&format!("owed-{closes}"), "durability=os");
        let client = kit.open_beside("durability=interval(1min)").unwrap();
        let send = async { client.queue("q")?.send(Message::new("a")).await };
        kit.runtime.block_on(send).unwrap().unwrap();
        let end = synced(&kit).end;
        assert!(synced(&kit).flushed.unwrap() < end);
        if closes {
            kit.runtime.block_on(client.close()).unwrap().unwrap();
            assert!(synced(&kit).flushed.unwrap() >= end);
        }
        drop(client);
        // A thread may keep the store for a moment longer.
        while synced(&kit).flushed.unwrap() < end {
            assert!(begun.elapsed().as_secs() < 50, "it is never flushed");
            std::thread::yield_now();
        }
    }
    let kit = Kit::new("os", "durability=os");
    kit.send().unwrap();
    assert!(synced(&kit).flushed.unwrap() < synced(&kit).end);
    let kit = Kit::new("commit", "durability=commit");
    kit.send().unwrap();
    assert!(synced(&kit).flushed.unwrap() >= synced(&kit).end);
}

// --- the calendar -----------------------------------------------------------------------------

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The calendar of this thread, which is right again when the test is over.
struct Calendar;

impl Calendar {
    fn is_ahead(&self, by: Duration) {
        WALL_SHIFT.set(by.as_nanos() as i64);
    }

    fn is_behind(&self, by: Duration) {
        WALL_SHIFT.set(-(by.as_nanos() as i64));
    }
}

impl Drop for Calendar {
    fn drop(&mut self) {
        WALL_SHIFT.set(0);
    }
}

impl Kit {
    /// Two messages: one comes in an hour, the other is gone in an hour.
    fn with_timers(name: &str) -> Self {
        let kit = Self::new(name, "durability=os");
        kit.put(Message::new("delayed").delay(HOUR));
        kit.put(Message::new("mortal").ttl(HOUR));
        kit
    }

    fn put(&self, message: Message) {
        let sent = self.runtime.block_on(self.queue.send(message));
        sent.unwrap().unwrap();
    }

    fn look(&self) -> Vec<Delivery> {
        let options = ReceiveOptions::new().max_messages(10).wait(Duration::ZERO);
        let received = self.runtime.block_on(self.queue.receive(&options));
        received.unwrap().unwrap()
    }

    fn depth(&self) -> u64 {
        let statistics = self.runtime.block_on(self.queue.statistics());
        statistics.unwrap().unwrap().depth()
    }

    fn store(&self) -> Arc<Store> {
        let options = FileOptions::read(&BTreeMap::new()).unwrap();
        Store::open(&self.runtime, &self.folder, options).unwrap()
    }

    /// The machine restarts: the index is void, and who opens the store builds it anew. Something
    /// happens while it is off.
    fn restart(mut self, meanwhile: impl FnOnce()) -> Self {
        let folder = std::mem::take(&mut self.folder);
        drop(self);
        let index = folder.join("index");
        // Threads of the old store may outlive it by what they are at.
        let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
        while maps().contains(index.to_str().unwrap()) {
            std::thread::yield_now();
        }
        std::fs::remove_file(index).unwrap();
        meanwhile();
        Self::open(folder, "durability=os")
    }
}

fn bodies(deliveries: &[Delivery]) -> Vec<&[u8]> {
    deliveries.iter().map(|d| &**d.body()).collect()
}

#[test]
fn a_calendar_that_jumps_moves_no_deadline_of_a_machine_that_runs() {
    for jump in [Calendar::is_ahead, Calendar::is_behind] {
        let (calendar, kit) = (Calendar, Kit::with_timers("jump"));
        let held = kit.look();
        assert_eq!(bodies(&held), [b"mortal"]);
        jump(&calendar, 100 * HOUR);
        let none = kit.look();
        assert!(none.is_empty(), "the lock holds, the delay is not over");
        assert_eq!(kit.depth(), 2, "no life is over");
        let acked = kit.runtime.block_on(held[0].ack());
        acked.unwrap().unwrap();
    }
}

#[test]
fn delays_and_lives_go_by_the_calendar_while_the_machine_is_off() {
    let (calendar, kit) = (Calendar, Kit::with_timers("off"));
    let kit = kit.restart(|| calendar.is_ahead(HOUR / 2));
    assert_eq!(bodies(&kit.look()), [b"mortal"]);
    let kit = kit.restart(|| calendar.is_ahead(2 * HOUR));
    assert_eq!(bodies(&kit.look()), [b"delayed"]);
    assert_eq!(kit.depth(), 1);
}

#[test]
fn a_calendar_that_was_lost_stands_at_the_end_of_the_log() {
    let (calendar, kit) = (Calendar, Kit::with_timers("lost"));
    calendar.is_ahead(HOUR / 2);
    kit.put(Message::new("half an hour later"));
    // As on a machine without a battery. What was to come in half an hour still is, and not when
    // the calendar of years ago gets there.
    let kit = kit.restart(|| calendar.is_behind(100_000 * HOUR));
    let store = kit.store();
    let next = store.step(|step| Ok(step.next_deadline() - step.now));
    let left = Duration::from_nanos(next.unwrap().0);
    assert!(left <= HOUR / 2 && left > HOUR / 3, "{left:?}");
    assert_eq!(kit.depth(), 3);
}

// --- files that are kept between two halves of a verb -------------------------------------------

impl Kit {
    /// Lets the keeper of the files do all that it may.
    fn keep_files(&self) {
        self.store().keep().unwrap();
    }

    /// Sends and acks until the log has gone on by some segments.
    fn churn(&self) {
        for _ in 0..60 {
            let messages = (0..10).map(|_| Message::new(vec![1; 10_000]));
            let sent = self.queue.send_many(messages.collect::<Vec<_>>());
            self.runtime.block_on(sent).unwrap().unwrap();
            for delivery in self.look() {
                self.runtime.block_on(delivery.ack()).unwrap().unwrap();
            }
        }
    }
}

#[test]
fn what_is_moved_between_looking_and_reading_is_read_where_it_is() {
    let kit = Kit::new("moved", "durability=os");
    kit.put(Message::new("dead"));
    let delivery = kit.look().remove(0);
    let buried = delivery.dead_letter("bad", Some("a reason"));
    kit.runtime.block_on(buried).unwrap().unwrap();
    kit.put(Message::new("held"));
    let _held = kit.look();
    let view = view_of(&kit);
    let (letters, _) = view
        .step(|step, queue| Ok(step.letters(queue, None, 10)))
        .unwrap();
    let (shown, _) = view
        .step(|step, queue| Ok(step.peek(queue, None, 10)))
        .unwrap();
    // The segment of both is copied forward, and its file is used again.
    kit.churn();
    kit.keep_files();
    kit.churn();
    let before = kit.store().ground.region.header().first_segment.get();
    assert!(before > 0, "the first segment is there still");
    let spots: Vec<_> = letters.iter().map(|l| (l.record, l.number)).collect();
    let (ground, bodies) = (&view.store.ground, &view.store.bodies);
    let there = ground.read_messages(bodies, &spots).remove(0);
    assert!(there.is_none(), "it is where it was: nothing is tested");
    let read = view.read_letters(letters).unwrap();
    let (_, message, letter) = &read[0];
    assert_eq!(&**message.as_ref().unwrap().body(), b"dead");
    assert_eq!(
        (&*letter.reason, letter.description.as_deref()),
        ("bad", Some("a reason"))
    );
    let wanted: Vec<_> = shown.iter().map(|s| (s.slot, s.number, s.record)).collect();
    let held = view.read_messages(&wanted).unwrap().remove(0);
    assert_eq!(&**held.read().unwrap().body(), b"held");
}

/// The view of the queue that the provider has.
fn view_of(kit: &Kit) -> View {
    let options = crate::QueueOptions::default();
    View {
        name: "q".into(),
        definition: options.define().unwrap(),
        options,
        store: kit.store(),
        durability: super::options::Durability::Os,
        bound: std::sync::atomic::AtomicU64::new(0),
    }
}
