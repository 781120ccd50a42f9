//! Who may connect: tokens (RFC 7519), checked by fixed algorithms and keys of the operator's.

#![forbid(unsafe_code)]

mod keys;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use crate::envelope::{is_id, is_room, is_user};
use crate::secret::Secret;
pub use keys::KeyError;
use keys::Keys;

/// An algorithm by which tokens may be signed. A token does not choose: its key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256, by a secret that the issuer and the hub share.
    Hs256,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file with one key: a public one as PEM, or a secret of at least 32 bytes as it is, but for white space around it.
    File(PathBuf),
    /// A file with a set of keys (RFC 7517), each of which has a `kid`.
    Set(PathBuf),
    /// A secret of this run.
    Own(Secret),
}

/// What a token has to be.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The algorithms that are allowed.
    pub algorithms: Vec<Algorithm>,
    /// Where the keys are.
    pub keys: KeySource,
    /// One of these has to be in `aud`. Empty: a token must have no `aud`.
    pub audience: Vec<String>,
    /// One of these has to be `iss`. Empty: any.
    pub issuer: Vec<String>,
    /// How far clocks may be apart, for `exp` and `nbf`.
    pub leeway: Duration,
}

/// Who a token says that its bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sub`.
    pub user: String,
    /// `exp`, in seconds since 1970; `None` only without tokens, in development.
    pub expires: Option<u64>,
    /// `jti`, by which it can be revoked.
    pub token: Option<String>,
    /// `iat`, in seconds since 1970: tokens of before a time can be revoked together.
    pub issued: Option<u64>,
    /// `rooms`: those that the user may join. `None` for all.
    pub rooms: Option<Vec<String>>,
    /// `broadcast`: whether the user may speak to all.
    pub may_broadcast: bool,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Verifier {
    rules: Rules,
    keys: RwLock<Arc<Keys>>,
}

/// A token of this user, for so long, who may do all; by a secret of this run.
///
/// # Errors
/// It cannot be signed.
pub fn own_token(secret: &Secret, user: &str, time: Duration) -> jsonwebtoken::errors::Result<String> {
    #[derive(Serialize)]
    struct Own<'a> {
        sub: &'a str,
        exp: u64,
        broadcast: bool,
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Own { sub: user, exp: now.saturating_add(time).as_secs(), broadcast: true };
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.reveal().as_bytes()))
}

/// Why a token is not good. The text tells no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenError {
    /// None came in time.
    Missing,
    /// Something else.
    Malformed,
    /// Over [`LONGEST_TOKEN`] bytes.
    Long,
    /// It is signed by an algorithm that is not allowed, or not the one of its key.
    Algorithm,
    /// Its header wants what is not supported: `crit`.
    Critical,
    /// There is no key of that name.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// It expired.
    Expired,
    /// It is not valid yet.
    Early,
    /// It is for somebody else.
    Audience,
    /// It is by somebody else.
    Issuer,
    /// A claim is missing, or not what it has to be.
    Claim,
    /// It is of another user than the one it is to go on for.
    OtherUser,
    /// The user is barred, or the token was taken back.
    Barred,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// RFC 7519 §2: "non-integer values can be represented".
    exp: f64,
    jti: Option<String>,
    /// Looked at where it is a number.
    #[serde(default)]
    iat: serde_json::Value,
    rooms: Option<Vec<String>>,
    #[serde(default)]
    broadcast: bool,
}

impl Verifier {
    /// Reads the keys.
    ///
    /// # Errors
    /// The keys cannot be had.
    pub fn new(rules: Rules) -> Result<Self, KeyError> {
        let keys = RwLock::new(Arc::new(Keys::read(&rules)?));
        Ok(Self { rules, keys })
    }

