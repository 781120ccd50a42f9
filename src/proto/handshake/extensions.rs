//! The grammar of Sec-WebSocket-Extensions (RFC 6455 §9.1). What an extension's parameters mean is not said here.

#![forbid(unsafe_code)]

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::error::HandshakeError;
use super::fields::is_token_byte;

/// One element of a Sec-WebSocket-Extensions field: an extension that a client offers or a server agreed
/// to, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

impl<'a> Extension<'a> {
    /// Reads the values of all Sec-WebSocket-Extensions fields of a head as one list, in time linear in
    /// their length.
    ///
    /// # Errors
    /// [`HandshakeError::Extensions`] for values outside the grammar: RFC 6455 §9.1 wants the connection
    /// failed.
    pub fn parse(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Self>, HandshakeError> {
        let mut extensions = Vec::new();
        let mut any_value = false;
        for value in values {
            any_value = true;
            let mut cursor = Cursor { value, at: 0 };
            cursor.read_list(&mut extensions).ok_or(HandshakeError::Extensions { at: cursor.at })?;
        }
        // RFC 6455 §9.1: `extension-list = 1#extension`; empty elements do not count.
        if any_value && extensions.is_empty() {
            return Err(HandshakeError::Extensions { at: 0 });
        }
        Ok(extensions)
    }

    /// The name, a token.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Names and values of the parameters, all tokens, in the order in which they came; a parameter need
    /// not have a value.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<&str>)> {
        self.parameters.iter().map(|(name, value)| (*name, value.as_deref()))
    }
}

