//! Several processes on one store.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{AREA, Bench, Folder};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 5;
const PROCESSES: u64 = 4;
const COUNT: u64 = 40_000;

/// What a process of this program does that was started to take part.
pub fn worker(url: &str) -> Result<()> {
    use std::io::Read;
    let bench = Bench::open(url)?;
    println!("ready");
    let mut line = [0; 1];
    while std::io::stdin().read(&mut line)? == 1 {
        bench.batches(COUNT / PROCESSES)?;
        println!("done");
    }
    Ok(())
}

pub struct Worker(Child);

impl Worker {
    /// Starts this program with an argument that says what to do, and waits until it is ready.
    pub fn start(what: &str, of: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([what, of]);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut worker = Self(child);
        worker.answer()?;
        Ok(worker)
    }

    fn go(&mut self) -> Result<()> {
        use std::io::Write;
        let input = self.0.stdin.as_mut().ok_or("no input")?;
        Ok(input.write_all(b"x")?)
    }

    fn answer(&mut self) -> Result<()> {
        use std::io::Read;
        let output = self.0.stdout.as_mut().ok_or("no output")?;
        let mut byte = [0; 1];
        while byte[0] != b'\n' {
            output.read_exact(&mut byte)?;
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub fn row() -> Result<Row> {
    let (many, one) = (Folder::new("four")?, Folder::new("one")?);
    let alone = Bench::open(&one.url("commit"))?;
    let url = many.url("commit");
    let mut workers = (0..PROCESSES)
        .map(|_| Worker::start("--take-part", &url))
        .collect::<Result<Vec<_>>>()?;
    let [four, one] = take_turns(
        ROUNDS,
        [
            &mut || {
                let start = Instant::now();
                workers.iter_mut().try_for_each(Worker::go)?;
                workers.iter_mut().try_for_each(Worker::answer)?;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                alone.batches(COUNT)?;
                Ok(rate(COUNT, start))
            },
        ],
    )?;
    let name = "send + receive + ack, commit, batches of 100: four processes beside one";
    Ok(Row::beside(
        AREA,
        name,
        Unit::Rate,
        &four,
        &one,
        Goal::AtLeast(1.3),
    ))
}
