//! How bytes and texts of others look as text.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A text of another's, for a terminal: control characters, which could do anything there, are escaped; line breaks and
/// tabs are not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printed<'a>(pub(crate) &'a str);

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() && !['\n', '\t'].contains(&character) {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A `String` takes all.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes of pairs of digits; white space between pairs counts for nothing. `None` for anything else.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// RFC 4648 §4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` if it is not base64.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

/// A text as part of a query (RFC 3986 §2.1).
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_there_and_back() {
        for bytes in [&b""[..], b"\x00\xff\x10", b"hello"] {
            assert_eq!(from_hex(&hex(bytes)).as_deref(), Some(bytes));
            assert_eq!(from_base64(&base64(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(from_hex(" 0A b1\n").as_deref(), Some(&b"\x0a\xb1"[..]));
        for wrong in ["0", "0g", "0x10"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
        assert_eq!(from_base64("a"), None);
    }

    #[test]
    fn terminals_are_left_alone() {
        assert_eq!(Printed("a\x1b[2J\n\u{9b}ü").to_string(), "a\\u{1b}[2J\n\\u{9b}ü");
        assert_eq!(percent_encoded("a b&ü~"), "a%20b%26%C3%BC~");
    }
}
