//! Consumers: what the pump costs, what it costs to keep locks, and what more hands bring.

mod hands;
mod keeper;
mod pump;

use crate::Result;
use crate::report::Row;

const AREA: &str = "consumer";

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let mut rows = vec![pump::row(1)?, pump::row(16)?];
    rows.push(keeper::row()?);
    rows.push(hands::row()?);
    Ok(rows)
}
