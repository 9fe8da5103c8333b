//! What came of the scenarios: a table for people, rows for tools.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::scenario::Scenario;
use super::target::Target;

/// What came of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The promise is kept.
    Pass,
    /// The promise is broken: which step, what was expected and what came.
    Fail(String),
    /// Not run, for this reason.
    Skip(Kind, String),
}

/// Why a scenario is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By what the provider declares.
    Capability,
    /// By a deviation of the server that the tests run against.
    Server,
}

/// One scenario of one provider in one language, as tools read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The provider, as the target names it.
    pub provider: String,
    /// The language of the runner: `rust`, `c`, `python` or `node`; of two processes the
    /// languages of both, as `rust+python`.
    pub language: String,
    /// The scenario's name.
    pub scenario: String,
    /// `pass`, `fail` or `skip`.
    pub result: String,
    /// Why it is skipped, in a word.
    pub kind: Option<Kind>,
    /// Why it failed or is skipped, at length.
    pub reason: Option<String>,
}

/// What came of a run. [`Display`](fmt::Display) is the table printed at its end.
#[derive(Clone, Debug, Default)]
pub struct Report {
    entries: Vec<(&'static str, Row)>,
}

impl Report {
    /// Adds what came of a scenario.
    pub fn add(&mut self, target: &Target, scenario: &Scenario, outcome: &Outcome) {
        let (result, kind, reason) = match outcome {
            Outcome::Pass => ("pass", None, None),
            Outcome::Fail(reason) => ("fail", None, Some(reason)),
            Outcome::Skip(kind, reason) => ("skip", Some(*kind), Some(reason)),
        };
        let row = Row {
            provider: target.provider().to_owned(),
            language: target.language().to_owned(),
            scenario: scenario.name.clone(),
            result: result.to_owned(),
            kind,
            reason: reason.cloned(),
        };
        self.entries.push((scenario.theme, row));
    }

    /// One row for each scenario.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.entries.iter().map(|(_, row)| row)
    }

    /// How many scenarios ended like this: `pass`, `fail` or `skip`.
    pub fn count(&self, result: &str) -> usize {
        self.rows().filter(|row| row.result == result).count()
    }

    /// Writes the rows into a file that the runners of all languages share, in place of the rows
    /// of the same providers and language.
    ///
    /// # Errors
    ///
    /// Those of reading and writing the file, and `InvalidData` when it is not a list of rows.
    pub fn merge_into(&self, path: &Path) -> io::Result<()> {
        let mut rows: Vec<Row> = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let ours = |row: &Row| {
            self.rows()
                .any(|own| (&own.provider, &own.language) == (&row.provider, &row.language))
        };
        rows.retain(|row| !ours(row));
        rows.extend(self.rows().cloned());
        // Renamed into place: whoever reads meanwhile sees the old rows or the new ones.
        let new = path.with_extension("json.new");
        std::fs::write(&new, serde_json::to_vec_pretty(&rows)?)?;
        std::fs::rename(&new, path)
    }

    /// Where the runners of all languages leave their rows: `conformance.json` in cargo's target
    /// folder, that of the running program where it is in one.
    pub fn path() -> PathBuf {
        let program = std::env::current_exe().ok();
        let around = program.as_deref().into_iter().flat_map(Path::ancestors);
        // Cargo marks its target folder as one that backups leave out.
        let target = around
            .skip(1)
            .find(|folder| folder.join("CACHEDIR.TAG").exists());
        target
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("target"))
            .join("conformance.json")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<(&str, &str, &str), [usize; 3]> = BTreeMap::new();
        for (theme, row) in &self.entries {
            let results = ["pass", "fail", "skip"];
            let column = results.iter().position(|r| *r == row.result);
            for theme in [theme, "all"] {
                let of = (&*row.provider, &*row.language, theme);
                lines.entry(of).or_default()[column.unwrap_or(1)] += 1;
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, columns: [&str; 6]| {
            let [provider, language, theme, pass, fail, skip] = columns;
            write!(f, "{provider:28} {language:12} {theme:18} ")?;
            writeln!(f, "{pass:>6} {fail:>6} {skip:>7}")
        };
        let [about, passed] = ["scenarios about", "passed"];
        line(
            f,
            ["provider", "language", about, passed, "failed", "skipped"],
        )?;
        for ((provider, language, theme), counts) in lines {
            let [pass, fail, skip] = &counts.map(|count| count.to_string());
            line(f, [provider, language, theme, pass, fail, skip])?;
        }
        for row in self.rows() {
            if let Some(reason) = &row.reason {
                let kind = match row.kind {
                    Some(Kind::Capability) => " (capability)",
                    Some(Kind::Server) => " (server)",
                    None => "",
                };
                let (provider, result, name) = (&row.provider, &row.result, &row.scenario);
                writeln!(f, "{provider} {result}{kind} {name}: {reason}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(provider: &str, outcomes: &[(&str, Outcome)]) -> Report {
        let mut report = Report::default();
        let target = Target::new(provider, || unreachable!("no scenario is run"));
        for (name, outcome) in outcomes {
            let scenario = Scenario {
                name: (*name).to_owned(),
                theme: "theme",
                about: String::new(),
                needs: Vec::new(),
                lacks: Vec::new(),
                tags: Vec::new(),
                runtime: Default::default(),
                options: Default::default(),
                written_options: Default::default(),
                steps: Vec::new(),
            };
            report.add(&target, &scenario, outcome);
        }
        report
    }

    #[test]
    fn rows_of_others_stay_and_own_ones_are_replaced() {
        let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("conformance.json");
        let python = r#"[{"provider": "memory", "language": "python", "scenario": "x", "result": "skip", "kind": "server", "reason": "r"}]"#;
        std::fs::write(&path, python).unwrap();
        let old = report("memory", &[("x", Outcome::Pass), ("y", Outcome::Pass)]);
        old.merge_into(&path).unwrap();
        report("file", &[("x", Outcome::Pass)])
            .merge_into(&path)
            .unwrap();
        let skip = Outcome::Skip(Kind::Capability, "delay is unsupported".to_owned());
        report("memory", &[("x", skip)]).merge_into(&path).unwrap();

        let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let short = |row: &Row| format!("{} {} {}", row.provider, row.language, row.result);
        let shown: Vec<String> = rows.iter().map(short).collect();
        assert_eq!(
            shown,
            ["memory python skip", "file rust pass", "memory rust skip"]
        );
        assert_eq!(rows[2].kind, Some(Kind::Capability));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_table_counts_and_gives_reasons() {
        let skip = Outcome::Skip(Kind::Server, "it rounds".to_owned());
        let report = report(
            "memory",
            &[
                ("x", Outcome::Pass),
                ("y", Outcome::Fail("no".to_owned())),
                ("z", skip),
            ],
        );
        let table = report.to_string();
        let line = table.lines().find(|line| line.contains(" all ")).unwrap();
        let counts: Vec<&str> = line.split_whitespace().skip(3).collect();
        assert_eq!(counts, ["1", "1", "1"]);
        assert!(table.contains("memory fail y: no"), "{table}");
        assert!(
            table.contains("memory skip (server) z: it rounds"),
            "{table}"
        );
    }
}
