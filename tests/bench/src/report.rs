//! Rows, as a table for people and as JSON for tools.

use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::measure::Samples;

/// What a ratio, or a number without a yardstick, has to reach.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// The row is for information.
    None,
}

/// What the numbers count.
#[derive(Clone, Copy, PartialEq, Serialize)]
pub enum Unit {
    #[serde(rename = "messages/s")]
    Rate,
    #[serde(rename = "us")]
    Micros,
    #[serde(rename = "ns")]
    Nanos,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "requests")]
    Requests,
}

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    area: &'static str,
    row: String,
    ours: f64,
    yardstick: Option<f64>,
    unit: Unit,
    ratio: Option<f64>,
    goal: Option<f64>,
    met: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip)]
    best: Option<(f64, f64)>,
    #[serde(skip)]
    goal_text: String,
}

impl Row {
    /// A row beside its yardstick: the goal is the ratio's.
    pub fn beside(
        area: &'static str,
        row: impl Into<String>,
        unit: Unit,
        ours: &Samples,
        yardstick: &Samples,
        goal: Goal,
    ) -> Self {
        let best = match unit {
            Unit::Rate => (ours.largest(), yardstick.largest()),
            _ => (ours.smallest(), yardstick.smallest()),
        };
        let ratio = ours.ratio_to(yardstick);
        Self {
            yardstick: Some(yardstick.median()),
            ratio: Some(ratio),
            best: Some(best),
            ..Self::alone(area, row, unit, ours.median(), goal).judged(ratio, goal)
        }
    }

    /// A row without a yardstick: the goal is the number's.
    pub fn alone(
        area: &'static str,
        row: impl Into<String>,
        unit: Unit,
        ours: f64,
        goal: Goal,
    ) -> Self {
        let row = Self {
            area,
            row: row.into(),
            ours,
            yardstick: None,
            unit,
            ratio: None,
            goal: None,
            met: None,
            reason: None,
            best: None,
            goal_text: String::new(),
        };
        row.judged(ours, goal)
    }

    fn judged(mut self, number: f64, goal: Goal) -> Self {
        (self.goal, self.met, self.goal_text) = match goal {
            Goal::AtLeast(least) => (Some(least), Some(number >= least), format!("≥ {least}")),
            Goal::AtMost(most) => (Some(most), Some(number <= most), format!("≤ {most}")),
            Goal::None => (None, None, String::new()),
        };
        self
    }

    /// Why the goal is missed, for the case that it is.
    pub fn unless_met(mut self, reason: &'static str) -> Self {
        self.reason = (self.met == Some(false)).then_some(reason);
        self
    }
}

/// The rows of an area, for people.
pub fn table(area: &str, rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        area,
        "ours",
        "(best)",
        "yardstick",
        "(best)",
        "unit",
        "ratio",
        "goal",
        "met",
    ]);
    for row in rows {
        let best = |side: fn((f64, f64)) -> f64| row.best.map(side).map_or_else(String::new, short);
        let met = match row.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        table.add_row([
            row.row.clone(),
            short(row.ours),
            best(|b| b.0),
            row.yardstick.map_or_else(String::new, short),
            best(|b| b.1),
            serde_json::to_value(row.unit).map_or_else(|_| String::new(), |u| text(&u)),
            row.ratio.map_or_else(String::new, |r| format!("{r:.2}")),
            row.goal_text.clone(),
            met.to_owned(),
        ]);
    }
    for column in [1, 2, 3, 4, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A number to three or four places.
fn short(number: f64) -> String {
    if number >= 1e6 {
        format!("{:.2} M", number / 1e6)
    } else if number >= 1e4 {
        format!("{:.0} k", number / 1e3)
    } else {
        format!("{number:.1}")
    }
}

/// Puts the rows of an area in place of its former ones in `target/bench.json` of the project.
pub fn store(area: &str, rows: &[Row]) -> Result<()> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let path = target.join("bench.json");
    let mut all: Vec<Value> = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    all.retain(|row| row["area"] != area);
    for row in rows {
        all.push(serde_json::to_value(row)?);
    }
    fs::create_dir_all(&target)?;
    fs::write(&path, serde_json::to_vec_pretty(&all)?)?;
    Ok(())
}
