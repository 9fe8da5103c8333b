//! Entries for tables: JSON objects whose members are columns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::entry::Entry;
use crate::error::{Error, Result};

/// The columns that are written, by name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Names {
    places: HashMap<Box<str>, usize>,
    /// Whether members that are no column are left out rather than refused.
    pub(super) leave_out: bool,
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, leave_out: bool) -> Self {
        let places = names.enumerate().map(|(place, name)| (name.into(), place));
        Self {
            places: places.collect(),
            leave_out,
        }
    }

    /// The members of an entry, each at the place of its column.
    pub(super) fn members<'a>(&self, entry: &'a Entry) -> Result<Vec<Option<&'a RawValue>>> {
        let mut json = serde_json::Deserializer::from_slice(entry.body());
        let members = Members(self).deserialize(&mut json).map_err(unread)?;
        json.end().map_err(unread)?;
        Ok(members)
    }
}

/// The error's own words where they are ours. `serde_json`'s can quote the entry.
fn unread(error: serde_json::Error) -> Error {
    let what = error.to_string();
    let what = match what.strip_prefix(OURS) {
        Some(what) => what.to_owned(),
        None => format!(
            "is not a JSON object (line {}, column {})",
            error.line(),
            error.column()
        ),
    };
    Error::invalid_message("body", what)
}

/// `InvalidMessage` for a member of an entry.
pub(super) fn refused(column: &str, what: &str) -> Error {
    Error::invalid_message("body", format!("the member {column:?} {what}"))
}

/// Marks an error's words as ours.
const OURS: &str = "\u{1}";

struct Members<'n>(&'n Names);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = vec![None; self.0.places.len()];
        while let Some(Text(name)) = map.next_key()? {
            match self.0.places.get(&*name) {
                Some(place) => {
                    if members[*place].replace(map.next_value()?).is_some() {
                        return Err(ours(format!("the member {name:?} is there twice")));
                    }
                }
                None if self.0.leave_out => drop(map.next_value::<IgnoredAny>()?),
                None => return Err(ours(format!("the table has no column {name:?}"))),
            }
        }
        Ok(members)
    }
}

fn ours<E: serde::de::Error>(what: String) -> E {
    E::custom(format!("{OURS}{what}"))
}

/// A JSON string, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a JSON value is, as far as a column cares.
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An array or object, as it is written.
    Nested(&'a str),
}

impl<'a> Value<'a> {
    /// Of a value's JSON text.
    pub(super) fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            // A raw value is sound JSON; only a lone surrogate is no text all the same.
            Some(b'"') => match serde_json::from_str(json) {
                Ok(Text(text)) => Self::Text(text),
                Err(_) => Self::Nested(json),
            },
            Some(b'[' | b'{') => Self::Nested(json),
            _ => Self::Number(json),
        }
    }

    /// A value without parts, as text.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Bool(true) => Some("true".into()),
            Self::Bool(false) => Some("false".into()),
            Self::Number(number) => Some(number.into()),
            Self::Text(text) => Some(text),
            Self::Null | Self::Nested(_) => None,
        }
    }
}

/// The key columns of an entry as text, for the choice of its lane. `None` for an entry that has
/// no key: no sink will take it, in whichever lane.
pub(super) fn lane_key(key: &Names, entry: &Entry) -> Option<Bytes> {
    let members = key.members(entry).ok()?;
    let mut text = Vec::new();
    for member in members {
        let part = Value::of(member?).text()?;
        // Lengths keep "a" + "bc" apart from "ab" + "c".
        text.extend((part.len() as u32).to_le_bytes());
        text.extend(part.as_bytes());
    }
    Some(text.into())
}
