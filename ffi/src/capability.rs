//! Capabilities as data.

use queue_runtime_core::{Capabilities, Capability};
use serde_json::{Map, Value, json};

pub(crate) fn to_json(capabilities: &Capabilities) -> String {
    let support: Map<String, Value> = Capability::ALL
        .into_iter()
        .map(|c| (c.name().to_owned(), json!(capabilities.support(c))))
        .collect();
    json!({
        "provider": capabilities.provider(),
        "support": support,
        "limits": capabilities.limits(),
    })
    .to_string()
}
