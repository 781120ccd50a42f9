//! Every setting of the hub, by name: from a file of TOML, the environment and flags, of which the later one counts.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use taut::server::OverRate;
use taut::tokio::{ServerTls, TlsAcceptor};

use crate::auth::{Algorithm, KeySource, Rules, Verifier};
use crate::hub::{ClientRules, Rate};
pub use crate::secret::Secret;
use crate::store::Limits;
use crate::store::{postgres, redis};

/// The settings. [`Config::set`] lists their names.
#[derive(Clone, Debug)]
pub struct Config {
    /// The WebSockets' listener.
    pub server: taut::server::Config,
    /// Where they are accepted.
    pub server_address: String,
    /// Certificate and key, where it speaks TLS itself.
    pub server_tls: [Option<PathBuf>; 2],
    /// Whether pages of other origins were allowed or refused by name.
    pub has_origins: bool,
    /// Where the HTTP API listens.
    pub api_address: SocketAddr,
    /// What its callers have to show.
    pub api_token: Option<Secret>,
    /// No tokens are asked for.
    pub development: bool,
    /// That, or keys of its own, also where others than this machine reach it.
    pub insecure_anywhere: bool,
    /// The algorithms of tokens.
    pub algorithms: Vec<Algorithm>,
    /// The keys of tokens.
    pub keys: Option<KeySource>,
    /// No keys were set: those are of this run alone.
    pub has_own_keys: bool,
    /// `aud`.
    pub audience: Vec<String>,
    /// `iss`.
    pub issuer: Vec<String>,
    /// For `exp` and `nbf`.
    pub leeway: Duration,
    /// How often the files of keys are read again.
    pub key_refresh: Duration,
    /// What clients may do.
    pub clients: ClientRules,
    /// The file of SQLite; without one, all is in memory.
    pub database: Option<PathBuf>,
    /// How much is kept.
    pub history: Limits,
    /// Redis, where many nodes are one hub.
    pub redis: Option<Secret>,
    /// What begins the names of its keys.
    pub redis_prefix: String,
    /// Who may have issued its certificate.
    pub redis_ca_file: Option<PathBuf>,
    /// How many entries its feed has.
    pub feed: usize,
    /// How many bytes they have.
    pub feed_bytes: usize,
    /// After how long without a word a node is gone.
    pub node_timeout: Duration,
    /// How long a stream is kept after the last message, but in memory.
    pub keep: Duration,
    /// PostgreSQL, which keeps what Redis or a file would.
    pub postgres: Option<Secret>,
    /// The schema of its tables.
    pub postgres_schema: String,
    /// How many connections to it a node has.
    pub postgres_connections: usize,
    /// Who may have issued its certificate.
    pub postgres_ca_file: Option<PathBuf>,
    /// How many entries its feed has.
    pub postgres_feed: usize,
    /// How many bytes they have.
    pub postgres_feed_bytes: usize,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl Config {
    /// The defaults that [`set`](Self::set) states.
    #[must_use]
    pub fn new() -> Self {
        Self {
            server: taut::server::Config::new()
                .path("/ws")
                .subprotocols([SUBPROTOCOL])
                .max_message(64 << 10)
                .message_rate(taut::server::Rate::new(500, 2000))
                .byte_rate(taut::server::Rate::new(1 << 20, 8 << 20))
                .over_rate(OverRate::Wait),
            server_address: "127.0.0.1:9001".to_owned(),
            server_tls: [None, None],
            has_origins: false,
            api_address: SocketAddr::from(([127, 0, 0, 1], 9002)),
            api_token: None,
            development: false,
            insecure_anywhere: false,
            algorithms: Vec::new(),
            keys: None,
            has_own_keys: false,
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::from_secs(30),
            key_refresh: Duration::from_secs(60),
            clients: ClientRules {
                cookie: "taut_token".to_owned(),
                auth_timeout: Duration::from_secs(10),
                expiry_warning: Duration::from_secs(60),
                connections_of_one: 32,
                announced_users: 200,
                read_rate: Rate { per_second: 100, burst: 1000 },
            },
            database: None,
            history: Limits {
                messages: 1000,
                bytes: 4 << 20,
                streams: 10_000,
                memory: 256 << 20,
                page: 200,
                page_bytes: 256 << 10,
            },
            redis: None,
            redis_prefix: "taut:".to_owned(),
            redis_ca_file: None,
            feed: 100_000,
            feed_bytes: 256 << 20,
            node_timeout: Duration::from_secs(15),
            keep: Duration::from_secs(7 * 24 * 3600),
            postgres: None,
            postgres_schema: "taut".to_owned(),
            postgres_connections: 8,
            postgres_ca_file: None,
            postgres_feed: 100_000,
            postgres_feed_bytes: 256 << 20,
        }
    }

    /// The defaults, then the file, then the variables that begin with `TAUT_HUB_`, `REDIS_URL` and `DATABASE_URL`, then
    /// what was given by flags.
    ///
    /// `TAUT_HUB_AUTH_KEY_FILE` is the setting `auth.key_file`: the section, then the name.
    ///
    /// # Errors
    /// The setting, and what may stand there.
    pub fn load(
        file: Option<&Path>,
        vars: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::new();
        if let Some(path) = file {
            let shown = path.display();
            let text = fs::read_to_string(path)
                .map_err(|error| ConfigError(format!("the settings in {shown} cannot be read: {error}")))?;
            config.read(&text).map_err(|error| ConfigError(format!("{shown}: {error}")))?;
        }
        let mut vars: Vec<_> = vars.into_iter().collect();
        vars.sort();
        for (variable, value) in vars {
            let name = match &*variable {
                "REDIS_URL" => "redis.url".to_owned(),
                "DATABASE_URL" => "postgresql.url".to_owned(),
                _ => {
                    let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
                    rest.to_ascii_lowercase().replacen('_', ".", 1)
                }
            };
            config.set(&name, &value).map_err(|error| ConfigError(format!("{variable}: {error}")))?;
        }
        for (name, value) in flags {
            config.set(&name, &value)?;
        }
        config.check()?;
        if config.keys.is_none() && !config.development {
            config.keys = Some(KeySource::Own(Secret::random()));
            config.algorithms = vec![Algorithm::Hs256];
            config.has_own_keys = true;
        }
        Ok(config)
    }

    /// Sets what is named. Lists are divided by commas; times are `500ms`, `10s`, `5m`, `1h`.
    ///
    /// | setting | value | default |
    /// |---------|-------|---------|
    /// | `server.…` | as [`taut::server::Config::set`]; `server.path` is `/ws` | |
    /// | `server.max_message` | the longest message in bytes | `65536` |
    /// | `server.message_rate`, `server.byte_rate` | of one connection: a second, and at once | `500/2000`, `1048576/8388608` |
    /// | `server.over_rate` | who sends more is read later, or disconnected (`close`) | `wait` |
    /// | `api.address` | where the HTTP API listens: an address and a port | `127.0.0.1:9002` |
    /// | `api.token`, `api.token_file` | what its callers show, 16 bytes at least; or the file that has it | none: no API |
    /// | `auth.algorithms` | of `HS256`, `RS256`, `ES256`, `EdDSA` | |
    /// | `auth.key_file` | one key: PEM, or a secret | the run's own |
    /// | `auth.key_set` | a set of keys (RFC 7517), in the place of one | |
    /// | `auth.key_refresh` | how often either file is read again | `60s` |
    /// | `auth.audience`, `auth.issuer` | lists, of which a token has to name one | none: no `aud`, any `iss` |
    /// | `auth.leeway` | how far clocks may be apart, 10 minutes at most | `30s` |
    /// | `auth.cookie` | the cookie that may hold a token | `taut_token` |
    /// | `auth.timeout` | how long a client may take for the message with its token | `10s` |
    /// | `auth.expiry_warning` | how long before a token expires its client is told | `60s` |
    /// | `auth.development` | `true`: no tokens; everybody is who they say | `false` |
    /// | `auth.insecure_anywhere` | `true`: that, or keys of the run's own, not on this machine alone | `false` |
    /// | `clients.connections_of_one` | connections of one user | `32` |
    /// | `clients.announced_users` | coming and going is announced in rooms of so many users at most | `200` |
    /// | `clients.read_rate` | how often a user may come, join, read a history, ask for presence or refresh, a second and at once: more waits | `100/1000` |
    /// | `history.database` | a file of SQLite, or `none` for memory | `none` |
    /// | `history.messages` | how many are kept of each stream | `1000` |
    /// | `history.bytes` | how many bytes are kept of each stream; the last message always is | `4194304` |
    /// | `history.streams` | how many streams memory and SQLite remember | `10000` |
    /// | `history.memory` | how many bytes of all streams memory holds: then those go that were used least recently | `268435456` |
    /// | `history.keep` | how long a stream is kept after its last message, but in memory | `168h` |
    /// | `postgresql.url` | `postgresql://…`: the nodes that have it are one hub; `DATABASE_URL` sets it, too | none |
    /// | `postgresql.schema` | of its tables, made if there is none | `taut` |
    /// | `postgresql.connections` | how many a node has at most, beside one that listens | `8` |
    /// | `postgresql.ca_file` | PEM: who may have issued its certificate | whom the system trusts |
    /// | `postgresql.feed`, `postgresql.feed_bytes` | as `redis.feed`, `redis.feed_bytes` | `100000`, `268435456` |
    /// | `redis.url` | `redis://…`, or `rediss://…` for TLS: the nodes that have it are one hub; `REDIS_URL` sets it, too | none |
    /// | `redis.ca_file` | PEM: who may have issued its certificate | whom the system trusts |
    /// | `redis.node_timeout` | a node that was not heard of for so long, by either, is gone, and its users with it | `15s` |
    /// | `redis.prefix` | what begins the names of all keys there | `taut:` |
    /// | `redis.feed` | how many entries the nodes' feed has: who is away for more has its clients recover | `100000` |
    /// | `redis.feed_bytes` | how many bytes they have | `268435456` |
    ///
    /// # Errors
    /// A name that is none, or what may stand there.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let text = value.trim();
        let wrong = |expected: &str| ConfigError(format!("{name} wants {expected}"));
        let list = || text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned);
        let number =
            || text.parse().ok().filter(|&number: &usize| number > 0).ok_or_else(|| wrong("a number from 1"));
        let flag = || text.parse().map_err(|_| wrong("\"true\" or \"false\""));
        let time = || read_time(text).ok_or_else(|| wrong("a time: \"500ms\", \"10s\", \"5m\", \"1h\""));
        if let Some(setting) = name.strip_prefix("server.") {
            self.server.set(setting, text).map_err(|error| ConfigError(format!("server.{error}")))?;
            let file = || (text != "none").then(|| text.into());
            match setting {
                "allowed_origins" => self.has_origins = true,
                "address" => text.clone_into(&mut self.server_address),
                "tls_certificate" => self.server_tls[0] = file(),
                "tls_key" => self.server_tls[1] = file(),
                _ => {}
            }
            return Ok(());
        }
        match name {
            "api.address" => {
                self.api_address =
                    text.parse().map_err(|_| wrong("an address and a port: \"127.0.0.1:9002\""))?;
            }
            "api.token" => self.api_token = Some(Secret::new(text).ok_or_else(|| wrong(A_SECRET))?),
            "api.token_file" => {
                let read =
                    fs::read_to_string(text).map_err(|error| wrong(&format!("a file to read: {error}")))?;
                self.api_token = Some(Secret::new(&read).ok_or_else(|| wrong(A_SECRET))?);
            }
            "auth.algorithms" => {
                let named: Option<Vec<_>> = list().map(|word| Algorithm::from_name(&word)).collect();
                self.algorithms = named.ok_or_else(|| wrong("a list of HS256, RS256, ES256, EdDSA"))?;
            }
            "auth.key_file" => self.keys = Some(KeySource::File(text.into())),
            "auth.key_set" => self.keys = Some(KeySource::Set(text.into())),
            "auth.key_refresh" => self.key_refresh = time()?.max(Duration::from_secs(1)),
            "auth.audience" => self.audience = list().collect(),
            "auth.issuer" => self.issuer = list().collect(),
            "auth.leeway" => {
                let leeway = time().ok().filter(|leeway| *leeway <= MOST_LEEWAY);
                self.leeway = leeway.ok_or_else(|| wrong("a time of at most 10m"))?;
            }
            "auth.cookie" if is_token(text) => text.clone_into(&mut self.clients.cookie),
            "auth.cookie" => return Err(wrong("the name of a cookie")),
            "auth.timeout" => {
                let timeout = time().ok().filter(|timeout| !timeout.is_zero());
                self.clients.auth_timeout = timeout.ok_or_else(|| wrong("a time from 1ms"))?;
            }
            "auth.expiry_warning" => self.clients.expiry_warning = time()?,
            "auth.development" => self.development = flag()?,
            "auth.insecure_anywhere" => self.insecure_anywhere = flag()?,
            "clients.connections_of_one" => self.clients.connections_of_one = number()?,
            "clients.announced_users" => self.clients.announced_users = number()?,
            "history.database" => self.database = (text != "none").then(|| text.into()),
            "history.messages" => self.history.messages = number()?,
            "clients.read_rate" => {
                self.clients.read_rate =
                    read_rate(text).ok_or_else(|| wrong("two numbers from 1: \"100/1000\""))?;
            }
            "history.bytes" => self.history.bytes = number()?,
            "history.memory" => self.history.memory = number()?,
            "history.streams" => self.history.streams = number()?,
            "history.keep" => self.keep = time()?.max(Duration::from_secs(1)),
            "postgresql.url" => {
                if !["postgresql://", "postgres://"].iter().any(|scheme| text.starts_with(scheme)) {
                    return Err(wrong("an address that begins with postgresql://"));
                }
                self.postgres = Some(Secret::of(text));
            }
            "postgresql.schema" => text.clone_into(&mut self.postgres_schema),
            "postgresql.connections" => self.postgres_connections = number()?,
            "postgresql.ca_file" => self.postgres_ca_file = Some(text.into()),
            "postgresql.feed" => self.postgres_feed = number()?,
            "postgresql.feed_bytes" => self.postgres_feed_bytes = number()?,
            "redis.url" => {
                if !REDIS_SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
                    return Err(wrong("an address that begins with redis://, or with rediss:// for TLS"));
                }
                // What would come behind it is `insecure`, or was meant to be of a password.
                if text.contains('#') {
                    return Err(wrong(
                        "an address without #: certificates are verified, and in a password it is %23",
                    ));
                }
                self.redis = Some(Secret::of(text));
            }
            "redis.ca_file" => self.redis_ca_file = Some(text.into()),
            "redis.prefix" => text.clone_into(&mut self.redis_prefix),
            "redis.node_timeout" => self.node_timeout = time()?.max(Duration::from_secs(1)),
            "redis.feed" => self.feed = number()?,
            "redis.feed_bytes" => self.feed_bytes = number()?,
            _ => return Err(ConfigError(format!("there is no setting {name:?}"))),
        }
        Ok(())
    }

    /// What a token has to be, where tokens are asked for.
    #[must_use]
    pub fn rules(&self) -> Option<Rules> {
        let keys = self.keys.clone().filter(|_| !self.development)?;
        Some(Rules {
            algorithms: self.algorithms.clone(),
            keys,
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            leeway: self.leeway,
        })
    }

    /// Where PostgreSQL is, if it is to keep anything.
    #[must_use]
    pub fn postgres_place(&self) -> Option<postgres::Place> {
        Some(postgres::Place {
            url: self.postgres.clone()?,
            schema: self.postgres_schema.clone(),
            connections: self.postgres_connections,
            ca_file: self.postgres_ca_file.clone(),
            feed: self.postgres_feed,
            feed_bytes: self.postgres_feed_bytes,
            keep: self.keep,
        })
    }

    /// Where Redis is, if there is one.
    #[must_use]
    pub fn redis_place(&self) -> Option<redis::Place> {
        Some(redis::Place {
            url: self.redis.clone()?,
            prefix: self.redis_prefix.clone(),
            ca_file: self.redis_ca_file.clone(),
            feed: self.feed,
            feed_bytes: self.feed_bytes,
            keep: self.keep,
        })
    }

    fn read(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError(error.to_string()))?;
        for (section, settings) in table {
            let toml::Value::Table(settings) = settings else {
                return Err(ConfigError(format!("{section:?} stands outside of a section")));
            };
            for (name, value) in settings {
                let name = format!("{section}.{name}");
                let text = text_of(&value)
                    .ok_or_else(|| ConfigError(format!("{name} wants a text, number or list")))?;
                self.set(&name, &text)?;
            }
        }
        Ok(())
    }

    /// Looks at the files that the settings name: keys, certificates, and the folder of the database.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn check_files(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if let Some(rules) = self.rules() {
            Verifier::new(rules)?;
        }
        match &self.server_tls {
            [None, None] => {}
            [Some(certificate), Some(key)] => {
                drop(TlsAcceptor::new(ServerTls::from_pem_files(certificate, key))?)
            }
            _ => return Err("server.tls_certificate and server.tls_key belong together: set both".into()),
        }
        let folder = self.database.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(format!("history.database: there is no folder {}", folder.display()).into());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |sentence: &str| Err(ConfigError(sentence.to_owned()));
        let address = self.server_address.parse::<SocketAddr>();
        if address.is_ok_and(|address| address == self.api_address && address.port() != 0) {
            return wrong("server.address and api.address are the same: they want a port each");
        }
        let is_trial = self.development || self.keys.is_none();
        let is_here = is_of_this_machine(&self.server_address) && self.api_address.ip().is_loopback();
        if is_trial && !is_here && !self.insecure_anywhere {
            return wrong(if self.development {
                "others than this machine could come in without a token: listen on 127.0.0.1, or set \
                 auth.insecure_anywhere=true"
            } else {
                "there are no keys: set auth.algorithms and auth.key_file or auth.key_set. To have the run make its \
                 own, and print tokens, where others than this machine come in, set auth.insecure_anywhere=true"
            });
        }
        if self.database.is_some() {
            if self.redis.is_some() {
                return wrong("history.database and redis.url exclude each other: take one of them away");
            }
            if self.postgres.is_some() {
                return wrong(
                    "history.database and postgresql.url exclude each other: take one of them away",
                );
            }
        }
        let has_tls = |url: &Secret| REDIS_WITH_TLS.iter().any(|scheme| url.reveal().starts_with(scheme));
        if self.redis_ca_file.is_some() && !self.redis.as_ref().is_some_and(has_tls) {
            return wrong("redis.ca_file is for TLS: let redis.url begin with rediss://, or take it away");
        }
        match (&self.keys, self.development) {
            (Some(_), true) => wrong("auth.development and keys exclude each other: take one of them away"),
            (None, false) if self.redis.is_some() || self.postgres.is_some() => wrong(
                "each node would have keys of its own: set auth.algorithms and auth.key_file or auth.key_set",
            ),
            (None, false) if !self.algorithms.is_empty() => {
                wrong("auth.algorithms has no key: set auth.key_file or auth.key_set")
            }
            (Some(_), false) if self.algorithms.is_empty() => wrong("auth.algorithms is empty: name one"),
            _ => Ok(()),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether only programs on this machine reach it.
fn is_of_this_machine(address: &str) -> bool {
    host_of(address).map_or_else(is_localhost, |ip| ip.is_loopback())
}

/// The IP address in `host:port` or `host`, else the name.
pub(crate) fn host_of(authority: &str) -> Result<IpAddr, &str> {
    let host = authority.rsplit_once(':').filter(|_| !authority.ends_with(']'));
    let host = host.map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| host)
}

