//! What cannot be seen from outside of the crate: a disk that fails.

use std::path::PathBuf;

use super::faults::injected::break_syncs_of;
use crate::{Client, ErrorKind, Message, Queue, ReceiveOptions, Runtime, RuntimeConfig, blocking};

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

    fn break_disk(&self) {
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("log-")
            {
                break_syncs_of(&path);
            }
        }
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
        kit.break_disk();
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
    let kit = Kit::new("os", "durability=os");
    kit.send().unwrap();
    assert!(synced(&kit).flushed.unwrap() < synced(&kit).end);
    let kit = Kit::new("commit", "durability=commit");
    kit.send().unwrap();
    assert!(synced(&kit).flushed.unwrap() >= synced(&kit).end);
}
