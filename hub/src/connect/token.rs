//! Tokens for development, signed by a key of one's own.

#![forbid(unsafe_code)]

use std::fs::read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm as Id, EncodingKey, Header, encode};
use serde_json::{Map, Value};

use super::arguments::Arguments;
use super::exit::{Exit, Failure};
use crate::auth::Algorithm;
use crate::envelope::is_user;

/// A token of `--username` and `--key`, good for an hour; `None` if there is no key.
///
/// # Errors
/// The key cannot be used, or a claim is none.
pub(super) fn minted(arguments: &Arguments) -> Result<Option<String>, Failure> {
    let (Some(user), Some(path)) = (&arguments.username, &arguments.key) else { return Ok(None) };
    if !is_user(user) {
        return Err(Failure::usage("--username has 1 to 128 bytes, and no control characters"));
    }
    let wrong = |problem: &str| Failure::usage(format!("the key in {}: {problem}", path.display()));
    let bytes =
        read(path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
    let named = Algorithm::from_name(&arguments.algorithm);
    let (id, key) = match named {
        Some(Algorithm::Hs256) => (Id::HS256, secret(&bytes).map_err(wrong)?),
        Some(Algorithm::Rs256) => (Id::RS256, pem(EncodingKey::from_rsa_pem(&bytes)).map_err(wrong)?),
        Some(Algorithm::Es256) => (Id::ES256, pem(EncodingKey::from_ec_pem(&bytes)).map_err(wrong)?),
        Some(Algorithm::EdDsa) => (Id::EdDSA, pem(EncodingKey::from_ed_pem(&bytes)).map_err(wrong)?),
        None => return Err(Failure::usage("--algorithm is HS256, RS256, ES256 or EdDSA")),
    };
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + HOUR;
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), user.as_str().into());
    claims.insert("exp".to_owned(), expires.as_secs().into());
    if let Some(email) = &arguments.email {
        claims.insert("email".to_owned(), email.as_str().into());
    }
    for claim in &arguments.claims {
        let (name, text) = claim.split_once('=').ok_or_else(|| Failure::usage("--claim is NAME=VALUE"))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        claims.insert(name.to_owned(), value);
    }
    let token = encode(&Header::new(id), &claims, &key);
    token.map(Some).map_err(|error| wrong(&format!("it cannot sign: {error}")))
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

const HOUR: Duration = Duration::from_secs(3600);

/// RFC 7518 §3.2.
const SHORTEST_SECRET: usize = 32;
