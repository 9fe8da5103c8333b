//! One process's side of a store in real time.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use queue_runtime_core::{
    Client, Delivery, Error, ErrorKind, Message, Queue, QueueOptions, ReceiveOptions, Result,
    Runtime, RuntimeConfig,
};

/// The bytes of a message that fills a disk.
pub const BODY: usize = 50_000;
/// Only a failing test takes so long.
const STUCK: Duration = Duration::from_secs(60);

pub struct Side {
    runtime: Runtime,
    queue: Queue,
    _client: Client,
}

impl Side {
    pub fn try_open(folder: &Path) -> Result<Self> {
        let runtime = Runtime::new(RuntimeConfig::default())?;
        let url = format!("file://{}?segment_bytes=4194304", folder.display());
        let client = runtime.block_on(runtime.connect(url))??;
        let options = QueueOptions {
            lock: Some(Duration::from_secs(600)),
            ..QueueOptions::default()
        };
        let queue = client.queue_with("q", options)?;
        let side = Self {
            queue,
            runtime,
            _client: client,
        };
        // A queue is bound to its store by its first verb.
        side.wait(side.queue.statistics())?;
        Ok(side)
    }

    pub fn open(folder: &Path) -> Self {
        Self::try_open(folder).unwrap()
    }

    fn wait<T>(&self, verb: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(verb).unwrap()
    }

    pub fn send(&self, body: &str) {
        self.wait(self.queue.send(Message::new(body.to_owned())))
            .unwrap();
    }

    /// Sends until a send goes through: what makes room does so beside the verbs.
    pub fn send_again(&self, body: &str) {
        let begun = Instant::now();
        while let Err(error) = self.wait(self.queue.send(Message::new(body.to_owned()))) {
            is_full(&error);
            assert!(begun.elapsed() < STUCK, "sends do not resume");
            std::thread::yield_now();
        }
    }

    /// Sends until there is no room, this many bytes at least. Answers how many messages.
    pub fn fill(&self, least: usize) -> usize {
        let begun = Instant::now();
        let mut sent = 0;
        loop {
            match self.wait(self.queue.send(Message::new(vec![b'x'; BODY]))) {
                Ok(_) => sent += 1,
                Err(error) => {
                    is_full(&error);
                    if sent * BODY >= least {
                        return sent;
                    }
                    assert!(begun.elapsed() < STUCK, "there is no room");
                    std::thread::yield_now();
                }
            }
        }
    }

    pub fn receive(&self, max: u32) -> Vec<Delivery> {
        let options = ReceiveOptions::new().max_messages(max).wait(Duration::ZERO);
        self.wait(self.queue.receive(&options)).unwrap()
    }

    pub fn settle(&self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            self.wait(delivery.ack()).unwrap();
        }
    }

    /// Receives and acks all that is ready. Answers the bodies.
    pub fn settle_all(&self) -> Vec<String> {
        let mut bodies = Vec::new();
        while let [delivery] = &self.receive(1)[..] {
            bodies.push(String::from_utf8(delivery.body().to_vec()).unwrap());
            self.wait(delivery.ack()).unwrap();
        }
        bodies
    }

    pub fn depth(&self) -> u64 {
        self.wait(self.queue.statistics()).unwrap().depth()
    }
}

fn is_full(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(error.code(), Some("store_full"), "{error}");
}

/// What another user does.
pub fn act_as_user(role: &str, folder: &Path) {
    match role {
        "refused" => {
            let error = Side::try_open(folder).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.message().contains("all users of a store"), "{error}");
        }
        "shares" => {
            let side = Side::open(folder);
            assert_eq!(side.settle_all(), ["a"]);
            side.send("from nobody");
        }
        other => panic!("no role {other:?}"),
    }
}

/// Waits until this process has the store open no more.
pub fn wait_until_closed(folder: &Path) {
    let index = folder.join("index");
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
    while maps().contains(index.to_str().unwrap()) {
        std::thread::yield_now();
    }
}

/// Makes the index one of another run of the machine.
pub fn void_index(folder: &Path) {
    let index = folder.join("index");
    let file = std::fs::OpenOptions::new().write(true).open(index).unwrap();
    file.write_all_at(&[0xff; 16], 8).unwrap();
}
