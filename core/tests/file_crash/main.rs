//! Processes that share a `file:` store are killed at random, and the power is cut; a checker who
//! stands outside, with nothing but what they wrote into journals of their own, then looks for
//! messages that were lost, came back after their ack, were taken out of order or miscounted, and
//! for batches in parts.
//!
//! `QRT_SOAK=50` kills fifty times as often.

#![cfg(target_os = "linux")]

mod checker;
#[path = "../common/folder.rs"]
mod folder;
mod journal;
mod power;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use checker::Checker;
use folder::Folder;

/// Processes at work at a time.
const WORKERS: usize = 4;

/// How a run goes.
#[derive(Clone, Copy)]
struct Plan {
    options: &'static str,
    kills: u32,
    /// Every so many kills all die, and the power is cut.
    power_cut_every: Option<u32>,
    /// Each process lives in a pid namespace of its own, as in a container.
    own_namespaces: bool,
}

fn soak() -> u32 {
    std::env::var("QRT_SOAK").map_or(1, |factor| factor.parse().expect("QRT_SOAK is a number"))
}

fn main() -> ExitCode {
    if let Some(task) = worker::Task::from_environment() {
        worker::run(&task);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let commit = Plan {
        options: "durability=commit",
        kills: 60 * soak(),
        power_cut_every: None,
        own_namespaces: false,
    };
    let os = Plan {
        options: "durability=os",
        ..commit
    };
    let interval = Plan {
        options: "durability=interval(5ms)",
        kills: 30 * soak(),
        ..commit
    };
    let trials = [
        ("kills_in_commit_mode", commit, true),
        ("kills_in_os_mode", os, true),
        ("kills_in_interval_mode", interval, true),
        (
            "kills_and_power_cuts_in_commit_mode",
            Plan {
                power_cut_every: Some(4),
                ..commit
            },
            true,
        ),
        (
            "kills_in_pid_namespaces",
            Plan {
                own_namespaces: true,
                ..commit
            },
            namespaces_can_be_had(),
        ),
    ];
    let trials = trials.map(|(name, plan, possible)| {
        Trial::test(name, move || run(plan)).with_ignored_flag(!possible)
    });
    let mut arguments = arguments;
    // The processes of one run share two cores as it is.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// Making pid namespaces takes a right that not every machine gives.
fn namespaces_can_be_had() -> bool {
    let tried = in_namespace(Path::new("true")).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("no pid namespaces here: that run is left out");
    }
    can
}

fn in_namespace(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=KILL", "--"]);
    command.arg(program).stderr(Stdio::null());
    command
}

struct Crew {
    plan: Plan,
    url: String,
    journals: PathBuf,
    children: Vec<Child>,
    started: u32,
}

impl Crew {
    fn start(&mut self) {
        let program = std::env::current_exe().unwrap();
        let mut command = if self.plan.own_namespaces {
            in_namespace(&program)
        } else {
            Command::new(program)
        };
        let task = worker::Task {
            url: self.url.clone(),
            journal: self.journals.join(format!("{:05}", self.started)),
            name: self.started,
        };
        self.started += 1;
        let command = task.into_environment(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        self.children.push(command.spawn().unwrap());
    }

    fn kill(&mut self, which: usize) {
        let mut child = self.children.swap_remove(which);
        child.kill().unwrap();
        // This closes its input. In a namespace the worker is a child of who was killed, and dies a
        // little later: by a signal, or by the end of its input if that was not arranged for yet.
        child.wait().unwrap();
        let mut output = child.stdout.take().unwrap();
        std::io::Read::read_to_end(&mut output, &mut Vec::new()).unwrap();
    }
}

fn run(plan: Plan) -> Result<(), Failed> {
    let (store, journals) = (Folder::new(), Folder::new());
    let mut crew = Crew {
        plan,
        url: store.url(plan.options),
        journals: journals.path().to_owned(),
        children: Vec::new(),
        started: 0,
    };
    let mut random = fastrand::Rng::new();
    let seed = random.get_seed();
    let mut cuts = 0;
    for kill in 1..=plan.kills {
        while crew.children.len() < WORKERS {
            crew.start();
        }
        // The moment of the kill is what is searched over; nothing is waited for.
        std::thread::sleep(Duration::from_micros(random.u64(3_000..60_000)));
        if plan.power_cut_every.is_some_and(|every| kill % every == 0) {
            while !crew.children.is_empty() {
                crew.kill(0);
            }
            power::cut(store.path(), &mut random)?;
            cuts += 1;
        } else {
            crew.kill(random.usize(..crew.children.len()));
        }
        if let Some(dead) = crew.children.iter_mut().find_map(|c| c.try_wait().unwrap()) {
            return Err(format!("a worker ended by itself: {dead} (seed {seed})").into());
        }
    }
    let last = crew.children.len();
    for _ in 0..last {
        crew.kill(0);
    }
    let checker = Checker::read(journals.path(), plan.kills + last as u32, cuts > 0)?;
    let summary = checker
        .check(&store)
        .map_err(|why| format!("{why} (seed {seed}; {cuts} power cuts)"))?;
    eprintln!("{} kills, {cuts} power cuts: {summary}", plan.kills);
    Ok(())
}
