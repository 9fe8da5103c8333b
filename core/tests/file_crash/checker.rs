//! From the journals and from what is in the store at the end: was everything as promised?

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use queue_runtime_core::store::verify;
use queue_runtime_core::{DeadLetterFilter, Runtime, RuntimeConfig, dead_letter::reason};

use crate::folder::Folder;
use crate::journal::{self, Event, What};
use crate::worker::{BATCH, options};

pub struct Checker {
    events: Vec<Event>,
    kills: u32,
    power_cuts: bool,
}

#[derive(Default)]
struct Story {
    sent: bool,
    received: Vec<(u64, u64, u32)>,
    acking: bool,
    acked: Option<u64>,
    releasing: Vec<u64>,
}

impl Checker {
    pub fn read(journals: &Path, kills: u32, power_cuts: bool) -> Result<Self, String> {
        let mut events = Vec::new();
        for entry in std::fs::read_dir(journals).map_err(|e| e.to_string())? {
            events.extend(journal::read(&entry.map_err(|e| e.to_string())?.path()));
        }
        events.sort_by_key(|event| event.written);
        Ok(Self {
            events,
            kills,
            power_cuts,
        })
    }

    pub fn check(&self, store: &Folder) -> Result<String, String> {
        let report = verify(store.path()).map_err(|e| format!("verify: {e}"))?;
        if !report.is_sound() {
            return Err(format!("the log is damaged: {:?}", report.damaged));
        }
        let (left, dead) = contents(store)?;
        let stories = self.stories();
        let present = |name: &String| left.contains_key(name) || dead.contains(name);
        for (name, story) in &stories {
            let accounted = present(name) || story.acking;
            if story.sent && !accounted {
                return Err(format!(
                    "{name} was lost: {} deliveries",
                    story.received.len()
                ));
            }
            if let Some(acked) = story.acked {
                if present(name) {
                    return Err(format!("{name} was acked and is there"));
                }
                if story.received.iter().any(|(began, _, _)| *began > acked) {
                    return Err(format!("{name} came back after its ack"));
                }
            }
            if dead.contains(name) && left.contains_key(name) {
                return Err(format!("{name} is there twice"));
            }
        }
        self.check_batches(&stories, &present)?;
        check_order(&stories)?;
        self.check_attempts(&stories)?;
        let count = |what| {
            let of = self.events.iter().filter(|e| e.what == what);
            of.map(|e| e.messages.len()).sum::<usize>()
        };
        Ok(format!(
            "{} sent, {} delivered, {} acked, {} left, {} dead",
            count(What::Sent),
            count(What::Received),
            count(What::Acked),
            left.len(),
            dead.len()
        ))
    }

    fn stories(&self) -> HashMap<String, Story> {
        let mut stories: HashMap<String, Story> = HashMap::new();
        for event in &self.events {
            for (name, number) in &event.messages {
                let story = stories.entry(name.clone()).or_default();
                match event.what {
                    What::Sent => story.sent = true,
                    What::Received => {
                        story.received.push((event.began, event.written, *number));
                    }
                    What::Acking => story.acking = true,
                    What::Acked => story.acked = Some(event.written),
                    What::Releasing => story.releasing.push(event.began),
                    What::Sending | What::Nacking | What::Released | What::Burying => {}
                }
            }
        }
        stories
    }

    /// A batch whose send was not confirmed is there as a whole or not at all.
    fn check_batches(
        &self,
        stories: &HashMap<String, Story>,
        present: &impl Fn(&String) -> bool,
    ) -> Result<(), String> {
        for event in self.events.iter().filter(|e| e.what == What::Sending) {
            let was = |name: &String| {
                present(name) || stories.get(name).is_some_and(|s| !s.received.is_empty())
            };
            let seen = event.messages.iter().filter(|(name, _)| was(name)).count();
            // After a power cut a message may be gone that was seen before the cut.
            if seen != 0 && seen != event.messages.len() && !self.power_cuts {
                let of = event.messages.len();
                return Err(format!("{seen} of a batch of {of} were there: {event:?}"));
            }
        }
        Ok(())
    }

