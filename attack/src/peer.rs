//! One connection of the attacker: sends any bytes, and tells what comes back.

use std::io::ErrorKind;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::case::{Judged, Miss};
use crate::deflate::Inflater;
use crate::request::{Request, Response};
use crate::target::Target;
use crate::wire::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, RSV1, TEXT, close, text};

/// A connection. Dropped, it ends as TCP does; see [`reset`](Self::reset).
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    /// How much of `received` was looked at.
    taken: usize,
    ended: Option<Ending>,
    patience: Duration,
    /// The parameters of permessage-deflate, if the server agreed to it.
    pub(crate) deflate: Option<String>,
    inflater: Inflater,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    End,
    Reset,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Seen {
    Frame(Frame),
    End(Ending),
    /// Nothing, for as long as the attacker has patience.
    Silence,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Response(Response),
    End(Ending),
    Silence,
}

/// What came of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    All,
    /// The server takes no more; so many bytes went out.
    Stuck(usize),
    Ended,
}

/// What is sent ahead of an offence, where something is.
pub(crate) const BEFORE: &str = "before";
/// What is sent behind a Close.
pub(crate) const TOO_LATE: &str = "too late";
/// What is sent behind an offence: nobody may answer it.
const BEHIND: &str = "behind";

impl Peer {
    /// A TCP connection.
    pub(crate) async fn connect(target: &Target, patience: Duration) -> Result<Self, Miss> {
        let stream = timeout(patience, TcpStream::connect(target.address)).await;
        let stream = stream.map_err(|_| Miss::failed("no TCP connection in time"))??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            taken: 0,
            ended: None,
            patience,
            deflate: None,
            inflater: Inflater::default(),
        })
    }

    /// A WebSocket connection by this request.
    pub(crate) async fn open(target: &Target, request: &Request, patience: Duration) -> Result<Self, Miss> {
        let mut peer = Self::connect(target, patience).await?;
        peer.send(&request.bytes()).await;
        peer.accepted().await?;
        Ok(peer)
    }

    /// Waits for a 101 and checks it.
    pub(crate) async fn accepted(&mut self) -> Result<Response, Miss> {
        let response = match self.answer().await {
            Answer::Response(response) if response.status == 101 => response,
            Answer::Response(response) => {
                return Err(Miss::Failed(format!("a right handshake got status {}", response.status)));
            }
            Answer::End(ending) => return Err(Miss::Failed(format!("a right handshake got {ending}"))),
            Answer::Silence => return Err(Miss::failed("a right handshake got no answer")),
        };
        if let Some(fault) = response.fault() {
            return Err(Miss::Failed(fault));
        }
        let extension = response.values("sec-websocket-extensions").next();
        self.deflate =
            extension.and_then(|value| value.strip_prefix("permessage-deflate")).map(str::to_owned);
        Ok(response)
    }

    /// Sends, and keeps what comes meanwhile. A connection that is gone is no error: what comes next tells.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Sent {
        let mut sent = 0;
        while sent < bytes.len() {
            if self.ended.is_some() {
                return Sent::Ended;
            }
            let ready =
                timeout(self.patience, self.stream.ready(Interest::READABLE | Interest::WRITABLE)).await;
            let Ok(Ok(ready)) = ready else { return Sent::Stuck(sent) };
            if ready.is_readable() {
                self.read();
            }
            if ready.is_writable() {
                match self.stream.try_write(&bytes[sent..]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => {
                        // What the server wrote before it went is still there to be read.
                        while self.ended.is_none() && self.read() {}
                        self.ended.get_or_insert(Ending::Reset);
                    }
                }
            }
        }
        Sent::All
    }

    /// Sends without ever reading, until the server has taken nothing for a second.
    pub(crate) async fn push(&self, bytes: &[u8]) -> Sent {
        let mut sent = 0;
        while sent < bytes.len() {
            match timeout(STUCK, self.stream.writable()).await {
                Ok(Ok(())) => match self.stream.try_write(&bytes[sent..]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return Sent::Ended,
                },
                Ok(Err(_)) => return Sent::Ended,
                Err(_) => return Sent::Stuck(sent),
            }
        }
        Sent::All
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Seen {
        self.next_until(Instant::now() + self.patience).await
    }

    pub(crate) async fn next_until(&mut self, deadline: Instant) -> Seen {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.received[self.taken..]) {
                self.take(length);
                return Seen::Frame(frame);
            }
            if let Some(ending) = self.ended {
                return Seen::End(ending);
            }
            if timeout_at(deadline, self.stream.readable()).await.is_err() {
                return Seen::Silence;
            }
            self.read();
        }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_until(Instant::now() + self.patience).await
    }

    pub(crate) async fn answer_until(&mut self, deadline: Instant) -> Answer {
        loop {
            if let Some((response, length)) = Response::parse(&self.received[self.taken..]) {
                self.take(length);
                return Answer::Response(response);
            }
            if let Some(ending) = self.ended {
                return Answer::End(ending);
            }
            if timeout_at(deadline, self.stream.readable()).await.is_err() {
                return Answer::Silence;
            }
            self.read();
        }
    }

    /// Judges that the server fails the connection over this, and takes nothing behind it.
    pub(crate) async fn fails(&mut self, offence: &[u8]) -> Judged {
        self.send(&[offence, &text(BEHIND).bytes()].concat()).await;
        self.failed().await
    }

    /// Judges that the server fails the connection over what was sent. Answers to [`BEFORE`] may come first.
    pub(crate) async fn failed(&mut self) -> Judged {
        loop {
            match self.next().await {
                Seen::End(ending) => return Ok(ending.to_string()),
                Seen::Silence => return Err(Miss::failed("the connection stays open")),
                Seen::Frame(frame) => {
                    self.check(&frame)?;
                    match frame.opcode {
                        CLOSE => return Ok(describe_close(&frame)),
                        // RFC 6455 §7.1.7 leaves alone what came before; a ping of the server's own is no answer.
                        _ if frame.payload.starts_with(BEFORE.as_bytes()) || frame.opcode == PING => {}
                        _ if frame.payload == BEHIND.as_bytes() => {
                            return Err(Miss::failed("the connection goes on"));
                        }
                        PONG => return Err(Miss::failed("it is answered with a pong")),
                        _ => return Err(Miss::failed("it is answered with a message")),
                    }
                }
            }
        }
    }

    /// How the server ended the connection, if it did, whatever it sent before.
    pub(crate) async fn farewell(&mut self, within: Duration) -> Option<String> {
        let deadline = Instant::now() + within;
        loop {
            match self.next_until(deadline).await {
                Seen::Frame(frame) if frame.opcode == CLOSE => return Some(describe_close(&frame)),
                Seen::Frame(_) => {}
                Seen::End(ending) => return Some(ending.to_string()),
                Seen::Silence => return None,
            }
        }
    }

    /// The next whole message: its opcode and its payload, inflated. Pings and pongs are passed over.
    pub(crate) async fn message(&mut self) -> Result<(u8, Vec<u8>), Miss> {
        let mut message: Option<(u8, Vec<u8>)> = None;
        let mut compressed = false;
        loop {
            let frame = match self.next().await {
                Seen::Frame(frame) => frame,
                Seen::End(ending) => return Err(Miss::Failed(format!("no message, but {ending}"))),
                Seen::Silence => return Err(Miss::failed("no message in time")),
            };
            self.check(&frame)?;
            match frame.opcode {
                PING | PONG => continue,
                CLOSE => return Err(Miss::Failed(format!("no message, but {}", describe_close(&frame)))),
                CONTINUATION => match &mut message {
                    Some((_, payload)) => payload.extend(frame.payload),
                    None => return Err(Miss::failed("the server continues a message that it never began")),
                },
                opcode => {
                    compressed = frame.bits == RSV1;
                    message = Some((opcode, frame.payload));
                }
            }
            if frame.fin
                && let Some((opcode, payload)) = message.take()
            {
                if !compressed {
                    return Ok((opcode, payload));
                }
                let parameters = self.deflate.as_deref().unwrap_or_default();
                let takeover = !parameters.contains("server_no_context_takeover");
                return Ok((opcode, self.inflater.message(&payload, takeover)?));
            }
        }
    }

    /// Judges that this message comes next.
    pub(crate) async fn expect(&mut self, opcode: u8, payload: &[u8]) -> Judged {
        let (came, message) = self.message().await?;
        if (came, &*message) == (opcode, payload) {
            return Ok("echoed".to_owned());
        }
        let name = |opcode| if opcode == TEXT { "text" } else { "binary" };
        Err(Miss::Failed(format!(
            "the echo is {} of {} bytes and not the {} of {} bytes that was sent",
            name(came),
            message.len(),
            name(opcode),
            payload.len()
        )))
    }

    /// Judges that the connection still echoes.
    pub(crate) async fn goes_on(&mut self) -> Judged {
        self.send(&crate::wire::binary("still there").bytes()).await;
        self.expect(BINARY, b"still there").await.map(|_| "the connection goes on".to_owned())
    }

    /// Judges that the server answers our Close, and ends TCP behind it.
    pub(crate) async fn closes(&mut self, code: u16) -> Judged {
        self.send(&close(code, "").bytes()).await;
        self.closed().await
    }

    /// The same for a Close that was sent already. Messages may come before the answer, but not behind it.
    pub(crate) async fn closed(&mut self) -> Judged {
        let mut answer = None;
        loop {
            match (self.next().await, &answer) {
                (Seen::Frame(frame), None) => {
                    self.check(&frame)?;
                    if frame.payload == TOO_LATE.as_bytes() {
                        return Err(Miss::failed("what came behind the Close is answered"));
                    }
                    answer = (frame.opcode == CLOSE).then(|| describe_close(&frame));
                }
                (Seen::Frame(_), Some(_)) => {
                    return Err(Miss::failed("frames come behind the server's Close"));
                }
                (Seen::End(ending), Some(answer)) => return Ok(format!("{answer}, then {ending}")),
                (Seen::End(_), None) => return Err(Miss::failed("TCP ends without a Close")),
                (Seen::Silence, None) => return Err(Miss::failed("no Close in time")),
                (Seen::Silence, Some(_)) => return Err(Miss::failed("the server does not end TCP")),
            }
        }
    }

    /// Waits until the server ends the connection, and sends `nudge` again and again, which it need not take.
    /// Nothing is read, if the server is to wait for that.
    pub(crate) async fn left(
        &mut self,
        nudge: &[u8],
        every: Duration,
        reads: bool,
        within: Duration,
    ) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if reads {
                while self.read() {}
                self.received.clear();
                self.taken = 0;
            }
            let written = self.stream.try_write(nudge);
            let broken = written.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
                || !matches!(self.stream.take_error(), Ok(None));
            if broken || self.ended.is_some() {
                return true;
            }
            tokio::time::sleep(every).await;
        }
        false
    }

    /// What came and was not looked at.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.received[self.taken..]
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Ends the sending half.
    pub(crate) fn finish(&self) {
        // A connection that is gone needs no end.
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    pub(crate) fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn check(&self, frame: &Frame) -> Result<(), Miss> {
        frame.fault(self.deflate.is_some()).map_or(Ok(()), |fault| Err(Miss::Failed(fault)))
    }

    fn take(&mut self, length: usize) {
        self.taken += length;
        if self.taken * 2 > self.received.len() {
            self.received.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Reads once. Tells whether there was something.
    fn read(&mut self) -> bool {
        self.received.reserve(READ_SIZE);
        match self.stream.try_read_buf(&mut self.received) {
            Ok(0) => self.ended = Some(Ending::End),
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = Some(Ending::Reset),
        }
        false
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::End => "the end of TCP",
            Self::Reset => "a reset",
        })
    }
}

pub(crate) fn describe_close(frame: &Frame) -> String {
    frame.code().map_or_else(|| "Close without a code".to_owned(), |code| format!("Close {code}"))
}

const READ_SIZE: usize = 16 << 10;

/// How long a server may take nothing before it counts as one that waits for its peer to read.
const STUCK: Duration = Duration::from_secs(1);
