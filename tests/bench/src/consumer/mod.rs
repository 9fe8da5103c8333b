//! Consumers: what the pump costs, what it costs to keep locks, what more hands bring, and what
//! handlers cost in Python and Node.

mod hands;
mod keeper;
mod languages;
mod pump;

use crate::Result;
use crate::report::Row;

const AREA: &str = "consumer";

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let mut rows = vec![pump::row(1)?, pump::row(16)?];
    rows.push(keeper::row()?);
    rows.push(hands::row()?);
    rows.extend(languages::rows()?);
    Ok(rows)
}
