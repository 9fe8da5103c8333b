//! A PostgreSQL server for tests and benches, through the script beside this file. It ends with
//! this process, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A server of its own.
pub struct Server {
    /// Where it listens: the same after a restart.
    pub url: String,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _script: Child,
}

impl Server {
    /// Starts a server with these settings. `None` where PostgreSQL is not installed.
    pub fn start(settings: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = script
            .ancestors()
            .map(|folder| folder.join("tests/services/postgres"));
        let script = script
            .into_iter()
            .find(|path| path.exists())
            .expect("the script is there");
        let mut script = Command::new(script)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script runs");
        let mut pipes = Pipes {
            commands: script.stdin.take().expect("piped"),
            answers: BufReader::new(script.stdout.take().expect("piped")),
            _script: script,
        };
        let answer = pipes.answer();
        if answer.starts_with("missing") {
            return None;
        }
        let url = answer.strip_prefix("ready ").expect("the server started");
        Some(Self {
            url: url.to_owned(),
            pipes: Mutex::new(pipes),
        })
    }

    /// Ends the server as a crash would.
    pub fn kill(&self) {
        self.command("kill");
    }

    /// Starts it again.
    pub fn restart(&self) {
        self.command("start");
    }

    fn command(&self, command: &str) {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.commands, "{command}").expect("the script reads");
        assert!(!pipes.answer().is_empty(), "the script ended");
    }
}

impl Pipes {
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the script answers");
        line.trim_end().to_owned()
    }
}
