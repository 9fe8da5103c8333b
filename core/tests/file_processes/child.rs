//! The other process: what it is told to do, and how it is spoken to. It says a line when it is
//! where the test wants it.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use queue_runtime_core::{
    ConsumerOptions, Failure, ReceiveOptions, Runtime, RuntimeConfig, SessionOptions,
};

use crate::folder::Folder;

pub struct Role {
    url: String,
    name: String,
}

impl Role {
    pub fn from_environment() -> Option<Self> {
        Some(Self {
            url: std::env::var("QRT_CHILD_URL").ok()?,
            name: std::env::var("QRT_CHILD_ROLE").ok()?,
        })
    }
}

/// A process that plays a role; killed when dropped.
pub struct Child {
    process: std::process::Child,
    says: BufReader<ChildStdout>,
}

impl Child {
    /// Starts it and waits until it is ready.
    pub fn start(folder: &Folder, role: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env("QRT_CHILD_URL", folder.url(""))
            .env("QRT_CHILD_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        let mut child = Self { process, says };
        assert_eq!(child.line(), "ready");
        child
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn go_on(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
    }

    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

fn say(what: &str) {
    println!("{what}");
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

pub fn run(role: &Role) {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let client = runtime
        .block_on(runtime.connect(role.url.as_str()))
        .unwrap()
        .unwrap();
    let options = queue_runtime_core::QueueOptions {
        lock: Some(crate::LONG),
        ..Default::default()
    };
    let queue = client.queue_with("q", options).unwrap();
    let look = ReceiveOptions::new().max_messages(10).wait(Duration::ZERO);
    let wait = ReceiveOptions::new().wait(crate::LONG);
    match role.name.as_str() {
        "hold" => {
            let held = runtime.block_on(queue.receive(&look)).unwrap().unwrap();
            assert!(!held.is_empty());
            say("ready");
            sleep_for_ever();
        }
        "prefetch" => {
            // One message is in the handler, the other waits for its turn.
            let options = ConsumerOptions::new().concurrency(1).prefetch(4);
            let _worker = queue.process(options, async |_| {
                say("ready");
                std::future::pending::<Result<(), Failure>>().await
            });
            sleep_for_ever();
        }
        "session" => {
            let session = queue.accept_session(SessionOptions::id("s"));
            let session = runtime.block_on(session).unwrap().unwrap().unwrap();
            let held = runtime.block_on(session.receive(&look)).unwrap().unwrap();
            assert_eq!(held.len(), 1);
            say("ready");
            sleep_for_ever();
        }
        "send" => {
            say("ready");
            std::io::stdin().read_line(&mut String::new()).unwrap();
            runtime
                .block_on(queue.send("from a child"))
                .unwrap()
                .unwrap();
            sleep_for_ever();
        }
        "receive" => {
            // The first poll leaves a waiter behind; only then is it ready.
            let mut receiving = Box::pin(queue.receive(&wait));
            let received = runtime.block_on(async {
                let first = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(receiving.as_mut().poll(cx).is_ready())
                });
                assert!(!first.await);
                say("ready");
                receiving.await
            });
            for delivery in received.unwrap().unwrap() {
                say(std::str::from_utf8(delivery.body()).unwrap());
            }
            sleep_for_ever();
        }
        "fork" => {
            let held = runtime.block_on(queue.receive(&look)).unwrap().unwrap();
            assert_eq!(held.len(), 1);
            say("ready");
            // SAFETY: the child only calls what a child of a process with threads may: the store,
            // which refuses before it takes any lock, and writes to its standard output.
            match unsafe { libc::fork() } {
                0 => {
                    let answer = queue.start_send(vec!["x".into()]).try_now();
                    let error = answer.ok().and_then(Result::err).map(|e| e.kind());
                    let forked = error == Some(queue_runtime_core::ErrorKind::Forked);
                    say(if forked { "forked" } else { "not told" });
                    say(&std::process::id().to_string());
                    sleep_for_ever();
                }
                _ => sleep_for_ever(),
            }
        }
        "work" => {
            say("ready");
            let wait = ReceiveOptions::new().wait(Duration::from_secs(2));
            loop {
                let received = runtime.block_on(queue.receive(&wait)).unwrap().unwrap();
                if received.is_empty() {
                    say("end");
                    return;
                }
                for delivery in received {
                    say(std::str::from_utf8(delivery.body()).unwrap());
                    runtime.block_on(delivery.ack()).unwrap().unwrap();
                }
            }
        }
        other => panic!("no role {other:?}"),
    }
}
