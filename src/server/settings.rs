//! Settings by name: from text, the environment, and a file.

#![forbid(unsafe_code)]

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Deserializer, de};

use super::config::{Compression, Config, ForwardedBy, OverRate};
use super::origin::Origins;
use super::outbox::SlowConsumer;
use super::rate::Rate;
use crate::networks::Networks;
use crate::proto::CloseCode;

impl Config {
    /// The defaults, then the file that `TAUT_SERVER_FILE` names, if it names one, then the other variables that begin
    /// with `TAUT_SERVER_`: `TAUT_SERVER_MAX_MESSAGE=64KiB` is the setting [`max_message`](Self::max_message).
    ///
    /// # Errors
    /// The variable, or the key of the file, and its value, and what may stand there.
    pub fn load() -> Result<Self, SettingError> {
        Self::from_vars(env::vars_os())
    }

    /// As [`load`](Self::load), from these variables.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, SettingError> {
        let mut config = Self::new();
        let mut named = BTreeMap::new();
        for (name, value) in vars {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let value = value
                .into_string()
                .map_err(|value| SettingError::new(name, &value.to_string_lossy(), "a text in UTF-8"))?;
            named.insert(name.to_owned(), value);
        }
        if let Some(path) = named.remove(FILE) {
            config = Self::from_file(path)?;
        }
        for (name, value) in named {
            config
                .set(&name[PREFIX.len()..].to_ascii_lowercase(), &value)
                .map_err(|error| error.of(&name))?;
        }
        Ok(config)
    }

    /// The defaults, then a file of TOML: `max_message = "64KiB"`, a setting a line. To have the settings of a server in a
    /// file with others, let serde read a `Config` there.
    ///
    /// # Errors
    /// The file that cannot be read, or its key and value, and what may stand there.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SettingError> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            SettingError::new("the file of settings", &shown, &format!("a file to read: {error}"))
        })?;
        Self::from_toml(&text).map_err(|error| SettingError { place: Some(shown.into()), ..error })
    }

    /// The defaults, then these lines of TOML.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_toml(text: &str) -> Result<Self, SettingError> {
        let table: toml::Table = toml::from_str(text)
            .map_err(|error| SettingError::new("the settings", "their text", &format!("TOML: {error}")))?;
        let mut config = Self::new();
        for (name, value) in table {
            let value = serde_json::to_value(value)
                .map_err(|error| SettingError::new(&name, "its value", &error.to_string()))?;
            config.set_value(&name, &value)?;
        }
        Ok(config)
    }

    /// Sets what is named, as a variable or a file does.
    ///
    /// | setting | values |
    /// |---------|--------|
    /// | `address`, `path` | as the methods; `path` also `any` |
    /// | `health_path` | a path, or `none` |
    /// | `tls_certificate`, `tls_key` | files of PEM, or `none`: see [`tls`](Self::tls) |
    /// | `proxy_protocol`, `trusted_proxies` | networks: `10.0.0.0/8, ::1`, or `none` |
    /// | `forwarded_by` | `x-forwarded-for`, `forwarded` |
    /// | `max_connections`, `max_connections_from_one`, `max_handshakes`, `max_handshakes_from_one` | numbers, or `none` for no limit |
    /// | `max_queued_messages`, `max_groups` | numbers from 1 |
    /// | `max_message`, `max_queued_bytes`, `read_buffer`, `write_buffer` | bytes from 1: `65536`, `64KiB`, `1MiB` |
    /// | `max_memory` | bytes, or `none` |
    /// | `handshake_timeout`, `auth_timeout`, `read_timeout`, `write_timeout`, `close_timeout`, `handler_timeout`, `heartbeat_timeout` | times: `500ms`, `10s`, `5m`, `1h` |
    /// | `idle_timeout`, `heartbeat_interval`, `keepalive` | times, or `none` |
    /// | `nodelay` | `true`, `false` |
    /// | `compression` | `off`, `per-message`, `takeover` |
    /// | `subprotocols` | names, divided by commas, or a list |
    /// | `allowed_origins` | `same`, `any`, or origins beside `same`, divided by commas, or a list |
    /// | `slow_consumer` | `drop-oldest`, `drop-newest`, `conflate`, `disconnect` |
    /// | `slow_consumer_code` | `1008`, `1013`, or another code that may be on the wire |
    /// | `message_rate`, `byte_rate` | a number a second, and how many at once: `100/500`; or `none` |
    /// | `over_rate` | `close`, `wait` |
    ///
    /// # Errors
    /// A name that is none, or the value, and what may stand there.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let wrong = |expected: &str| SettingError::new(name, value, expected);
        let text = value.trim();
        let time = || read_time(text).ok_or_else(|| wrong(A_TIME));
        let maybe_time = || or_none(text, read_time).ok_or_else(|| wrong(A_TIME_OR_NONE));
        let number = || read_number(text).filter(|&number| number > 0).ok_or_else(|| wrong(A_NUMBER));
        let limit = || {
            or_none(text, read_number).map(|limit| limit.unwrap_or(usize::MAX)).ok_or_else(|| wrong(A_LIMIT))
        };
        let bytes = || read_bytes(text).filter(|&bytes| bytes > 0).ok_or_else(|| wrong(BYTES));
        let rate = || or_none(text, read_rate).ok_or_else(|| wrong(A_RATE));
        let networks = || {
            let networks: Result<Networks, _> = if text == "none" { "" } else { text }.parse();
            networks.map_err(|error| wrong(&format!("networks, or \"none\" ({error})")))
        };
        let file = || match text {
            "" => Err(wrong("the name of a file, or \"none\"")),
            "none" => Ok(None),
            _ if cfg!(not(feature = "rustls")) => {
                Err(wrong("\"none\", since the feature \"rustls-ring\" is not compiled in"))
            }
            _ => Ok(Some(text.into())),
        };
        match name {
            "address" => {
                let port =
                    text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
                if port.is_none_or(|(host, _)| host.is_empty()) {
                    return Err(wrong("an address and a port: \"127.0.0.1:9001\", \"[::]:0\""));
                }
                self.address = text.to_owned();
            }
            "path" if text == "any" => self.path = None,
            "path" if is_path(text) => self.path = Some(text.to_owned()),
            "path" => return Err(wrong("a path that begins with \"/\", or \"any\"")),
            "health_path" => {
                let path = or_none(text, |text| is_path(text).then(|| text.to_owned()));
                self.health_path = path.ok_or_else(|| wrong("a path that begins with \"/\", or \"none\""))?;
            }
            "tls_certificate" => self.tls_certificate = file()?,
            "tls_key" => self.tls_key = file()?,
            "proxy_protocol" => self.proxy_protocol = networks()?,
            "trusted_proxies" => self.trusted_proxies = networks()?,
            "forwarded_by" => {
                self.forwarded_by = match text {
                    "x-forwarded-for" => ForwardedBy::XForwardedFor,
                    "forwarded" => ForwardedBy::Forwarded,
                    _ => return Err(wrong("\"x-forwarded-for\" or \"forwarded\"")),
                }
            }
            "max_connections" => self.admission = self.admission.max_connections(limit()?),
            "max_connections_from_one" => self.admission = self.admission.max_connections_from_one(limit()?),
            "max_handshakes" => self.admission = self.admission.max_handshakes(limit()?),
            "max_handshakes_from_one" => self.admission = self.admission.max_handshakes_from_one(limit()?),
            "max_message" => self.max_message = bytes()?,
            "max_memory" => {
                self.max_memory = or_none(text, read_bytes).ok_or_else(|| wrong(BYTES_OR_NONE))?
            }
            "handshake_timeout" => self.handshake_timeout = time()?,
            "auth_timeout" => self.auth_timeout = time()?,
            "idle_timeout" => self.idle_timeout = maybe_time()?,
            "read_timeout" => self.read_timeout = time()?,
            "write_timeout" => self.write_timeout = time()?,
            "close_timeout" => self.close_timeout = time()?,
            "handler_timeout" => self.handler_timeout = time()?,
            "heartbeat_interval" => self.heartbeat_interval = maybe_time()?,
            "heartbeat_timeout" => self.heartbeat_timeout = time()?,
            "nodelay" => self.nodelay = text.parse().map_err(|_| wrong("\"true\" or \"false\""))?,
            "keepalive" => self.keepalive = maybe_time()?,
            "read_buffer" => self.read_buffer = bytes()?,
            "write_buffer" => self.write_buffer = bytes()?,
            "compression" => {
                self.compression = match text {
                    "off" => Compression::Off,
                    _ if cfg!(not(feature = "deflate")) => {
                        return Err(wrong("\"off\", since the feature \"deflate\" is not compiled in"));
                    }
                    "per-message" => Compression::PerMessage,
                    "takeover" => Compression::Takeover,
                    _ => return Err(wrong("\"off\", \"per-message\" or \"takeover\"")),
                }
            }
            "subprotocols" => {
                let names = list(text);
                if names.iter().any(|name| !name.bytes().all(is_token_byte)) {
                    return Err(wrong("names of subprotocols, divided by commas"));
                }
                self.subprotocols = names.into_iter().map(ToOwned::to_owned).collect();
            }
            "allowed_origins" => {
                self.origins = match text {
                    "same" => Origins::same(),
                    "any" => Origins::any(),
                    _ => Origins::same().and(list(text)).map_err(|error| {
                        wrong(&format!("\"same\", \"any\", or origins divided by commas ({error})"))
                    })?,
                }
            }
            "slow_consumer" => {
                self.queue.policy = match text {
                    "drop-oldest" => SlowConsumer::DropOldest,
                    "drop-newest" => SlowConsumer::DropNewest,
                    "conflate" => SlowConsumer::Conflate,
                    "disconnect" => SlowConsumer::Disconnect,
                    _ => {
                        return Err(wrong(
                            "\"drop-oldest\", \"drop-newest\", \"conflate\" or \"disconnect\"",
                        ));
                    }
                }
            }
            "slow_consumer_code" => {
                let code = text.parse().ok().and_then(CloseCode::new);
                self.queue.code =
                    code.ok_or_else(|| wrong("a code that may stand in a Close: 1008, 1013"))?;
            }
            "max_queued_messages" => self.queue.messages = number()?,
            "max_queued_bytes" => self.queue.bytes = bytes()?,
            "max_groups" => self.max_groups = number()?,
            "message_rate" => self.message_rate = rate()?,
            "byte_rate" => self.byte_rate = rate()?,
            "over_rate" => {
                self.over_rate = match text {
                    "close" => OverRate::Close,
                    "wait" => OverRate::Wait,
                    _ => return Err(wrong("\"close\" or \"wait\"")),
                }
            }
            _ => return Err(wrong("the name of a setting: Config::set lists them")),
        }
        Ok(())
    }

    fn set_value(&mut self, name: &str, value: &serde_json::Value) -> Result<(), SettingError> {
        self.set(
            name,
            &as_text(value).ok_or_else(|| {
                SettingError::new(
                    name,
                    &value.to_string(),
                    "a text, a number, true or false, or a list of texts",
                )
            })?,
        )
    }
}

