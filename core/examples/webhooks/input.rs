//! The webhooks: example payloads from the npm package `@octokit/webhooks-examples`.

use std::collections::BTreeSet;
use std::error::Error;

use queue_runtime_core::{Message, Result};
use serde::Deserialize;
use serde_json::Value;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
);

/// One webhook to send.
pub struct Webhook {
    /// The event and a number: `issues-3` is the fourth payload of the event `issues`.
    pub id: String,
    pub event: String,
    pub session: Option<String>,
    payload: Value,
}

impl Webhook {
    pub fn message(&self) -> Result<Message> {
        let message = Message::json(&self.payload)?
            .id(self.id.as_str())
            .header("event", self.event.as_str());
        Ok(match &self.session {
            Some(session) => message.session(session.as_str()),
            None => message,
        })
    }
}

/// All webhooks, in the order of the file.
pub fn load() -> Result<Vec<Webhook>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Event {
        name: String,
        examples: Vec<Value>,
    }

    let text = std::fs::read(FILE)
        .map_err(|e| format!("{FILE}: {e}; scripts/setup fetches the payloads"))?;
    let events: Vec<Event> = serde_json::from_slice(&text)?;
    let webhooks = events.into_iter().flat_map(|Event { name, examples }| {
        let examples = examples.into_iter().enumerate();
        examples.map(move |(number, payload)| Webhook {
            id: format!("{name}-{number}"),
            event: name.clone(),
            session: session_key(&payload),
            payload,
        })
    });
    Ok(webhooks.collect())
}

/// What must stay in order: one pull request or issue, else what is left of one repository.
/// Events of no repository (an app was installed, a sponsor came) have no order to keep.
pub fn session_key(payload: &Value) -> Option<String> {
    let repository = payload["repository"]["full_name"].as_str()?;
    let number = ["pull_request", "issue"]
        .iter()
        .find_map(|subject| payload[subject]["number"].as_u64());
    Some(match number {
        Some(number) => format!("{repository}#{number}"),
        None => repository.to_owned(),
    })
}

/// The sessions these webhooks belong to.
pub fn sessions(webhooks: &[Webhook]) -> BTreeSet<&str> {
    webhooks
        .iter()
        .filter_map(|w| w.session.as_deref())
        .collect()
}

/// The ids of this webhook and of those after it in its session.
pub fn from_on<'a>(webhooks: &'a [Webhook], id: &str) -> Vec<&'a str> {
    let rest: Vec<&Webhook> = webhooks.iter().skip_while(|w| w.id != id).collect();
    let session = rest.first().map(|w| &w.session);
    rest.iter()
        .filter(|w| Some(&w.session) == session)
        .map(|w| w.id.as_str())
        .collect()
}
