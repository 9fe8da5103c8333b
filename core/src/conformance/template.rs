//! The two short forms of the scenario files: `{x*3}` is `xxx`, and a list's entry with `{1..3}`
//! in its texts stands for three entries.

use toml::{Table, Value};

/// Writes out the short forms, everywhere in a value.
pub(super) fn expand(value: Value) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) if range(&text).is_some() => {
            return Err(format!("the range in {text:?} stands outside of a list"));
        }
        Value::String(text) => Value::String(repeat(&text)),
        Value::Array(entries) => {
            let mut written = Vec::new();
            for entry in entries {
                match length(&entry)? {
                    None => written.push(expand(entry)?),
                    Some(length) => {
                        for i in 0..length {
                            written.push(expand(pick(&entry, i))?);
                        }
                    }
                }
            }
            Value::Array(written)
        }
        Value::Table(table) => Value::Table(expand_table(table)?),
        other => other,
    })
}

pub(super) fn expand_table(table: Table) -> Result<Table, String> {
    let entry = |(key, value): (String, Value)| Ok((repeat(&key), expand(value)?));
    table.into_iter().map(entry).collect()
}

/// The text with each `{x*3}` written out.
fn repeat(text: &str) -> String {
    let Some((before, inner, after)) = braces(text, "*") else {
        return text.to_owned();
    };
    let written = inner
        .split_once('*')
        .and_then(|(what, times)| Some(what.repeat(times.parse().ok()?)));
    match written {
        Some(written) => format!("{before}{written}{}", repeat(after)),
        None => text.to_owned(),
    }
}

/// How many entries this one stands for; `None` without a range. All its ranges are equally long.
fn length(entry: &Value) -> Result<Option<u64>, String> {
    let lengths: Vec<Option<u64>> = match entry {
        Value::String(text) => vec![range(text).map(|(_, first, last, _)| last + 1 - first)],
        Value::Table(table) => table.values().map(length).collect::<Result<_, _>>()?,
        _ => return Ok(None),
    };
    let mut lengths = lengths.into_iter().flatten();
    let first = lengths.next();
    if lengths.any(|length| Some(length) != first) {
        return Err(format!("the ranges of {entry} differ in length"));
    }
    Ok(first)
}

/// The i-th entry that this one stands for.
fn pick(entry: &Value, i: u64) -> Value {
    match entry {
        Value::String(text) => Value::String(match range(text) {
            Some((before, first, _, after)) => format!("{before}{}{after}", first + i),
            None => text.clone(),
        }),
        Value::Table(table) => {
            let pick = |(key, value): (&String, &Value)| (key.clone(), pick(value, i));
            Value::Table(table.iter().map(pick).collect())
        }
        other => other.clone(),
    }
}

/// What stands before the range, its first and last number, and what stands after it.
fn range(text: &str) -> Option<(&str, u64, u64, &str)> {
    let (before, inner, after) = braces(text, "..")?;
    let (first, last) = inner.split_once("..")?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((before, first, last, after))
}

/// The first pair of braces with this mark inside: what is before, inside and after.
fn braces<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = text.split_once('{')?;
    let (inner, after) = rest.split_once('}')?;
    inner.contains(mark).then_some((before, inner, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(toml: &str) -> String {
        let table: Table = toml.parse().unwrap();
        expand_table(table).unwrap()["v"].to_string()
    }

    #[test]
    fn texts_are_repeated() {
        assert_eq!(expanded(r#"v = "a{xy*3}b{-*2}""#), r#""axyxyxyb--""#);
        assert_eq!(expanded(r#"v = { "{k*2}" = "{v*0}" }"#), r#"{ kk = "" }"#);
        assert_eq!(expanded(r#"v = '{"json": [2*3]}'"#), r#"'{"json": [2*3]}'"#);
    }

    #[test]
    fn ranges_stand_for_many_entries() {
        assert_eq!(
            expanded(r#"v = ["m{9..11}", "z"]"#),
            r#"["m9", "m10", "m11", "z"]"#
        );
        assert_eq!(
            expanded(r#"v = [{ body = "m{0..1}", session = "s{5..6}", id = "x" }]"#),
            r#"[{ body = "m0", id = "x", session = "s5" }, { body = "m1", id = "x", session = "s6" }]"#
        );
    }

    #[test]
    fn ranges_of_one_entry_are_equally_long() {
        let table: Table = r#"v = [{ a = "{0..1}", b = "{0..2}" }]"#.parse().unwrap();
        assert!(
            expand_table(table)
                .unwrap_err()
                .contains("differ in length")
        );
    }

    #[test]
    fn ranges_stand_in_lists_only() {
        let table: Table = r#"v = "m{0..1}""#.parse().unwrap();
        assert!(
            expand_table(table)
                .unwrap_err()
                .contains("outside of a list")
        );
    }
}
