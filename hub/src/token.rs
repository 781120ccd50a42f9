//! `taut token`: tokens for development and scripts, signed by a key of one's own.

#![forbid(unsafe_code)]

use std::fs::read;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use jsonwebtoken::{Algorithm as Id, EncodingKey, Header, encode};
use serde_json::{Map, Value};

use crate::auth::Algorithm;
use crate::config::read_time;
use crate::envelope::is_user;
use crate::exit::{Exit, Failure};

/// The command line of `taut token`.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Arguments {
    /// Whom the token is for, and what signs it.
    #[command(flatten)]
    pub signing: Signing,
    /// How long it is good: 30s, 10m, 1h.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    pub time: Duration,
}

/// Who a token is for, and what signs it.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Signing {
    /// For development: the user who comes. By a token that is made here if there is --key-file.
    #[arg(long, visible_alias = "user", value_name = "NAME", help_heading = "Own token")]
    pub username: Option<String>,
    /// The user's address in the token.
    #[arg(long, requires = "key", help_heading = "Own token")]
    pub email: Option<String>,
    /// The name by which the token can be taken back: its jti.
    #[arg(long = "token-id", value_name = "NAME", requires = "key", help_heading = "Own token")]
    pub id: Option<String>,
    /// The file with the secret, or the private key, that signs the token.
    #[arg(
        long = "key-file",
        visible_alias = "key",
        value_name = "FILE",
        requires = "username",
        help_heading = "Own token"
    )]
    pub key: Option<PathBuf>,
    /// How the token is signed: HS256, RS256, ES256 or EdDSA.
    #[arg(long, default_value = "HS256", value_name = "NAME", help_heading = "Own token")]
    pub algorithm: String,
    /// A further claim of the token; what is not JSON is a string.
    #[arg(long = "claim", value_name = "NAME=VALUE", requires = "key", help_heading = "Own token")]
    pub claims: Vec<String>,
}

/// Writes a token to the standard output; what is wrong, to the standard error.
#[must_use]
pub fn run(arguments: &Arguments) -> Exit {
    let minted = arguments.signing.token(arguments.time);
    let token = minted.and_then(|token| {
        token.ok_or_else(|| Failure::usage("name the user and the key: --user NAME --key-file FILE"))
    });
    match token {
        Ok(token) if writeln!(stdout(), "{token}").is_ok() => Exit::Closed,
        Ok(_) => Exit::Failed,
        Err(Failure { exit, text }) => {
            eprintln!("taut: {text}");
            exit
        }
    }
}

impl Signing {
    /// A token that is good for so long; `None` if there is no key.
    ///
    /// # Errors
    /// The key cannot be used, or a claim is none.
    pub(crate) fn token(&self, time: Duration) -> Result<Option<String>, Failure> {
        let (Some(user), Some(path)) = (&self.username, &self.key) else { return Ok(None) };
        if !is_user(user) {
            return Err(Failure::usage("--username has 1 to 128 bytes, and no control characters"));
        }
        let wrong = |problem: &str| Failure::usage(format!("the key in {}: {problem}", path.display()));
        let bytes =
            read(path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
        let named = Algorithm::from_name(&self.algorithm);
        let (id, key) = match named {
            Some(Algorithm::Hs256) => (Id::HS256, secret(&bytes).map_err(wrong)?),
            Some(Algorithm::Rs256) => (Id::RS256, pem(EncodingKey::from_rsa_pem(&bytes)).map_err(wrong)?),
            Some(Algorithm::Es256) => (Id::ES256, pem(EncodingKey::from_ec_pem(&bytes)).map_err(wrong)?),
            Some(Algorithm::EdDsa) => (Id::EdDSA, pem(EncodingKey::from_ed_pem(&bytes)).map_err(wrong)?),
            None => return Err(Failure::usage("--algorithm is HS256, RS256, ES256 or EdDSA")),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), user.as_str().into());
        claims.insert("exp".to_owned(), now.saturating_add(time).as_secs().into());
        for (name, value) in [("email", &self.email), ("jti", &self.id)] {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value.as_str().into());
            }
        }
        for claim in &self.claims {
            let (name, text) =
                claim.split_once('=').ok_or_else(|| Failure::usage("--claim is NAME=VALUE"))?;
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
            claims.insert(name.to_owned(), value);
        }
        let token = encode(&Header::new(id), &claims, &key);
        token.map(Some).map_err(|error| wrong(&format!("it cannot sign: {error}")))
    }
}

/// As the hub reads one: white space around it is no part of it.
fn secret(bytes: &[u8]) -> Result<EncodingKey, &'static str> {
    let secret = bytes.trim_ascii();
    if secret.starts_with(b"-----BEGIN") {
        return Err("HS256 wants a secret, and this is PEM: name its --algorithm");
    }
    if secret.len() < SHORTEST_SECRET {
        return Err("a secret for HS256 has at least 32 bytes (RFC 7518 §3.2)");
    }
    Ok(EncodingKey::from_secret(secret))
}

fn pem(key: jsonwebtoken::errors::Result<EncodingKey>) -> Result<EncodingKey, &'static str> {
    key.map_err(|_| "it is no private key, as PEM, of the algorithm")
}

fn time(text: &str) -> Result<Duration, String> {
    read_time(text).ok_or_else(|| A_TIME.to_owned())
}

/// What [`read_time`] reads.
pub(crate) const A_TIME: &str = "a time is a number and its unit: 500ms, 10s, 5m, 1h";

/// RFC 7518 §3.2.
const SHORTEST_SECRET: usize = 32;
