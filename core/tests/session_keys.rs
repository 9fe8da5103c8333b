//! Session keys: the table that every language runs, and that no two values share a session.

use proptest::prelude::*;
use queue_runtime_core::{ErrorKind, Headers, Message, SessionKey, Timestamp};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Table {
    found: Vec<Found>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Found {
    about: String,
    key: Value,
    headers: Texts,
    #[serde(default)]
    now: i64,
    session: Option<String>,
}

type Texts = std::collections::BTreeMap<String, String>;

#[derive(Deserialize)]
struct Refused {
    about: String,
    key: Value,
    says: String,
}

fn table() -> Table {
    let text = include_str!("../../tests/conformance/session_keys.json");
    serde_json::from_str(text).unwrap()
}

fn message(headers: &Texts) -> Message {
    let add = |message: Message, (name, value): (&String, &String)| {
        message.header(name.as_str(), value.as_str())
    };
    headers.iter().fold(Message::new(""), add)
}

#[test]
fn every_key_of_the_table_finds_its_session() {
    for case in table().found {
        let key: SessionKey = case.key.to_string().parse().unwrap();
        let message = message(&case.headers);
        let found = key.of(&message.properties().headers, Timestamp(case.now));
        assert_eq!(found, case.session, "{}", case.about);
        // What is written is read as the same.
        assert_eq!(key.to_string().parse::<SessionKey>().unwrap(), key);

        let sent = message
            .session("before")
            .session_by(&key, Timestamp(case.now));
        let session = sent.properties().session.as_deref();
        assert_eq!(session, case.session.as_deref(), "{}", case.about);
    }
}

#[test]
fn every_wrong_key_of_the_table_is_refused_with_what_is_wrong() {
    for case in table().refused {
        let error = case.key.to_string().parse::<SessionKey>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", case.about);
        assert_eq!(error.field(), Some("session_key"), "{}", case.about);
        assert!(error.message().contains(&case.says), "{error}");
    }
    for text in ["", "none", "{", r#"{"field": "a"} "#.repeat(2).as_str()] {
        assert!(text.parse::<SessionKey>().is_err(), "{text:?}");
    }
    assert!(SessionKey::field("a").per_hours(0).is_err());
}

#[test]
fn what_is_built_is_what_is_written() {
    let built = SessionKey::first_of([
        SessionKey::field("customer").prefix("c-"),
        SessionKey::composite(["tenant", "order"])
            .per_hours(6)
            .unwrap(),
        SessionKey::none(),
    ]);
    let written = concat!(
        r#"{"first_of":[{"field":"customer","prefix":"c-"},"#,
        r#"{"composite":["tenant","order"],"per_hours":6},"none"]}"#,
    );
    assert_eq!(built.to_string(), written);
    assert_eq!(written.parse::<SessionKey>().unwrap(), built);
}

/// Values that are likely to be taken for one another.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a/%~2F5 é-]{1,6}",
        "[xy/%]{40,70}",
        "\\PC{1,8}",
        // As what is hashed looks.
        "~[0-9a-f]{64}",
    ]
}

fn headers(values: &[String]) -> Headers {
    let names = ["a", "b", "c"].into_iter().map(Into::into);
    names
        .zip(values.iter().map(|value| value.as_str().into()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn different_values_give_different_sessions(
        one in prop::collection::vec(value(), 3),
        other in prop::collection::vec(value(), 3),
        hour in 0..3i64,
        prefix in "[a/%~-]{0,3}",
    ) {
        let now = |hour: i64| Timestamp(hour * 3_600_000);
        let composite = SessionKey::composite(["a", "b", "c"]).prefix(prefix.as_str());
        let composite = composite.per_hours(1).unwrap();
        let of = |values: &[String], hour| composite.of(&headers(values), now(hour)).unwrap();
        prop_assert_eq!(of(&one, 0) == of(&other, hour), one == other && hour == 0);

        // The same text with its borders elsewhere.
        let joined = one.join("/");
        let parts: Vec<&str> = joined.split('/').collect();
        let (first, last) = (parts[0], parts[parts.len() - 1]);
        let moved = [first.to_owned(), parts[1..parts.len() - 1].join("/"), last.to_owned()];
        if moved.iter().all(|value| !value.is_empty()) {
            prop_assert_eq!(of(&moved, 0) == of(&one, 0), moved[..] == one[..]);
        }

        let field = SessionKey::field("a").prefix(prefix);
        let of = |values: &[String]| field.of(&headers(values), now(0)).unwrap();
        prop_assert_eq!(of(&one) == of(&other), one[0] == other[0]);
    }

    #[test]
    fn every_session_is_one_that_a_message_can_be_of(
        values in prop::collection::vec("\\PC{1,200}|[\u{1}-\u{ff}]{1,9}", 3),
        prefix in "\\PC{0,9}",
    ) {
        let key = SessionKey::composite(["a", "b", "c"]).prefix(prefix);
        let session = key.of(&headers(&values), Timestamp(0)).unwrap();
        prop_assert!((1..=128).contains(&session.len()));
        prop_assert!(session.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{session}");
    }
}
