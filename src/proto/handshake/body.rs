//! The body of an answer that refuses the upgrade (RFC 9112 §6, §7).

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use bytes::{Buf, BytesMut};

use super::fields::Response;

/// Reads a body as it comes and keeps at most a given number of bytes.
#[derive(Debug)]
pub(super) struct BodyReader {
    framing: Framing,
    max: usize,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// So many bytes of the body, which ends with them.
    Length(u64),
    /// The size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line break behind a chunk.
    ChunkEnd,
    /// The body up to the end of the transport.
    UntilEof,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes may come.
    More,
    /// It is complete.
    Whole,
    /// It goes on, but the limit is reached or its coding is broken.
    Cut,
}

impl BodyReader {
    pub(super) fn new(response: &Response, max: usize) -> Self {
        Self { framing: framing(response), max }
    }

    /// Moves what has come of the body out of `input`.
    pub(super) fn read(&mut self, input: &mut BytesMut, body: &mut Vec<u8>, eof: bool) -> Progress {
        loop {
            self.framing = match self.framing {
                Framing::Length(0) => return Progress::Whole,
                Framing::Length(left) => match self.take(left, input, body) {
                    Ok(left) => Framing::Length(left),
                    Err(progress) => return progress,
                },
                Framing::ChunkSize => match chunk_size(input) {
                    // What follows are trailer fields, which mean nothing to us.
                    Ok(0) => return Progress::Whole,
                    Ok(size) => Framing::Chunk(size),
                    Err(progress) => return progress,
                },
                Framing::Chunk(0) => Framing::ChunkEnd,
                Framing::Chunk(left) => match self.take(left, input, body) {
                    Ok(left) => Framing::Chunk(left),
                    Err(progress) => return progress,
                },
                Framing::ChunkEnd if input.starts_with(b"\r\n") => {
                    input.advance(2);
                    Framing::ChunkSize
                }
                Framing::ChunkEnd if b"\r\n".starts_with(input) => return Progress::More,
                Framing::ChunkEnd => return Progress::Cut,
                Framing::UntilEof if input.is_empty() && eof => return Progress::Whole,
                Framing::UntilEof if input.is_empty() => return Progress::More,
                Framing::UntilEof => match self.take(u64::MAX, input, body) {
                    Ok(_) => Framing::UntilEof,
                    Err(progress) => return progress,
                },
            };
        }
    }

    /// Moves at least one of `left` bytes, and tells how many are still to come.
    fn take(&self, left: u64, input: &mut BytesMut, body: &mut Vec<u8>) -> Result<u64, Progress> {
        let room = self.max - body.len();
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len()).min(room);
        if count == 0 {
            return Err(if room == 0 { Progress::Cut } else { Progress::More });
        }
        body.extend_from_slice(&input[..count]);
        input.advance(count);
        Ok(left - count as u64)
    }
}

/// RFC 9112 §6.3: how long the body of a response is.
fn framing(response: &Response) -> Framing {
    if matches!(response.status(), 100..=199 | 204 | 304) {
        return Framing::Length(0);
    }
    let fields = response.fields();
    let mut codings = fields.list("Transfer-Encoding");
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => return Framing::ChunkSize,
        // We asked for no coding; hand over what comes.
        _ => return Framing::UntilEof,
    }
    let mut lengths = fields.list("Content-Length");
    match lengths.next().and_then(decimal) {
        // RFC 9112 §6.3: other values beside it make the length invalid. The connection ends with this body,
        // so the end of the transport is as good a measure.
        Some(length) if lengths.all(|other| decimal(other) == Some(length)) => Framing::Length(length),
        _ => Framing::UntilEof,
    }
}

/// RFC 9110 §8.6: `Content-Length = 1*DIGIT`, without the signs that `parse` takes.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Takes the line with the size of the next chunk, or tells how the body stands without it.
fn chunk_size(input: &mut BytesMut) -> Result<u64, Progress> {
    let line = &input[..input.len().min(MAX_CHUNK_LINE)];
    match line.first() {
        None => return Err(Progress::More),
        Some(digit) if !digit.is_ascii_hexdigit() => return Err(Progress::Cut),
        Some(_) => {}
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((length, size))) => {
            input.advance(length);
            Ok(size)
        }
        Ok(httparse::Status::Partial) if line.len() < MAX_CHUNK_LINE => Err(Progress::More),
        Ok(httparse::Status::Partial) | Err(_) => Err(Progress::Cut),
    }
}