/// From a table with the names of [`Config::set`]; what is not named keeps its default.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut config = Self::new();
        for (name, value) in BTreeMap::<String, serde_json::Value>::deserialize(deserializer)? {
            config.set_value(&name, &value).map_err(de::Error::custom)?;
        }
        Ok(config)
    }
}

/// A setting with a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The file, if one was read.
    place: Option<Box<str>>,
    name: Box<str>,
    value: Box<str>,
    expected: Box<str>,
}

impl SettingError {
    pub(super) fn new(name: &str, value: &str, expected: &str) -> Self {
        Self { place: None, name: name.into(), value: value.into(), expected: expected.into() }
    }

    fn of(self, variable: &str) -> Self {
        Self { name: variable.into(), ..self }
    }

    /// The name of the variable, or of the key in a file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} is {:?}, and has to be {}", self.name, self.value, self.expected)
    }
}

impl core::error::Error for SettingError {}

fn as_text(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(elements) => {
            let texts: Option<Vec<&str>> = elements.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(['?', '#', ' '])
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

fn or_none<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { read(text).map(Some) }
}

fn read_number(text: &str) -> Option<usize> {
    // `parse` takes a sign as well.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn read_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    read_number(number)?.checked_mul(unit)
}

fn read_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = u64::try_from(read_number(number)?).ok()?.checked_mul(unit)?;
    (1..=LONGEST).contains(&millis).then(|| Duration::from_millis(millis))
}

