//! Durations in configuration are text with a unit: `30s`, `5m`, `1h 30m`, `250ms`.

use std::time::Duration;

use serde::Serializer;

/// The duration of this text. A bare number is refused: its unit would be a guess.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(format!(
            "{text:?} is negative; write a duration like \"30s\""
        ));
    }
    humantime::parse_duration(text)
        .map_err(|e| format!("{text:?} is not a duration like \"30s\" or \"250ms\": {e}"))
}

pub(crate) fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    match d {
        Some(d) => s.collect_str(&humantime::format_duration(*d)),
        None => s.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let cases = [
            ("0", Duration::ZERO),
            ("250ms", Duration::from_millis(250)),
            (" 30s ", Duration::from_secs(30)),
            ("1h 30m", Duration::from_secs(5400)),
            ("1h30m", Duration::from_secs(5400)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        let overflowing = "99999999999999999999s";
        let overflowing_years = "99999999999999999y";
        for text in [
            "",
            "30",
            "-1s",
            "s",
            "1 fortnight",
            "1.5.5s",
            overflowing,
            overflowing_years,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("-1s").unwrap_err().contains("negative"));
    }
}
