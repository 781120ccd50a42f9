//! The keys that tokens are checked by: each with the algorithms that it is for.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm as Id, DecodingKey};

use super::{Algorithm, KeySource, Rules, read_small};

/// The keys.
#[derive(Debug)]
pub(super) enum Keys {
    /// One, for tokens of any `kid` and of none.
    One(Key),
    /// A set, by `kid`.
    Set(HashMap<String, Key>),
}

/// A key, and what it is for.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Id>,
}

/// Keys that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// What is wrong with what is in it.
    Content(PathBuf, &'static str),
}

impl Keys {
    pub(super) fn read(rules: &Rules) -> Result<Self, KeyError> {
        let path = match &rules.keys {
            KeySource::File(path) | KeySource::Set(path) => path,
            KeySource::Own(secret) => {
                let key = DecodingKey::from_secret(secret.reveal().as_bytes());
                return Ok(Self::One(Key { key, algorithms: vec![Id::HS256] }));
            }
        };
        let bytes = read_small(path).map_err(|error| KeyError::File(path.clone(), error))?;
        let keys = match &rules.keys {
            KeySource::File(_) | KeySource::Own(_) => one(&bytes, &rules.algorithms).map(Self::One),
            KeySource::Set(_) => set(&bytes, &rules.algorithms).map(Self::Set),
        };
        keys.map_err(|problem| KeyError::Content(path.clone(), problem))
    }

    /// The key for tokens with this `kid`. In a set, a token has to name its key.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match self {
            Self::One(key) => Some(key),
            Self::Set(keys) => keys.get(kid?),
        }
    }
}

fn one(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Key, &'static str> {
    let [algorithm] = algorithms else {
        return Err("one key is for one algorithm: name it alone, or use a set of keys");
    };
    let key = match algorithm {
        Algorithm::Hs256 => {
            let secret = bytes.trim_ascii();
            // A public key is known to everybody: as a secret it would let them sign.
            if secret.starts_with(b"-----BEGIN") || secret.first() == Some(&b'{') {
                return Err("HS256 wants a secret, and this is a key of another kind");
            }
            if secret.len() < SHORTEST_SECRET {
                return Err("a secret for HS256 has at least 32 bytes (RFC 7518 §3.2)");
            }
            Ok(DecodingKey::from_secret(secret))
        }
        Algorithm::Rs256 => DecodingKey::from_rsa_pem(bytes),
        Algorithm::Es256 => DecodingKey::from_ec_pem(bytes),
        Algorithm::EdDsa => DecodingKey::from_ed_pem(bytes),
    };
    let key = key.map_err(|_| "it is no public key, as PEM, of the algorithm")?;
    Ok(Key { key, algorithms: vec![algorithm.id()] })
}

fn set(bytes: &[u8], algorithms: &[Algorithm]) -> Result<HashMap<String, Key>, &'static str> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|_| "it is no set of keys (RFC 7517)")?;
    let mut keys = HashMap::new();
    for jwk in &set.keys {
        // Sets are shared: keys for something else are passed over.
        let Some(algorithm) = algorithm_of(jwk).filter(|found| algorithms.contains(found)) else { continue };
        let kid = jwk.common.key_id.clone().ok_or("each key of a set needs a \"kid\"")?;
        let key = DecodingKey::from_jwk(jwk).map_err(|_| "a key of the set cannot be read")?;
        if keys.insert(kid, Key { key, algorithms: vec![algorithm.id()] }).is_some() {
            return Err("two keys of the set have the same \"kid\"");
        }
    }
    if keys.is_empty() {
        return Err("the set has no key for an algorithm that is allowed");
    }
    Ok(keys)
}

/// What a key is for, by its kind, unless it says that it is for something else. Secrets do not belong into sets.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::Rs256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::Es256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDsa,
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(|named| named.to_string());
    let is_named = named.is_none_or(|named| Algorithm::from_name(&named) == Some(algorithm));
    is_named.then_some(algorithm)
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "the keys in {} cannot be read: {error}", path.display()),
            Self::Content(path, problem) => write!(f, "{}: {problem}", path.display()),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(_, error) => Some(error),
            Self::Content(..) => None,
        }
    }
}

/// RFC 7518 §3.2: "A key of the same size as the hash output (for instance, 256 bits for "HS256") or larger MUST be
/// used with this algorithm."
const SHORTEST_SECRET: usize = 32;