fn read_rate(text: &str) -> Option<Rate> {
    let (per_second, burst) = text.split_once('/').unwrap_or((text, text));
    let read = |text: &str| u32::try_from(read_number(text.trim())?).ok().filter(|&number| number > 0);
    Some(Rate::new(read(per_second)?, read(burst)?))
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

/// RFC 9110 §5.6.2: what the name of a subprotocol may hold.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a variable that is a setting begins with.
const PREFIX: &str = "TAUT_SERVER_";

/// The variable that names a file of settings.
const FILE: &str = "TAUT_SERVER_FILE";

/// A year, in milliseconds: what is longer is a mistake, or `none`.
const LONGEST: u64 = 366 * 24 * 3_600_000;

const A_NUMBER: &str = "a number from 1";
const A_LIMIT: &str = "a number, or \"none\" for no limit";
const BYTES: &str = "a number of bytes from 1: \"65536\", \"64KiB\", \"1MiB\"";
const BYTES_OR_NONE: &str = "a number of bytes: \"65536\", \"64KiB\", \"1MiB\"; or \"none\"";
const A_TIME: &str = "a time from 1 ms to a year: \"500ms\", \"10s\", \"5m\", \"1h\"";
const A_TIME_OR_NONE: &str = "a time from 1 ms to a year: \"500ms\", \"10s\", \"5m\", \"1h\"; or \"none\"";
const A_RATE: &str = "a number a second, and how many at once: \"100/500\"; or \"none\"";
