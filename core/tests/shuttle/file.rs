//! Two stores on one folder: all they share is the files, as two processes do.

use std::sync::Arc;

use queue_runtime_core::{Client, Clock, Queue, QueueOptions, Runtime, RuntimeConfig};
use shuttle::future::block_on;
use shuttle::thread;

use super::common::folder::Folder;
use super::common::{Kit, now};
use super::schedules;

/// Runs a test in a fresh folder that two stores have open.
pub fn in_two_stores(options: &QueueOptions, test: &impl Fn(Kit, Queue, Queue)) {
    let folder = Arc::new(Folder::in_memory());
    let [kit, other] = [(); 2].map(|()| Kit::file(&folder, "durability=os"));
    let queues = [&kit, &other].map(|kit| {
        let queue = kit.queue(options.clone());
        now(queue.statistics()).unwrap();
        queue
    });
    let [queue, others] = queues;
    test(kit, queue, others);
}

/// A client on the system's clock: those of a virtual one lead their flushes themselves.
fn in_real_time(folder: &Folder) -> Client {
    let runtime = Runtime::with_clock(RuntimeConfig::default(), Clock::system()).unwrap();
    now(runtime.connect(&*folder.url(""))).unwrap()
}

#[test]
fn a_flush_answers_all_who_wait_for_it() {
    schedules(50, || {
        let folder = Folder::in_memory();
        let clients = [(); 2].map(|()| in_real_time(&folder));
        let senders = ["a", "b", "c"].map(|body| {
            let queue = clients[usize::from(body == "c")].queue("q").unwrap();
            thread::spawn(move || {
                // The second one may find the flusher asleep.
                for _ in 0..2 {
                    block_on(queue.send(body)).unwrap();
                }
            })
        });
        senders.map(|sender| sender.join().unwrap());
        let queue = clients[0].queue("q").unwrap();
        assert_eq!(now(queue.statistics()).unwrap().ready, 6);
    });
}