/// A place in the value of a field. Readers give `None` where the grammar ends.
struct Cursor<'a> {
    value: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn read_list(&mut self, extensions: &mut Vec<Extension<'a>>) -> Option<()> {
        loop {
            while self.skip(b',') {}
            if self.at == self.value.len() {
                return Some(());
            }
            extensions.push(self.read_extension()?);
            if self.at < self.value.len() && self.value[self.at] != b',' {
                return None;
            }
        }
    }

    fn read_extension(&mut self) -> Option<Extension<'a>> {
        let name = self.read_token()?;
        let mut parameters = Vec::new();
        while self.skip(b';') {
            let name = self.read_token()?;
            let value = if self.skip(b'=') { Some(self.read_value()?) } else { None };
            parameters.push((name, value));
        }
        Some(Extension { name, parameters })
    }

    fn read_value(&mut self) -> Option<Cow<'a, str>> {
        if self.value.get(self.at) != Some(&b'"') {
            return self.read_token().map(Cow::Borrowed);
        }
        self.at += 1;
        let mut value = String::new();
        loop {
            let mut byte = *self.value.get(self.at)?;
            if byte == b'"' && !value.is_empty() {
                self.at += 1;
                self.skip_spaces();
                return Some(Cow::Owned(value));
            }
            if byte == b'\\' {
                self.at += 1;
                byte = *self.value.get(self.at)?;
            }
            // RFC 6455 §9.1: "When using the quoted-string syntax variant, the value after quoted-string
            // unescaping MUST conform to the 'token' ABNF."
            if !is_token_byte(byte) {
                return None;
            }
            value.push(char::from(byte));
            self.at += 1;
        }
    }

    /// Reads a token and the spaces behind it.
    fn read_token(&mut self) -> Option<&'a str> {
        let rest = &self.value[self.at..];
        let length = rest.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        self.at += length;
        self.skip_spaces();
        core::str::from_utf8(&rest[..length]).ok()
    }

    /// Skips `separator` and the spaces around it, if it is there.
    fn skip(&mut self, separator: u8) -> bool {
        self.skip_spaces();
        let found = self.value.get(self.at) == Some(&separator);
        if found {
            self.at += 1;
            self.skip_spaces();
        }
        found
    }

    fn skip_spaces(&mut self) {
        while matches!(self.value.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn parse(value: &str) -> Result<Vec<Extension<'_>>, HandshakeError> {
        Extension::parse([value.as_bytes()])
    }

    /// The canonical form of a value that the grammar allows.
    fn canonical(value: &str) -> String {
        let mut out = String::new();
        for extension in parse(value).unwrap_or_else(|error| panic!("{value:?}: {error}")) {
            out += if out.is_empty() { "" } else { "," };
            out += extension.name();
            for (name, value) in extension.parameters() {
                out += &format!(";{name}");
                out += &value.map_or_else(String::new, |value| format!("={value}"));
            }
        }
        out
    }

    #[test]
    fn s9_1_examples() {
        for (value, expected) in [
            ("foo", "foo"),
            ("bar; baz=2", "bar;baz=2"),
            ("foo, bar; baz=2", "foo,bar;baz=2"),
            ("deflate-stream", "deflate-stream"),
            (
                "mux; max-channels=4; flow-control, deflate-stream",
                "mux;max-channels=4;flow-control,deflate-stream",
            ),
            ("private-extension", "private-extension"),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\"",
                "permessage-deflate;client_max_window_bits;server_max_window_bits=10",
            ),
        ] {
            assert_eq!(canonical(value), expected);
        }
    }

    #[test]
    fn s9_1_spaces_quotes_and_empty_elements() {
        for (value, expected) in [
            (" \t a \t;\tb = c , d ", "a;b=c,d"),
            (",, a,,b, ,", "a,b"),
            ("a;b;b;b=1", "a;b;b;b=1"),
            ("a;b=\"c\" ; d", "a;b=c;d"),
            ("a;b=\"\\c\\\\\\d\"", ""),
            ("a;b=\"\\c\\d\"", "a;b=cd"),
            ("constructor;__proto__=toString", "constructor;__proto__=toString"),
        ] {
            if expected.is_empty() {
                assert!(parse(value).is_err(), "{value}");
            } else {
                assert_eq!(canonical(value), expected);
            }
        }
    }

    #[test]
    fn s9_1_what_the_grammar_forbids_and_where() {
        for (value, at) in [
            ("", 0),
            (" ", 0),
            (",, ,", 0),
            (";", 0),
            ("=", 0),
            ("a b", 2),
            ("a;", 2),
            ("a; ,b", 3),
            ("a;=", 2),
            ("a;b=", 4),
            ("a;b=,c", 4),
            ("a;b=c d", 6),
            ("a;b=\"", 5),
            ("a;b=\"\"", 5),
            ("a;b=\"c", 6),
            ("a;b=\"c\"d", 7),
            ("a;b=\"c d\"", 6),
            ("a;b=\"c,d\"", 6),
            ("a;b=\"c\\", 7),
            ("a;b=\"\\\"\"", 6),
            ("\"a\"", 0),
            ("a;\"b\"", 2),
            ("a/b", 1),
            ("aü", 1),
            ("a\0", 1),
        ] {
            assert_eq!(parse(value), Err(HandshakeError::Extensions { at }), "{value:?}");
        }
    }

    #[test]
    fn s11_3_2_several_fields_are_one_list() {
        assert_eq!(Extension::parse([]), Ok(vec![]));
        let two = Extension::parse([&b"a;b"[..], b"c"]).unwrap();
        assert_eq!(two.iter().map(Extension::name).collect::<Vec<_>>(), ["a", "c"]);
        assert!(Extension::parse([&b""[..], b"c"]).is_ok());
        assert!(Extension::parse([&b""[..], b","]).is_err());
    }

    /// Each byte is read a bounded number of times, so these end at once; quadratic ones would take minutes.
    #[test]
    fn long_junk_takes_linear_time() {
        for unit in ["\"", "\\", "a;b=\"", "a;b=\"\\", ",", " ", "a,", "a;a", "a;a=\"a\",", ", \t"] {
            for prefix in ["", "a;b=\"", "a;b=\"c\\", "a"] {
                let value = format!("{prefix}{}", unit.repeat((256 << 10) / unit.len()));
                let _ = parse(&value);
            }
        }
    }

    #[test]
    fn junk_never_panics() {
        let alphabet = b"ab;=,\"\\ \t\xFF\0/";
        let mut seed = 1_u32;
        for _ in 0..50_000 {
            let mut value = Vec::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                value.push(alphabet[(seed >> 16) as usize % alphabet.len()]);
            }
            let _ = Extension::parse([&value[..]]);
        }
    }
}
