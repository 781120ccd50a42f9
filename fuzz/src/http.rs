//! A slow reader of heads, as RFC 9112 and RFC 6455 §4 have them: the twin that the handshakes are held against. It
//! has all bytes before it and reads them as often as it likes.

use std::net::Ipv6Addr;

use taut::proto::handshake::HandshakeError;

/// How far the head goes that begins a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To here.
    Ends(usize),
    /// Further: it is cut short.
    Further,
    /// There is none: this many bytes prove it.
    Nowhere(usize, HandshakeError),
}

/// Finds the end of the head. `max_head` is what is left of the limit, and `told` what the error says of it.
#[must_use]
pub fn extent(bytes: &[u8], max_head: usize, told: usize, max_fields: usize) -> Extent {
    let end = find(bytes, b"\r\n\r\n").map(|at| at + 4).unwrap_or(usize::MAX);
    let mut fields = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if at == max_head {
            break;
        }
        let before = bytes[..at].last().copied();
        let good = match byte {
            b'\n' => before == Some(b'\r'),
            _ if before == Some(b'\r') => false,
            b'\r' => at > 0,
            b'\t' => true,
            _ => byte >= b' ' && byte != 0x7F,
        };
        if !good {
            return Extent::Nowhere(at + 1, HandshakeError::ForbiddenByte { byte, at });
        }
        if before == Some(b'\n') && byte != b'\r' {
            fields += 1;
            if fields > max_fields {
                return Extent::Nowhere(at + 1, HandshakeError::TooManyFields { max: max_fields });
            }
        }
        if at + 1 == end {
            return Extent::Ends(end);
        }
    }
    if bytes.len() >= max_head {
        return Extent::Nowhere(max_head, HandshakeError::HeadTooLong { max: told });
    }
    Extent::Further
}

/// The lines of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub start: Vec<u8>,
    /// Names in lower case, and values without the spaces around them.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Reads a whole head, its last line break included. `None` if a line is no field.
    #[must_use]
    pub fn read(head: &[u8]) -> Option<Self> {
        let mut lines = split(head.strip_suffix(b"\r\n\r\n")?, b"\r\n").into_iter();
        let start = lines.next()?.to_vec();
        let field = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = String::from_utf8(line[..colon].to_vec()).ok()?;
            is_token(name.as_bytes()).then(|| (name.to_ascii_lowercase(), trim(&line[colon + 1..]).to_vec()))
        };
        Some(Self { start, fields: lines.map(field).collect::<Option<_>>()? })
    }

    /// Method, target and version (RFC 9112 §3).
    #[must_use]
    pub fn request_line(&self) -> Option<(&str, &str, &str)> {
        let parts = split(&self.start, b" ");
        let [method, target, version] = parts[..] else { return None };
        let text = |part| std::str::from_utf8(part).ok().filter(|text| !text.is_empty());
        Some((text(method).filter(|text| is_token(text.as_bytes()))?, text(target)?, text(version)?))
    }

    /// Version and status (RFC 9112 §4).
    #[must_use]
    pub fn status_line(&self) -> Option<(&str, u16)> {
        let line = &self.start;
        let version = std::str::from_utf8(line.get(..8)?).ok()?;
        let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let separated = line[8] == b' ' && line.get(12).is_none_or(|&byte| byte == b' ');
        let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (separated && status >= 100).then_some((version, status))
    }

    /// The values of all fields of this name, which is in lower case.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == name).map(|field| &field.1[..]).collect()
    }

    /// The value of the one field of this name.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The elements of the lists in all fields of this name that are not empty.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&[u8]> {
        let elements = self.all(name).into_iter().flat_map(|value| split(value, b","));
        elements.map(trim).filter(|element| !element.is_empty()).collect()
    }

    /// Whether a list has this element, in any case.
    #[must_use]
    pub fn names(&self, name: &str, element: &str) -> bool {
        self.list(name).iter().any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }
}

/// Whether this is a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte))
}

/// Whether this is a host with or without a port (RFC 3986 §3.2).
#[must_use]
pub fn is_authority(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, ""),
    };
    let good_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0));
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    let good_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    good_port && good_host
}

/// The value of Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2).
#[must_use]
pub fn accept(key: &[u8]) -> String {
    base64(&sha1(&[key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat()))
}

/// RFC 4648 §4.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut text = String::new();
    for at in (0..bits.len()).step_by(6) {
        let group = format!("{:0<6}", &bits[at..bits.len().min(at + 6)]);
        text.push(char::from(ALPHABET[usize::from_str_radix(&group, 2).expect("six bits")]));
    }
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// The 16 bytes that the value of a Sec-WebSocket-Key stands for; bits that are left over may be anything.
#[must_use]
pub fn nonce(key: &[u8]) -> Option<[u8; 16]> {
    let digits = key.strip_suffix(b"==").filter(|digits| digits.len() == 22)?;
    let digit =
        |byte: &u8| ALPHABET.iter().position(|known| known == byte).map(|digit| format!("{digit:06b}"));
    let bits = digits.iter().map(digit).collect::<Option<String>>()?;
    Some(std::array::from_fn(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).expect("eight bits")))
}

/// RFC 3174.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = [message, &[0x80]].concat();
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0_u32];
    for block in padded.chunks(64) {
        let mut words: Vec<u32> =
            block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("four bytes"))).collect();
        for t in 16..80 {
            words.push((words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in words.iter().enumerate() {
            let (f, k) = match t {
                0..20 => ((b & c) | (!b & d), 0x5A82_7999),
                20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(*word).wrapping_add(k);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (four, word) in digest.chunks_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Without the spaces and tabs around it.
fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// The parts between separators, one more than there are of these.
fn split<'a>(mut text: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(text, separator) {
        parts.push(&text[..at]);
        text = &text[at + separator.len()..];
    }
    parts.push(text);
    parts
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_s1_3() {
        assert_eq!(base64(b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(nonce(b"dGhlIHNhbXBsZSBub25jZQ=="), Some(*b"the sample nonce"));
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
