//! The least of a broadcast: what one connection says is put into a frame once, and written to all, one after the
//! other, by who read it. Nothing is queued: who has no room for a message loses it. Neither fragments nor control
//! frames.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use taut_rivals::{handshake, serve};
use tokio::net::TcpStream;

fn main() -> Result<(), String> {
    let all = All::default();
    serve(move |stream, _| connection(stream, all.clone()))
}

type All = Arc<Mutex<Vec<Member>>>;

struct Member {
    stream: Arc<TcpStream>,
    /// The end of a frame whose beginning is on its way.
    rest: Vec<u8>,
}

async fn connection(mut stream: TcpStream, all: All) -> std::io::Result<()> {
    handshake(&mut stream, None).await?;
    let stream = Arc::new(stream);
    all.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Member { stream: Arc::clone(&stream), rest: Vec::new() });
    let mut pending = Vec::new();
    while stream.readable().await.is_ok() && hear(&stream, &mut pending, &all)? {}
    let mut members = all.lock().unwrap_or_else(PoisonError::into_inner);
    members.retain(|member| !Arc::ptr_eq(&member.stream, &stream));
    Ok(())
}

/// Reads what is there, and says it to all; false at the end.
fn hear(stream: &TcpStream, pending: &mut Vec<u8>, all: &All) -> std::io::Result<bool> {
    let mut room = [0; READ];
    match stream.try_read(&mut room) {
        Ok(0) => return Ok(false),
        Ok(got) => pending.extend(&room[..got]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
        Err(error) => return Err(error),
    }
    let (mut frames, mut used) = (Vec::new(), 0);
    while let Some(len) = push_unmasked(&mut frames, &pending[used..])? {
        used += len;
    }
    pending.drain(..used);
    if !frames.is_empty() {
        let mut members = all.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter_mut().for_each(|member| member.write(&frames));
    }
    if pending.is_empty() {
        *pending = Vec::new();
    }
    Ok(true)
}

impl Member {
    fn write(&mut self, frames: &[u8]) {
        if !self.rest.is_empty() {
            let sent = self.stream.try_write(&self.rest).unwrap_or(0);
            self.rest.drain(..sent);
            if !self.rest.is_empty() {
                return;
            }
        }
        // A stream that has ended is the reader's to take away.
        if let Ok(sent) = self.stream.try_write(frames) {
            self.rest.extend(&frames[sent..]);
        }
    }
}

/// Appends the frame of a server for one of a client, and tells how long that was; nothing while it is not whole.
fn push_unmasked(frames: &mut Vec<u8>, bytes: &[u8]) -> std::io::Result<Option<usize>> {
    let (head, len) = match bytes {
        [_, second, ..] if (0x80..0xFE).contains(second) => (2, usize::from(second & 0x7F)),
        [_, 0xFE, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [_, 0xFE, ..] | [_] | [] => return Ok(None),
        _ => return Err(Error::from(ErrorKind::InvalidData)),
    };
    let Some(masked) = bytes.get(head..head + 4 + len) else { return Ok(None) };
    let (key, payload) = masked.split_at(4);
    frames.extend([bytes[0], bytes[1] & 0x7F]);
    frames.extend(&bytes[2..head]);
    frames.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    Ok(Some(head + 4 + len))
}

const READ: usize = 64 << 10;
