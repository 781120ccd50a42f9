//! Acknowledgements in JSON, as the router of `taut::server` gives them.

#![forbid(unsafe_code)]

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::delivery::Acknowledge;
use super::replies::Envelope;
use crate::proto::Message;

/// [`Acknowledge`] for servers that speak the JSON of `taut::server::Router`: an object gets an `id`, and is answered by
/// `{"type": "ack", "id": …}` or `{"type": "reply", "id": …}`; `{"type": "error", "id": …, "error": …}` refuses it.
///
/// What is no object goes as the `data` of one of the type `message`: a text as it is, bytes as base64.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct JsonAcknowledge;

impl JsonAcknowledge {
    /// There is nothing to set.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Acknowledge for JsonAcknowledge {
    fn wrap(&self, id: &str, message: Message) -> Message {
        let object = message.as_text().and_then(|text| serde_json::from_str(text).ok());
        let mut object: Map<String, Value> = object.unwrap_or_else(|| {
            let data = match &message {
                Message::Text(text) => text.to_string(),
                Message::Binary(bytes) => STANDARD.encode(bytes),
                _ => String::new(),
            };
            [("type".to_owned(), "message".into()), ("data".to_owned(), data.into())].into_iter().collect()
        });
        object.insert("id".to_owned(), id.into());
        Value::Object(object).to_string().into()
    }

    fn acknowledged(&self, message: &Message) -> Option<String> {
        let envelope = Envelope::of(message)?;
        matches!(&*envelope.kind, "ack" | "reply").then(|| envelope.id.map(String::from))?
    }

    fn refused(&self, message: &Message) -> Option<(String, String)> {
        let envelope = Envelope::of(message).filter(|envelope| envelope.kind == "error")?;
        let said = envelope.told().to_owned();
        Some((envelope.id?.into(), said))
    }
}
