//! Options by name and text: the one form that URLs, JSON documents and the environment share.

use std::fmt;
use std::str::FromStr;

use serde::de::value::Error as WordError;
use serde::de::{DeserializeOwned, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::error::{Error, Result};

/// A configuration whose options are set by name.
pub(crate) trait Options: Default {
    /// The options there are, in the order of their documentation.
    fn names() -> impl Iterator<Item = &'static str>;

    /// Sets an option from its text; `false` when there is none of this name. The error says
    /// what is wrong with the text.
    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String>;

    /// Sets an option that must be there. `InvalidConfig` names it.
    fn expect(&mut self, name: &str, text: &str) -> Result<()> {
        match self.set(name, text) {
            Ok(true) => Ok(()),
            Ok(false) => Err(unknown(name, Self::names())),
            Err(what) => Err(Error::invalid_config(name.to_owned(), what)),
        }
    }

    /// The configuration of a JSON object. `InvalidConfig` names the option.
    fn from_json(json: &str) -> Result<Self> {
        let document = serde_json::from_str(json).map_err(|e| {
            // The place alone: the error's own text can quote a secret.
            let (line, column) = (e.line(), e.column());
            let what = format!("is not an object of options (line {line}, column {column})");
            Error::invalid_config("json", what)
        })?;
        Self::from_document(document)
    }

    fn from_document(document: Document) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in document.0 {
            let text = text_of(value).map_err(|what| Error::invalid_config(name.clone(), what))?;
            if let Some(text) = text {
                options.expect(&name, &text)?;
            }
        }
        Ok(options)
    }
}

/// `InvalidConfig` for a name that is not among the known ones.
pub(crate) fn unknown<N: fmt::Display>(
    name: impl Into<String>,
    known: impl Iterator<Item = N>,
) -> Error {
    let known: Vec<String> = known.map(|name| name.to_string()).collect();
    let what = format!("there is no such option; there are: {}", known.join(", "));
    Error::invalid_config(name.into(), what)
}

/// Fills an option that may be given once.
pub(crate) fn put<T>(
    option: &mut Option<T>,
    value: std::result::Result<T, String>,
) -> std::result::Result<bool, String> {
    if option.is_some() {
        return Err("is given more than once".to_owned());
    }
    *option = Some(value?);
    Ok(true)
}

/// A whole number.
pub(crate) fn number<T>(text: &str) -> std::result::Result<T, String>
where
    T: FromStr<Err = std::num::ParseIntError>,
{
    let text = text.trim();
    text.parse()
        .map_err(|e| format!("{text:?} is not a whole number in range: {e}"))
}

/// Yes or no.
pub(crate) fn flag(text: &str) -> std::result::Result<bool, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_| format!("{text:?} is neither true nor false"))
}

/// One of the words that serde knows for this type.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
    let word = IntoDeserializer::<WordError>::into_deserializer(text.trim());
    T::deserialize(word).map_err(|e| e.to_string())
}

/// The parts of a list: `a,b,c`. Nothing for an empty text.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// Fields of other configurations of queues that people bring along: what they are here.
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    /// The value that says what is so anyway.
    pub(crate) fine: Option<&'static str>,
    pub(crate) instead: &'static str,
}

impl Foreign {
    /// As [`Options::set`]: a foreign field is refused with what to do instead.
    pub(crate) fn set(
        foreign: &[Foreign],
        name: &str,
        text: &str,
    ) -> std::result::Result<bool, String> {
        match foreign.iter().find(|field| field.name == name) {
            None => Ok(false),
            Some(field) if field.fine == Some(text.trim()) => Ok(true),
            Some(field) => Err(field.instead.to_owned()),
        }
    }
}

/// Names and values as a document gives them, repeated ones included.
pub(crate) struct Document(Vec<(String, Value)>);

/// A value as the text that sets an option; `None` for null, which sets nothing.
fn text_of(value: Value) -> std::result::Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Array(values) => {
            let parts: std::result::Result<Vec<_>, _> = values.into_iter().map(text_of).collect();
            let parts: Vec<String> = parts?.into_iter().flatten().collect();
            Ok(Some(parts.join(",")))
        }
        Value::Object(_) => Err("must be a text, a number or a list, not an object".to_owned()),
        Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and values of options")
            }

            /// The default would quote the text, which can be a URL with a secret.
            fn visit_str<E: de::Error>(self, _: &str) -> std::result::Result<Document, E> {
                Err(E::custom(
                    "a text was given instead of names and values of options",
                ))
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Document, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Document(entries))
            }
        }

        // Not `deserialize_map`: for a text, serde_json would quote it without asking the visitor.
        d.deserialize_any(Entries)
    }
}

/// What `Deserialize` of a configuration does.
pub(crate) fn deserialize<'de, T: Options, D: Deserializer<'de>>(
    d: D,
) -> std::result::Result<T, D::Error> {
    T::from_document(Document::deserialize(d)?).map_err(de::Error::custom)
}