pub(crate) fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

/// RFC 6265 §4.1.1: "cookie-name = token".
fn is_token(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_inside)
}

/// What may stand in a file, as the text that `set` reads.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(values) => {
            values.iter().map(text_of).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn read_rate(text: &str) -> Option<Rate> {
    let (per_second, burst) = text.split_once('/')?;
    let read = |text: &str| text.trim().parse().ok().filter(|&number: &u32| number > 0);
    Some(Rate { per_second: read(per_second)?, burst: read(burst)? })
}

pub(crate) fn read_time(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ConfigError {}

/// The subprotocol of the envelopes. A browser that sends its token as a subprotocol has to offer this one as well.
pub const SUBPROTOCOL: &str = "taut.hub.v1";

/// What the variables begin with.
pub const PREFIX: &str = "TAUT_HUB_";

/// What addresses of Redis begin with.
const REDIS_SCHEMES: [&str; 7] =
    ["redis://", "rediss://", "valkey://", "valkeys://", "unix://", "redis+unix://", "valkey+unix://"];

/// Those with TLS.
const REDIS_WITH_TLS: [&str; 2] = ["rediss://", "valkeys://"];

const A_SECRET: &str = "at least 16 bytes";
const MOST_LEEWAY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_later_source_counts() {
        let vars = [pair("TAUT_HUB_HISTORY_MESSAGES", "5"), pair("TAUT_HUB_AUTH_DEVELOPMENT", "true")];
        let config = Config::load(None, vars.clone(), []).unwrap();
        assert_eq!((config.history.messages, config.development), (5, true));
        let config = Config::load(None, vars, [pair("history.messages", "6")]).unwrap();
        assert_eq!(config.history.messages, 6);
    }

    #[test]
    fn databases_have_variables_that_others_use_as_well() {
        let development = pair("TAUT_HUB_AUTH_DEVELOPMENT", "true");
        let vars =
            [pair("DATABASE_URL", "postgresql://a"), pair("REDIS_URL", "redis://b"), development.clone()];
        let config = Config::load(None, vars, []).unwrap();
        assert_eq!(config.postgres_place().unwrap().url.reveal(), "postgresql://a");
        assert_eq!(config.redis.unwrap().reveal(), "redis://b");
        let error = Config::load(None, [pair("DATABASE_URL", "mysql://a"), development], []).unwrap_err();
        assert!(error.to_string().starts_with("DATABASE_URL: "), "{error}");
    }

    #[test]
    fn a_file_has_sections() {
        let mut config = Config::new();
        config
            .read("[auth]\nalgorithms = [\"EdDSA\"]\nleeway = \"5s\"\n[server]\nmax_message = 100")
            .unwrap();
        assert_eq!((config.algorithms, config.leeway), (vec![Algorithm::EdDsa], Duration::from_secs(5)));
        assert!(Config::new().read("address = \"x\"").is_err());
        assert!(Config::new().read("[auth]\nalgorithms = [\"none\"]").is_err());
    }

    #[test]
    fn nobody_runs_without_tokens_by_accident() {
        let config = Config::load(None, [], []).unwrap();
        assert!(config.has_own_keys && config.rules().is_some());
        for refused in [
            [pair("auth.development", "true"), pair("auth.key_file", "k")],
            [pair("auth.algorithms", "HS256"), pair("history.messages", "9")],
            [pair("redis.url", "redis://a"), pair("history.messages", "9")],
            [pair("redis.url", "redis://a"), pair("history.database", "d")],
            [pair("postgresql.url", "postgresql://a"), pair("history.messages", "9")],
            [pair("auth.development", "true"), pair("redis.ca_file", "f")],
            [pair("postgresql.url", "postgresql://a"), pair("history.database", "d")],
        ] {
            assert!(Config::load(None, [], refused.clone()).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn roots_for_redis_are_not_passed_over_without_tls() {
        let load = |url| {
            let own = [pair("auth.development", "true"), pair("redis.ca_file", "f"), pair("redis.url", url)];
            Config::load(None, [], own)
        };
        assert_eq!(load("rediss://a").unwrap().redis_place().unwrap().ca_file, Some("f".into()));
        assert!(load("redis://a").unwrap_err().to_string().contains("rediss://"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = Config::new();
        config.set("api.token", "0123456789abcdef").unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
        config.set("redis.url", "redis://:hunter2@a").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        config.set("postgresql.url", "postgresql://a:hunter2@b").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(
            !config.set("postgresql.url", "mysql://a:hunter2@b").unwrap_err().to_string().contains("hunter2")
        );
        for wrong in ["http://:hunter2@a", "rediss://:hunter2@a#insecure", "redis://:hunter2#@a"] {
            let error = config.set("redis.url", wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("redis.url wants an address ") && !error.contains("hunter2"),
                "{error}"
            );
        }
        let error = config.set("api.token", "hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
