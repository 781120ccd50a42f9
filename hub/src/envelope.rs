//! The one form of message that clients and the hub exchange. `schema/envelope.json` says the same for machines.

#![forbid(unsafe_code)]

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// A message: JSON in a text message of the WebSocket.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// Names the message: what it is acknowledged, refused and recognised by if it is sent again. At most
    /// [`LONGEST_ID`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is: `text`, `join`, …
    pub message_type: String,
    /// What it says; any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// When the hub took it (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Who sent it. The hub writes it; what a client says is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_user_id: Option<String>,
    /// For whom it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_user_id: Option<String>,
    /// In which room it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Its number in its stream: the room, the inbox of a user, or what is said to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// Why a text is no envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The id, where one could be read nevertheless.
    pub id: Option<String>,
    /// What is wrong.
    pub sentence: String,
}

impl Envelope {
    /// An envelope of the hub's own, at this moment.
    #[must_use]
    pub fn new(message_type: &str) -> Self {
        Self { message_type: message_type.to_owned(), timestamp: Some(timestamp()), ..Self::default() }
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// It is no envelope, or its data is what not every client could read.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Named {
            id: Option<String>,
        }
        let envelope: Self = read_object(text).map_err(|error| {
            let id = read_object::<Named>(text).ok().and_then(|named| named.id);
            let id = id.filter(|id| is_id(id));
            Malformed { id, sentence: format!("the message is no envelope: {error}") }
        })?;
        if envelope.id.as_deref().is_some_and(|id| !is_id(id)) {
            let sentence = format!("an id has 1 to {LONGEST_ID} bytes, and no control characters");
            return Err(Malformed { id: None, sentence });
        }
        if let Some(Err(error)) = envelope.data.as_deref().map(check_data) {
            let sentence = format!("the data cannot be passed on: {error}");
            return Err(Malformed { id: envelope.id, sentence });
        }
        Ok(envelope)
    }

    /// In answer to the message with this id.
    #[must_use]
    pub fn answering(mut self, id: Option<&str>) -> Self {
        self.id = id.map(str::to_owned);
        self
    }

    /// About this room.
    #[must_use]
    pub fn room(mut self, room: &str) -> Self {
        self.room = Some(room.to_owned());
        self
    }

    /// By, or about, this user.
    #[must_use]
    pub fn from_user(mut self, user: &str) -> Self {
        self.from_user_id = Some(user.to_owned());
        self
    }

    /// Saying this. What cannot be JSON says nothing.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = to_raw_value(data).ok();
        self
    }

    /// What it says, read as what it is to be; what is missing reads as `null`.
    ///
    /// # Errors
    /// It is something else.
    pub fn read_data<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.data.as_deref().map_or("null", RawValue::get))
    }

    /// What it says, read as the object that it is to be. [`read_data`](Self::read_data) takes an array of its members for
    /// one.
    ///
    /// # Errors
    /// It is something else, or nothing.
    pub fn read_members<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        read_object(self.data.as_deref().map_or("null", RawValue::get))
    }

    /// As text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, a number and JSON are JSON")
    }
}

/// Reads an object. By itself, `serde` takes an array of a structure's members for it as well.
fn read_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if !text.trim_start().starts_with('{') {
        return Err(Error::custom("an object is wanted"));
    }
    serde_json::from_str(text)
}

/// Reads an object within another, or `null`.
pub(crate) fn object<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let text = Option::<&'de RawValue>::deserialize(from)?;
    text.map(|text| read_object(text.get())).transpose().map_err(Error::custom)
}

/// Reads data that all clients can read: see [`check_data`].
pub(crate) fn readable_data<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    let data = Option::<Box<RawValue>>::deserialize(from)?;
    data.as_deref().map_or(Ok(()), check_data).map_err(Error::custom)?;
    Ok(data)
}