    /// Reads the keys anew.
    ///
    /// # Errors
    /// As [`new`](Self::new); those of before stay.
    pub fn reload(&self) -> Result<(), KeyError> {
        let keys = Arc::new(Keys::read(&self.rules)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Checks a token.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::Long);
        }
        let header = decode_header(token).map_err(|error| TokenError::of(error.kind()))?;
        // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
        // recipient, then the JWS is invalid."
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Of the header, only `kid` and `alg` are looked at: keys in it, or behind addresses in it, are anybody's.
        let key = keys.find(header.kid.as_deref()).ok_or(TokenError::UnknownKey)?;
        if !key.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.rules.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if !self.rules.audience.is_empty() {
            validation.set_audience(&self.rules.audience);
            required.push("aud");
        }
        if !self.rules.issuer.is_empty() {
            validation.set_issuer(&self.rules.issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let claims = decode::<Claims>(token, &key.key, &validation);
        let claims = claims.map_err(|error| TokenError::of(error.kind()))?.claims;
        let rooms = claims.rooms.iter().flatten();
        let is_named = is_user(&claims.sub) && claims.jti.as_deref().is_none_or(is_id);
        if !is_named || !rooms.clone().all(|room| is_room(room)) || rooms.count() > MOST_ROOMS {
            return Err(TokenError::Claim);
        }
        Ok(Identity {
            user: claims.sub,
            // The moment at which it is not taken any more.
            expires: Some(whole_seconds(claims.exp).saturating_add(self.rules.leeway.as_secs())),
            token: claims.jti,
            issued: claims.iat.as_f64().map(whole_seconds),
            rooms: claims.rooms,
            may_broadcast: claims.broadcast,
        })
    }
}

impl Identity {
    /// Whoever says so, in development.
    #[must_use]
    pub fn guest(user: String) -> Self {
        Self { user, expires: None, token: None, issued: None, rooms: None, may_broadcast: true }
    }

    /// Whether the token was issued then (seconds since 1970) or later. One that does not say when was issued long ago.
    #[must_use]
    pub fn is_from(&self, time: u64) -> bool {
        self.issued.unwrap_or(0) >= time
    }

    /// Whether the user may join this room.
    #[must_use]
    pub fn may_join(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|allowed| allowed == room))
    }
}

impl Algorithm {
    /// By its name in RFC 7518 and RFC 8037.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    const fn id(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl TokenError {
    /// A word for it, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Expired => "token_expired",
            Self::Barred => "token_revoked",
            _ => "token_invalid",
        }
    }

    const fn of(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidSignature | ErrorKind::Provider(_) => Self::Signature,
            ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName
            | ErrorKind::UnsupportedAlgorithm
            | ErrorKind::MissingAlgorithm => Self::Algorithm,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::Early,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::MissingRequiredClaim(_)
            | ErrorKind::InvalidClaimFormat(_)
            | ErrorKind::InvalidSubject => Self::Claim,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no token came in time: show one with the request, or in the first message",
            Self::Malformed => "this is no token",
            Self::Long => "the token is too long",
            Self::Algorithm => "the token is not signed by the algorithm of its key",
            Self::Critical => "the token's header has \"crit\", which is not supported",
            Self::UnknownKey => "there is no key by that \"kid\"",
            Self::Signature => "the token's signature is wrong",
            Self::Expired => "the token expired: get a new one",
            Self::Early => "the token is not valid yet",
            Self::Audience => "the token is for somebody else (\"aud\")",
            Self::Issuer => "the token is by somebody else (\"iss\")",
            Self::Claim => "a claim of the token is missing, or not what it has to be",
            Self::OtherUser => "the token is of another user",
            Self::Barred => "the user is barred, or the token was taken back",
        })
    }
}

impl std::error::Error for TokenError {}

/// The second of a moment; those before 1970, and beyond all times, are the nearest one there is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such casts saturate")]
const fn whole_seconds(time: f64) -> u64 {
    time as u64
}

/// Reads a file of keys or secrets, which are small.
fn read_small(path: &PathBuf) -> io::Result<Vec<u8>> {
    let length = std::fs::metadata(path)?.len();
    if length > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a file of keys has at most 1 MiB"));
    }
    std::fs::read(path)
}

/// The longest token in bytes.
pub const LONGEST_TOKEN: usize = 8 << 10;

/// The largest file of keys in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// The most rooms that a token may name.
const MOST_ROOMS: usize = 256;
