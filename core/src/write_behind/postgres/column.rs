//! Columns: what JSON becomes for their types, in PostgreSQL's own form.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;
use tokio_postgres::types::{Kind as PgKind, Type};

use crate::write_behind::object::Value;
use crate::write_behind::wanted::quoted;

/// A column that is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    kind: Kind,
    /// The type its values are sent as, in an array.
    pub(super) element: Type,
    /// The type they are cast to by the server, where that is another.
    pub(super) cast: Option<String>,
}

/// What matters of a type.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    Bytea,
    Json,
    Jsonb,
    /// With or without time zone.
    Timestamp,
    Array(Box<Kind>),
    /// The server reads its text.
    Other,
}

impl Kind {
    fn of(ty: &Type) -> Self {
        match (ty.kind(), ty) {
            (_, &Type::BOOL) => Self::Bool,
            (_, &Type::INT2) => Self::Int2,
            (_, &Type::INT4) => Self::Int4,
            (_, &Type::INT8) => Self::Int8,
            (_, &Type::FLOAT4) => Self::Float4,
            (_, &Type::FLOAT8) => Self::Float8,
            (_, &Type::TEXT | &Type::VARCHAR | &Type::BPCHAR) => Self::Text,
            (_, &Type::BYTEA) => Self::Bytea,
            (_, &Type::JSON) => Self::Json,
            (_, &Type::JSONB) => Self::Jsonb,
            (_, &Type::TIMESTAMP | &Type::TIMESTAMPTZ) => Self::Timestamp,
            (PgKind::Array(element), _) => Self::Array(Box::new(Self::of(element))),
            (PgKind::Domain(base), _) => Self::of(base),
            _ => Self::Other,
        }
    }
}

impl Column {
    pub(super) fn new(name: &str, ty: &Type) -> Self {
        let kind = Kind::of(ty);
        let as_is = match (&kind, ty.kind()) {
            (_, PgKind::Domain(_)) | (Kind::Timestamp | Kind::Array(_) | Kind::Other, _) => None,
            (Kind::Text, _) => Some(Type::TEXT),
            _ => Some(ty.clone()),
        };
        let cast = match as_is {
            Some(_) => None,
            // By its quoted name, which has no length: a cast to one would cut silently.
            None => Some(format!("{}.{}", quoted(ty.schema()), quoted(ty.name()))),
        };
        Self {
            name: name.into(),
            kind,
            element: as_is.unwrap_or(Type::TEXT),
            cast,
        }
    }

    /// Appends a value as an element of an array: its length, then its bytes.
    pub(super) fn put(&self, value: &RawValue, out: &mut Vec<u8>) -> Result<(), Cow<'static, str>> {
        let value = match Value::of(value) {
            Value::Null => {
                out.extend((-1i32).to_be_bytes());
                return Ok(());
            }
            value => value,
        };
        let start = out.len();
        out.extend([0; 4]);
        if self.cast.is_some() {
            out.extend(self.kind.text(value)?.as_bytes());
        } else {
            self.kind.put(value, out)?;
        }
        let length = i32::try_from(out.len() - start - 4);
        let length = length.map_err(|_| "is longer than 2 GiB")?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

type Converted<T> = Result<T, Cow<'static, str>>;

impl Kind {
    /// Appends a value in the type's binary form.
    fn put(&self, value: Value<'_>, out: &mut Vec<u8>) -> Converted<()> {
        match self {
            Self::Bool => out.push(u8::from(boolean(value)?)),
            Self::Int2 => out.extend(number::<i16>(value)?.to_be_bytes()),
            Self::Int4 => out.extend(number::<i32>(value)?.to_be_bytes()),
            Self::Int8 => out.extend(number::<i64>(value)?.to_be_bytes()),
            Self::Float4 => out.extend(number::<f32>(value)?.to_be_bytes()),
            Self::Float8 => out.extend(number::<f64>(value)?.to_be_bytes()),
            Self::Bytea => BASE64
                .decode_vec(&*text(value)?, out)
                .map_err(|_| "must be base64")?,
            Self::Jsonb => {
                // The version of the form.
                out.push(1);
                out.extend(json(value).as_bytes());
            }
            Self::Json => out.extend(json(value).as_bytes()),
            Self::Text | Self::Timestamp | Self::Array(_) | Self::Other => {
                out.extend(self.text(value)?.as_bytes());
            }
        }
        Ok(())
    }