/// Whether all clients can read this. JSON allows more than most of them take: numbers without limit, halves of surrogate
/// pairs, any depth.
fn check_data(data: &RawValue) -> Result<(), serde_json::Error> {
    Readable { depth: 0 }.deserialize(&mut serde_json::Deserializer::from_str(data.get()))
}

/// Reads all of a value, and keeps nothing. Numbers and texts are refused by whoever hands them over.
struct Readable {
    /// How many arrays and objects it is in.
    depth: usize,
}

impl Readable {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > DEEPEST {
            return Err(E::custom(format_args!("it is nested more than {DEEPEST} times")));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key_seed(self.inner()?)?.is_some() {
            members.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

/// A new id of the hub's own.
#[must_use]
pub fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// This moment (RFC 3339, UTC).
#[must_use]
pub fn timestamp() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("the year has four digits")
}

/// Whether this can name a message.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && !id.chars().any(char::is_control)
}

/// Whether this can name a user. Longer names would not fit a stream's name.
#[must_use]
pub fn is_user(user: &str) -> bool {
    (1..=LONGEST_NAME).contains(&user.len()) && !user.chars().any(char::is_control)
}

/// Whether this can name a room: `@` and `*` begin the streams of users and of all.
#[must_use]
pub fn is_room(room: &str) -> bool {
    is_user(room) && !room.starts_with(['@', '*'])
}

/// The stream of what is said to all.
pub const TO_ALL: &str = "*";

/// The stream of what is said to a user.
#[must_use]
pub fn inbox(user: &str) -> String {
    format!("@{user}")
}

/// The longest id of a message in bytes.
pub const LONGEST_ID: usize = 128;

/// How deep data may be nested. Most readers end at some 128, and pages have it a little deeper.
pub const DEEPEST: usize = 100;

/// The longest name of a user or a room in bytes.
pub const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_envelope_is_refused_by_its_id() {
        let refused = Envelope::read(r#"{"id":"a","message_type":7}"#).unwrap_err();
        assert_eq!(refused.id.as_deref(), Some("a"));
        assert_eq!(Envelope::read("[").unwrap_err().id, None);
        let array = r#"["q","ping",null,null,null,null,null,null]"#;
        assert_eq!(Envelope::read(array).unwrap_err().id, None);
        let long = format!(r#"{{"id":"{}","message_type":"text"}}"#, "x".repeat(LONGEST_ID + 1));
        assert_eq!(Envelope::read(&long).unwrap_err().id, None);
    }

    #[test]
    fn data_stays_as_it_came() {
        let text = r#"{"id":"a","message_type":"text","data":{"b":1.0,"a":[1e3]}}"#;
        assert_eq!(Envelope::read(text).unwrap().to_json(), text);
    }

    #[test]
    fn data_that_some_client_cannot_read_is_refused_by_its_id() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let unreadable = [nested(DEEPEST + 1), nested(5000), format!("{{\"a\":{}}}", nested(DEEPEST))];
        let unreadable = unreadable.iter().map(String::as_str);
        let texts = ["1e999", "[-1e999]", r#""\ud800""#, r#"{"\udc00":1}"#, r#"["\ud800\u0041"]"#];
        for data in unreadable.chain(texts) {
            let refused = Envelope::read(&format!(r#"{{"id":"a","message_type":"text","data":{data}}}"#));
            assert_eq!(refused.unwrap_err().id.as_deref(), Some("a"), "{data:.40}");
        }
        let huge = format!("{}.{}e-400", "9".repeat(300), "1".repeat(300));
        for data in [&nested(DEEPEST), "1e308", r#""\ud83d\ude00\u0000""#, "-0", &huge] {
            let text = format!(r#"{{"message_type":"text","data":{data}}}"#);
            assert_eq!(Envelope::read(&text).unwrap().to_json(), text);
        }
    }

    #[test]
    fn names_of_streams_are_no_rooms() {
        assert!(is_room("general") && is_user("@ana"));
        for name in ["@ana", "*", "", "a\nb"] {
            assert!(!is_room(name), "{name:?}");
        }
    }
}
