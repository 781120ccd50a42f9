//! Which messages are shown.

#![forbid(unsafe_code)]

use std::str::FromStr;

use serde_json::Value;

/// A condition on a message of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// RFC 6901.
    pointer: String,
    value: Option<String>,
}

impl Filter {
    /// Whether the message fulfils it. What is not JSON fulfils none.
    #[must_use]
    pub fn matches(&self, message: &Value) -> bool {
        let found = message.pointer(&self.pointer);
        match (&self.value, found) {
            (_, None) => false,
            (None, Some(_)) => true,
            // A string is compared without its quotes, all else as JSON.
            (Some(value), Some(Value::String(text))) => text == value,
            (Some(value), Some(found)) => {
                serde_json::from_str(value).is_ok_and(|value: Value| value == *found)
            }
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    /// `/a/b`, `/a/b=value`, or `a.b=value`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (place, value) = text.split_once('=').map_or((text, None), |(place, value)| (place, Some(value)));
        let pointer = match place {
            _ if place.starts_with('/') => place.to_owned(),
            "" => return Err("it is a pointer such as /data/room, or field=value".to_owned()),
            _ => format!("/{}", place.replace('~', "~0").replace('/', "~1").replace('.', "/")),
        };
        Ok(Self { pointer, value: value.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_places() {
        let message = json!({ "message_type": "text", "data": { "n": 5, "on": true, "a/b": null } });
        for (filter, is_shown) in [
            ("/data/n", true),
            ("/data/m", false),
            ("data.n=5", true),
            ("/data/n=6", false),
            ("message_type=text", true),
            ("message_type=texts", false),
            ("data.on=true", true),
            ("data.a/b=null", true),
            ("/data/a~1b", true),
            ("data", true),
        ] {
            assert_eq!(filter.parse::<Filter>().unwrap().matches(&message), is_shown, "{filter}");
        }
        assert!("".parse::<Filter>().is_err() && "=5".parse::<Filter>().is_err());
    }
}