/// The longest line before a chunk, its extensions included. It is read anew with each piece that comes, so
/// it is short.
const MAX_CHUNK_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::proto::handshake::fields::Fields;

    fn response(status: u16, fields: &[(&str, &str)]) -> Response {
        let mut list = Fields::default();
        fields.iter().for_each(|(name, value)| list.push(name, value.as_bytes()));
        Response { status, reason: "".into(), fields: list, body: Vec::new(), body_is_whole: true }
    }

    /// Reads a body whole and byte by byte; both must come to the same.
    fn read(status: u16, fields: &[(&str, &str)], max: usize, bytes: &[u8], eof: bool) -> (String, Progress) {
        let response = response(status, fields);
        let mut whole = (Vec::new(), BytesMut::from(bytes));
        let progress = BodyReader::new(&response, max).read(&mut whole.1, &mut whole.0, eof);

        let (mut body, mut input) = (Vec::new(), BytesMut::new());
        let mut reader = BodyReader::new(&response, max);
        let mut slow = reader.read(&mut input, &mut body, false);
        for &byte in bytes {
            if slow == Progress::More {
                input.extend_from_slice(&[byte]);
                slow = reader.read(&mut input, &mut body, false);
                assert!(input.len() <= MAX_CHUNK_LINE);
            }
        }
        if slow == Progress::More {
            slow = reader.read(&mut input, &mut body, eof);
        }
        assert_eq!((&body, slow), (&whole.0, progress));
        (String::from_utf8(body).unwrap(), progress)
    }

    #[test]
    fn a_length_ends_the_body() {
        use Progress::{Cut, More, Whole};
        let length = |value| [("Content-Length", value)];
        for (value, bytes, expected) in [
            ("0", "", ("", Whole)),
            ("0", "abc", ("", Whole)),
            ("3", "abc", ("abc", Whole)),
            ("3", "abcd", ("abc", Whole)),
            ("3, 3", "abcd", ("abc", Whole)),
            ("003", "abcd", ("abc", Whole)),
            ("3", "ab", ("ab", More)),
            ("6", "abcdef", ("abcde", Cut)),
            ("6", "abcde", ("abcde", Cut)),
            ("6", "abcd", ("abcd", More)),
            ("18446744073709551615", "abcd", ("abcd", More)),
        ] {
            let (body, progress) = read(400, &length(value), 5, bytes.as_bytes(), false);
            assert_eq!((&*body, progress), expected, "{value} {bytes}");
        }
        assert_eq!(read(400, &length("1"), 0, b"", false), (String::new(), Cut));
    }

    #[test]
    fn without_a_valid_length_the_transport_ends_the_body() {
        use Progress::{Cut, More, Whole};
        for fields in [
            &[][..],
            &[("Content-Length", "x")],
            &[("Content-Length", "+3")],
            &[("Content-Length", "-3")],
            &[("Content-Length", "18446744073709551616")],
            &[("Content-Length", "3"), ("Content-Length", "4")],
            &[("Content-Length", "3, 4")],
            &[("Content-Length", "")],
            &[("Transfer-Encoding", "gzip")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("Transfer-Encoding", "identity"), ("Content-Length", "3")],
        ] {
            assert_eq!(read(400, fields, 5, b"abcd", false), ("abcd".into(), More), "{fields:?}");
            assert_eq!(read(400, fields, 5, b"abcde", true), ("abcde".into(), Whole), "{fields:?}");
            assert_eq!(read(400, fields, 5, b"abcdef", false), ("abcde".into(), Cut), "{fields:?}");
            assert_eq!(read(400, fields, 5, b"", true), (String::new(), Whole), "{fields:?}");
        }
    }

    #[test]
    fn chunks_are_joined() {
        use Progress::{Cut, More, Whole};
        let long = "1;".repeat(MAX_CHUNK_LINE) + "\r\na\r\n";
        for (bytes, expected) in [
            ("3\r\nabc\r\n0\r\n\r\n", ("abc", Whole)),
            ("3\r\nabc\r\n00\r\n", ("abc", Whole)),
            ("0\r\nTrailer: x\r\n\r\n", ("", Whole)),
            ("1\r\na\r\n2;name=\"value\"\r\nbc\r\n1 \r\nd\r\n0\r\n", ("abcd", Whole)),
            ("A\r\nabcd", ("abcd", More)),
            ("a\r\nabcdefg", ("abcde", Cut)),
            ("5\r\nabcde\r\n0\r\n", ("abcde", Whole)),
            ("5\r\nabcde\r\n1\r\n", ("abcde", Cut)),
            ("ffffffffffffffff\r\nabcdefg", ("abcde", Cut)),
            ("fffffffffffffffff\r\nabcdefg", ("", Cut)),
            ("3\r\nabc", ("abc", More)),
            ("3\r\nabc\r", ("abc", More)),
            ("3\r\nabcd", ("abc", Cut)),
            ("3\r\nabc\rd", ("abc", Cut)),
            ("\r\n", ("", Cut)),
            ("x\r\n", ("", Cut)),
            ("-1\r\n", ("", Cut)),
            ("3\n", ("", Cut)),
            ("3\rx", ("", Cut)),
            ("", ("", More)),
            (&long, ("", Cut)),
        ] {
            let fields = [("transfer-encoding", "Chunked"), ("Content-Length", "1")];
            let (body, progress) = read(400, &fields, 5, bytes.as_bytes(), false);
            assert_eq!((&*body, progress), expected, "{bytes:?}");
            // The end of the transport completes no chunk.
            let (_, at_eof) = read(400, &fields, 5, bytes.as_bytes(), true);
            assert_eq!(at_eof, progress, "{bytes:?}");
        }
    }

    #[test]
    fn some_statuses_have_no_body() {
        for status in [204, 304] {
            let fields = [("Content-Length", "3")];
            assert_eq!(read(status, &fields, 5, b"abc", false), (String::new(), Progress::Whole));
        }
    }
}
