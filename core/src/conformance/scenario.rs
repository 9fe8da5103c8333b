//! The scenarios, as read from the files that are built in.

use serde::Deserialize;
use toml::Table;

use super::step::{self, Step};
use crate::capability::Capability;
use crate::config::QueueOptions;

macro_rules! files {
    ($($theme:literal),* $(,)?) => {
        &[$((
            $theme,
            include_str!(concat!("../../../tests/conformance/scenarios/", $theme, ".toml")),
        )),*]
    };
}

/// Theme and text of each file.
const FILES: &[(&str, &str)] = files![
    "send_receive",
    "settlement",
    "batches",
    "waiting",
    "locks",
    "budget",
    "dead_letters",
    "delay_ttl",
    "dedup",
    "sessions",
    "session_failures",
    "groups",
    "bounds",
    "queues",
    "clients",
    "consumers",
    "breakers",
    "holding_back",
    "held_sessions",
    "session_pools",
    "workers",
    "producers",
    "observing",
    "bad_input",
];

/// A promise that every provider keeps, and the steps that show it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Unlike every other scenario's.
    pub name: String,
    /// The file it stands in.
    pub theme: &'static str,
    /// What must hold.
    pub about: String,
    /// Capabilities without which it says nothing.
    pub needs: Vec<Capability>,
    /// Capabilities with which it says nothing.
    pub lacks: Vec<Capability>,
    /// Where else it makes sense.
    pub tags: Vec<Tag>,
    pub(super) runtime: RuntimeOptions,
    pub(super) options: QueueOptions,
    /// The options, as they stand in the file.
    pub(super) written_options: Table,
    pub(super) steps: Vec<Step>,
}

/// Where a scenario makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    /// Also in real time, on a real server.
    RealTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Written>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    about: String,
    #[serde(default)]
    needs: Vec<Capability>,
    #[serde(default)]
    lacks: Vec<Capability>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    runtime: RuntimeOptions,
    #[serde(default)]
    options: Table,
    steps: Vec<Table>,
}

/// What the runtime of all clients is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuntimeOptions {
    pub memory_limit: Option<u64>,
}

/// Every scenario, in the order of the files.
///
/// # Errors
///
/// A text that names the file and the scenario that cannot be read.
pub fn scenarios() -> Result<Vec<Scenario>, String> {
    let mut all: Vec<Scenario> = Vec::new();
    for (theme, text) in FILES {
        let read = parse(theme, text).map_err(|e| format!("{theme}.toml: {e}"))?;
        for scenario in read {
            if all.iter().any(|other| other.name == scenario.name) {
                return Err(format!("{theme}.toml: there are two {}", scenario.name));
            }
            all.push(scenario);
        }
    }
    Ok(all)
}

/// The scenarios of one file.
pub(super) fn parse(theme: &'static str, text: &str) -> Result<Vec<Scenario>, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let scenario = |written: Written| {
        let name = written.name.clone();
        written.read(theme).map_err(|e| format!("{name}: {e}"))
    };
    file.scenario.into_iter().map(scenario).collect()
}

impl Scenario {
    /// One whose steps are yet to be said, with these options of queues.
    pub(super) fn with_options(options: Table) -> Result<Self, String> {
        let written = Written {
            options,
            ..Written::default()
        };
        written.read("")
    }
}

impl Written {
    fn read(self, theme: &'static str) -> Result<Scenario, String> {
        let mut started = step::Started::new();
        let mut steps = Vec::new();
        for (index, table) in self.steps.into_iter().enumerate() {
            let text = step::text(&table);
            let step = Step::read(table, &mut started);
            steps.push(step.map_err(|e| format!("step {} {text}: {e}", index + 1))?);
        }
        if let Some(name) = started.into_keys().next() {
            return Err(format!(
                "{name:?} is started and neither joined nor cancelled"
            ));
        }
        let options = self.options.clone().try_into();
        Ok(Scenario {
            name: self.name,
            theme,
            about: self.about,
            needs: self.needs,
            lacks: self.lacks,
            tags: self.tags,
            runtime: self.runtime,
            options: options.map_err(|e: toml::de::Error| e.message().to_owned())?,
            written_options: self.options,
            steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_built_in_and_can_be_read() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/conformance/scenarios"
        );
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut built_in: Vec<String> = FILES.iter().map(|(f, _)| format!("{f}.toml")).collect();
        there.sort();
        built_in.sort();
        assert_eq!(there, built_in);
        assert!(scenarios().unwrap().len() >= 80);
    }

    fn refused(steps: &str) -> String {
        let text = format!("[[scenario]]\nname = 'n'\nabout = 'a'\nsteps = [{steps}]\n");
        parse("theme", &text).unwrap_err()
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        for (steps, why) in [
            ("{ sned = 'a' }", "no verb"),
            ("{ send = 'a', ack = 'a' }", "several verbs"),
            ("{ send = 'a', colour = 'blue' }", "unknown field `colour`"),
            ("{ receive = 1 }", "`expect`, or `count`"),
            ("{ next = 'c' }", "`expect`, or `count`"),
            (
                "{ consume = 'c', colour = 'blue' }",
                "unknown field `colour`",
            ),
            ("{ consume = 'c', wait = 'soon' }", "not a duration"),
            ("{ consume = 'c', batch_size = 1 }", "unknown field"),
            ("{ work = 'w', colour = 'blue' }", "unknown field `colour`"),
            ("{ call = 'w' }", "`expect`, or `count`"),
            (
                "{ produce = 'p', colour = 'blue' }",
                "unknown field `colour`",
            ),
            (
                "{ send_many = [{ body = 'a', by = 'p' }] }",
                "unknown field `by`",
            ),
            ("{ ack = 'a', error = 'gone' }", "no error kind"),
            ("{ advance = 30 }", "expected a string"),
            ("{ advance = 'soon' }", "not a duration"),
            (
                "{ peek = 1, expect = [{ colour = 'blue' }] }",
                "unknown field `colour`",
            ),
            (
                "{ settle_many = [{ ack = 'a', nack = 'a' }] }",
                "exactly one",
            ),
            ("{ join = 'r' }", "was not started"),
            (
                "{ receive = 1, start = 'r' }",
                "neither joined nor cancelled",
            ),
            (
                "{ advance = '1s', start = 'r' }, { cancel = 'r' }",
                "cannot be started",
            ),
        ] {
            let error = refused(steps);
            assert!(error.contains(why), "{steps}: {error}");
        }
        let text = "[[scenario]]\nname = 'n'\nabout = 'a'\nsteps = []\ncolour = 'blue'\n";
        assert!(
            parse("theme", text)
                .unwrap_err()
                .contains("unknown field `colour`")
        );
    }
}