    /// A value in the type's text form.
    fn text<'a>(&self, value: Value<'a>) -> Converted<Cow<'a, str>> {
        Ok(match self {
            Self::Bool => boolean(value)?.to_string().into(),
            Self::Int2 => number::<i16>(value)?.to_string().into(),
            Self::Int4 => number::<i32>(value)?.to_string().into(),
            Self::Int8 => number::<i64>(value)?.to_string().into(),
            Self::Float4 | Self::Float8 => number::<f64>(value)?.to_string().into(),
            Self::Bytea => {
                let bytes = BASE64
                    .decode(&*text(value)?)
                    .map_err(|_| "must be base64")?;
                let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
                ["\\x".to_owned()].into_iter().chain(hex).collect()
            }
            Self::Json | Self::Jsonb => json(value),
            Self::Timestamp => timestamp(value)?,
            Self::Array(element) => array(element, value)?.into(),
            Self::Text => text(value)?,
            Self::Other => match value {
                Value::Nested(json) => json.into(),
                value => text(value)?,
            },
        })
    }
}

fn text(value: Value<'_>) -> Converted<Cow<'_, str>> {
    let text = value.text().ok_or("must be a text, number or boolean")?;
    if text.contains('\0') {
        return Err("holds a NUL, which PostgreSQL cannot keep".into());
    }
    Ok(text)
}

fn boolean(value: Value<'_>) -> Converted<bool> {
    match value.text().as_deref() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(value: Value<'_>) -> Converted<T> {
    let text = value.text().ok_or("must be a number")?;
    text.parse()
        .map_err(|e| format!("is not a number of its type: {e}").into())
}

/// A value as JSON again.
fn json(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Null => "null".into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Number(json) | Value::Nested(json) => json.into(),
        Value::Text(text) => serde_json::Value::from(text).to_string().into(),
    }
}

/// A number is milliseconds since 1970 in UTC, as everywhere in this library.
fn timestamp(value: Value<'_>) -> Converted<Cow<'_, str>> {
    let Value::Number(number) = value else {
        return text(value);
    };
    let wrong = "as a number must be whole milliseconds since 1970, up to the year 9999";
    let millis: u64 = number.parse().map_err(|_| wrong)?;
    if millis >= 253_402_300_800_000 {
        return Err(wrong.into());
    }
    let time = UNIX_EPOCH + Duration::from_millis(millis);
    Ok(humantime::format_rfc3339_millis(time).to_string().into())
}

/// A JSON array as PostgreSQL writes arrays. Nested ones are further dimensions.
fn array(element: &Kind, value: Value<'_>) -> Converted<String> {
    let elements = match &value {
        Value::Nested(json) => serde_json::from_str::<Vec<&RawValue>>(json).ok(),
        // What is an array's text already.
        Value::Text(text) if text.starts_with('{') => return Ok(text.to_string()),
        _ => None,
    };
    let elements = elements.ok_or("must be an array")?;
    let mut out = String::from("{");
    for (place, raw) in elements.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        match Value::of(raw) {
            Value::Null => out.push_str("NULL"),
            Value::Nested(json)
                if json.starts_with('[') && !matches!(element, Kind::Json | Kind::Jsonb) =>
            {
                out.push_str(&array(element, Value::Nested(json))?);
            }
            value => {
                out.push('"');
                for c in element.text(value)?.chars() {
                    if matches!(c, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
    Ok(out)
}