    /// An attempt is one more than the deliveries before that were not released. Deliveries whose
    /// receiver was killed before it could say so are not in the journals: at most a batch a kill.
    fn check_attempts(&self, stories: &HashMap<String, Story>) -> Result<(), String> {
        let mut unsaid = 0;
        for (name, story) in stories {
            // Journals are written a little after the deliveries they tell of.
            let mut attempts: Vec<usize> = story.received.iter().map(|r| r.2 as usize).collect();
            attempts.sort_unstable();
            let maybe = story.releasing.len();
            let mut most = 0;
            for (before, attempt) in attempts.iter().enumerate() {
                if attempt + maybe < before + 1 && !self.power_cuts {
                    return Err(format!("{name}: attempts {attempts:?}, {maybe} released"));
                }
                most = most.max((attempt - 1).saturating_sub(before));
            }
            unsaid += most;
        }
        let allowed = self.kills as usize * BATCH;
        if unsaid > allowed {
            return Err(format!(
                "{unsaid} attempts that nobody made; {allowed} may be unsaid"
            ));
        }
        Ok(())
    }
}

/// Within a session no message is first delivered before one that was sent before it.
fn check_order(stories: &HashMap<String, Story>) -> Result<(), String> {
    let mut sessions: HashMap<&str, BTreeMap<u32, &Story>> = HashMap::new();
    for (name, story) in stories {
        if let Some((session, number)) = name.rsplit_once('.')
            && session.contains(".s")
        {
            let number = number.parse().map_err(|e| format!("{name}: {e}"))?;
            sessions.entry(session).or_default().insert(number, story);
        }
    }
    for (session, messages) in sessions {
        let mut latest: Option<(u64, u32)> = None;
        for (number, story) in messages {
            let Some((began, written, _)) = story.received.first() else {
                continue;
            };
            if let Some((before, other)) = latest
                && *written < before
            {
                return Err(format!("{session}: {number} was delivered before {other}"));
            }
            if latest.is_none_or(|(before, _)| *began > before) {
                latest = Some((*began, number));
            }
        }
    }
    Ok(())
}

type Contents = (HashMap<String, u32>, HashSet<String>);

/// What the store holds: messages with their attempts, and dead letters.
fn contents(store: &Folder) -> Result<Contents, String> {
    let runtime = Runtime::new(RuntimeConfig::default()).map_err(|e| e.to_string())?;
    let look = async {
        let client = runtime.connect(store.url("")).await?;
        let queue = client.queue_with("crash", options())?;
        // What the dead had in hands still moves, until nothing does.
        loop {
            let before = queue.statistics().await?;
            let peeked = queue.peek(None, 100_000).await?;
            let dead = queue
                .dead_letters(DeadLetterFilter::all(), None, 100_000)
                .await?;
            let after = queue.statistics().await?;
            if (before.depth(), before.dead) == (after.depth(), after.dead) {
                return Ok::<_, queue_runtime_core::Error>((peeked, dead, after));
            }
        }
    };
    let (peeked, dead, statistics) = runtime
        .block_on(look)
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("the store does not open: {e}"))?;
    if statistics.depth() != peeked.len() as u64 || statistics.dead != dead.len() as u64 {
        return Err(format!(
            "{statistics:?}, but {} and {}",
            peeked.len(),
            dead.len()
        ));
    }
    let name = |body: &[u8]| {
        let text = String::from_utf8_lossy(body);
        text.split(' ').next().unwrap_or_default().to_owned()
    };
    let left: HashMap<_, _> = peeked
        .iter()
        .map(|p| (name(p.message.body()), p.attempts))
        .collect();
    if left.len() != peeked.len() {
        return Err("a message is there twice".to_owned());
    }
    let unread = dead.iter().find(|d| &*d.reason == reason::UNREADABLE);
    if let Some(letter) = unread {
        return Err(format!("{} cannot be read", letter.id));
    }
    let dead = dead.iter().map(|d| name(d.message.body())).collect();
    Ok((left, dead))
}
