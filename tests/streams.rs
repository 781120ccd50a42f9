//! One message as a stream of bytes, in either direction: control frames between its fragments, flat memory, its ends.
//!
//! 10 GiB in each direction, in some minutes:
//! `TAUT_LONG=1 cargo test --release --features testing --test streams flat`.

#[path = "support/futures.rs"]
mod futures;
#[path = "support/heap.rs"]
mod heap;
mod support;

use std::io::ErrorKind;
use std::time::Duration;

use futures::{ends, once};
use heap::Heap;
use support::{Take, connection, frame, replay};
use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, Config, Delivery, Kind, Message, Role, SendErrorKind};
use taut::testing::{MemoryStream, Turns, pair};
use taut::tokio::{Options, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OPTIONS: Options = Options::new().message_timeout(Duration::MAX);

fn socket<S>(role: Role, stream: S) -> WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = Config::new().delivery(Delivery::Chunks).max_fragments(u32::MAX);
    WebSocket::new(stream, connection(role, config), &OPTIONS)
}

fn server() -> (WebSocket<MemoryStream>, MemoryStream) {
    let (near, far) = pair(1000);
    (socket(Role::Server, near), far)
}

fn from_client(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, fin, opcode, payload)
}

fn written(wire: &[u8]) -> Vec<Message> {
    let outcome = replay(&mut connection(Role::Client, Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

/// What byte of a long message that is.
fn byte(at: u64) -> u8 {
    (at ^ (at >> 11)) as u8
}

fn long() -> u64 {
    if std::env::var_os("TAUT_LONG").is_some() { 10 << 30 } else { 64 << 20 }
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), async { listener.accept().await });
    (near.unwrap(), far.unwrap().0)
}

async fn write_all(mut writer: impl AsyncWrite + Unpin, len: u64) {
    let mut at = 0;
    let mut block = vec![0; 16 << 10];
    while at < len {
        for (index, place) in block.iter_mut().enumerate() {
            *place = byte(at + index as u64);
        }
        let count = block.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        writer.write_all(&block[..count]).await.unwrap();
        at += count as u64;
    }
    writer.shutdown().await.unwrap();
}

async fn read_all(mut reader: impl AsyncRead + Unpin) -> u64 {
    let mut at = 0;
    let mut block = vec![0; 16 << 10];
    loop {
        let count = reader.read(&mut block).await.unwrap();
        if count == 0 {
            return at;
        }
        for (index, got) in block[..count].iter().enumerate() {
            assert_eq!(*got, byte(at + index as u64));
        }
        at += count as u64;
    }
}

/// Both ends, and what their thread keeps for them, in less than 1 MiB; pings get their answers meanwhile.
#[test]
fn a_long_message_is_written_and_read_in_flat_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let heap = Heap::now();
        let (near, far) = tcp().await;
        let (mut receive, mut send) = socket(Role::Client, near).into_split();
        let mut pinging = send.clone();
        let mut far = socket(Role::Server, far);
        let sending = async {
            pinging.send(Message::Ping(b"?"[..].into())).await.unwrap();
            write_all(send.send_stream(Kind::Binary).await.unwrap(), long()).await;
            pinging.send(Message::Ping(b"!"[..].into())).await.unwrap();
        };
        let receiving = async {
            let reader = far.recv_stream().await.unwrap().unwrap();
            assert_eq!(reader.kind(), Kind::Binary);
            let len = read_all(reader).await;
            let _ = once(far.recv()).await;
            len
        };
        let pongs = async {
            assert_eq!(receive.recv().await.unwrap(), Some(Message::Pong(b"?"[..].into())));
        };
        let ((), len, ()) = tokio::join!(sending, receiving, pongs);
        assert_eq!(len, long());
        let peak = heap.peak();
        assert!(peak < 1 << 20, "{peak} bytes");
    });
}

/// The same for one frame of that length.
#[test]
fn a_long_frame_is_read_in_flat_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let heap = Heap::now();
        let (near, mut far) = tcp().await;
        let mut near = socket(Role::Client, near);
        let sending = async {
            let mut header = vec![0x82, 127];
            header.extend(long().to_be_bytes());
            far.write_all(&header).await.unwrap();
            write_all(far, long()).await;
        };
        let receiving = async {
            let reader = near.recv_stream().await.unwrap().unwrap();
            read_all(reader).await
        };
        let ((), len) = tokio::join!(sending, receiving);
        assert_eq!(len, long());
        let peak = heap.peak();
        assert!(peak < 1 << 20, "{peak} bytes");
    });
}

#[tokio::test(start_paused = true)]
async fn control_frames_between_fragments_are_answered_and_not_read() {
    let (mut near, far) = server();
    far.push(&from_client(true, OpCode::Pong, b""));
    far.push(&from_client(false, OpCode::Text, b"one "));
    far.push(&from_client(true, OpCode::Ping, b"?"));
    far.push(&from_client(false, OpCode::Continuation, b""));
    far.push(&from_client(true, OpCode::Continuation, b"message"));
    far.push(&from_client(true, OpCode::Text, b""));
    far.push(&from_client(true, OpCode::Close, b""));
    far.finish();
    let mut text = String::new();
    near.recv_stream().await.unwrap().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one message");
    assert_eq!(written(&far.pull()), [Message::Pong(b"?"[..].into())]);
    assert_eq!(near.recv_stream().await.unwrap().unwrap().read(&mut [0; 9]).await.unwrap(), 0);
    assert!(near.recv_stream().await.unwrap().is_none());
}

/// A reader that is dropped leaves nothing of its message to the next.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_message_is_skipped() {
    let (near, far) = server();
    let (mut receive, _send) = near.into_split();
    far.push(&from_client(false, OpCode::Binary, b"first"));
    let mut reader = receive.recv_stream().await.unwrap().unwrap();
    let mut some = [0; 3];
    reader.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"fir");
    drop(reader);
    assert!(once(receive.recv_stream()).await.is_none());
    far.push(&from_client(true, OpCode::Continuation, b"rest"));
    far.push(&from_client(true, OpCode::Text, b"second"));
    let mut text = String::new();
    receive.recv_stream().await.unwrap().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "second");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_cut_off_is_an_error() {
    for end in 0..3 {
        let (mut near, far) = server();
        far.push(&from_client(false, OpCode::Binary, b"first"));
        let mut reader = near.recv_stream().await.unwrap().unwrap();
        match end {
            0 => far.push(&from_client(true, OpCode::Close, b"")),
            1 => far.push(&from_client(true, OpCode::Text, b"no continuation")),
            _ => {}
        }
        far.finish();
        let error = ends(reader.read_to_end(&mut Vec::new())).await.unwrap_err();
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
        match end {
            0 => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
            1 => assert!(matches!(inner, Some(Error::Protocol(_))), "{error}"),
            _ => assert!(matches!(inner, Some(Error::Lost)), "{error}"),
        }
    }
}

/// Through a pipe of 7 bytes, each read and write dropped at every `Pending`.
#[tokio::test(start_paused = true)]
async fn reads_and_writes_that_are_dropped_lose_nothing() {
    let (near, far) = pair(7);
    let near = near.reading(Turns::bytewise()).writing(Turns::bytewise());
    let (mut near_receive, mut send) = socket(Role::Server, near).into_split();
    let mut far = socket(Role::Client, far.buffered());
    let sending = tokio::spawn(async move {
        // Another's message takes its time to end.
        let mut other = send.clone();
        let first = other.send_stream(Kind::Binary).await.unwrap();
        assert!(once(send.send_stream(Kind::Binary)).await.is_none(), "one stream at a time");
        shut(first).await;
        let mut writer = loop {
            match once(send.send_stream(Kind::Binary)).await {
                Some(writer) => break writer.unwrap(),
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let mut at = 0_u64;
        while at < 2_000 {
            let block: Vec<u8> = (at..(at + 50).min(2_000)).map(byte).collect();
            match once(writer.write(&block)).await {
                Some(count) => at += count.unwrap() as u64,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            if at.is_multiple_of(3) && once(writer.flush()).await.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        shut(writer).await;
        send
    });
    let receiving = tokio::spawn(async move {
        let mut drops = 0;
        let mut reader = loop {
            match once(near_receive.recv_stream()).await {
                Some(reader) => break reader.unwrap().unwrap(),
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            drops += 1;
        };
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        (text, drops)
    });
    far.feed(Message::Ping(b"?"[..].into())).unwrap();
    let mut first = ends(far.recv_stream()).await.unwrap().unwrap();
    assert_eq!(ends(first.read(&mut [0; 11])).await.unwrap(), 0);
    drop(first);
    let mut drops = 0;
    let mut reader = loop {
        match ends(once(far.recv_stream())).await {
            Some(reader) => break reader.unwrap().unwrap(),
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
        drops += 1;
    };
    assert!(drops > 0, "it came at once");
    let (mut got, mut block) = (0, [0; 11]);
    loop {
        match once(reader.read(&mut block)).await {
            None => tokio::time::sleep(Duration::from_millis(1)).await,
            Some(count) => match count.unwrap() {
                0 => break,
                count => {
                    for place in &block[..count] {
                        assert_eq!(*place, byte(got));
                        got += 1;
                    }
                }
            },
        }
    }
    assert_eq!(got, 2_000);
    let _send = ends(sending).await.unwrap();
    ends(far.send("to the half")).await.unwrap();
    let (text, drops) = ends(receiving).await.unwrap();
    assert_eq!(text, "to the half");
    assert!(drops > 10, "{drops}");
}

/// Ends the message, dropped at every `Pending`.
async fn shut(mut writer: impl tokio::io::AsyncWrite + Unpin) {
    while once(writer.shutdown()).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Others have their turn when the message has ended, and not between its fragments.
#[tokio::test(start_paused = true)]
async fn messages_of_others_wait_for_the_end() {
    let (near, far) = server();
    let (_receive, mut send) = near.into_split();
    let (mut other, mut third) = (send.clone(), send.clone());
    let mut writer = send.send_stream(Kind::Text).await.unwrap();
    let refused = |result: Result<(), Error>, expected| {
        assert!(matches!(&result, Err(Error::Send(error)) if error.kind() == expected), "{result:?}");
    };
    refused(third.feed("no"), SendErrorKind::Full);
    writer.write_all("\u{20ac}".as_bytes()).await.unwrap();
    refused(third.feed("no"), SendErrorKind::MessageInProgress);
    let waiting = tokio::spawn(async move { other.reserve().await.unwrap().send("after").unwrap() });
    third.feed(Message::Pong(b"between"[..].into())).unwrap();
    writer.write_all(b"!").await.unwrap();
    assert!(!waiting.is_finished());
    writer.shutdown().await.unwrap();
    assert_eq!(writer.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    drop(writer);
    ends(waiting).await.unwrap();
    third.flush().await.unwrap();
    let expected = [Message::Pong(b"between"[..].into()), Message::text("\u{20ac}!"), Message::text("after")];
    assert_eq!(written(&far.pull()), expected);
}

/// A part of a message must not look like the whole.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_given_up_closes_the_connection() {
    let (mut near, far) = server();
    drop(near.send_stream(Kind::Text));
    near.send("nothing was begun").await.unwrap();
    let mut writer = near.send_stream(Kind::Binary);
    writer.write_all(b"some").await.unwrap();
    drop(writer);
    assert!(matches!(near.send("late").await, Err(Error::Send(_))));
    let _ = near.flush().await;
    let expected = [Message::text("nothing was begun"), Message::Close(Some(CloseCode::INTERNAL.into()))];
    assert_eq!(written(&far.pull()), expected);
}

#[tokio::test(start_paused = true)]
async fn text_has_to_be_text_and_may_be_empty() {
    let (mut near, far) = server();
    let mut writer = near.send_stream(Kind::Text);
    writer.shutdown().await.unwrap();
    drop(writer);
    let mut writer = near.send_stream(Kind::Text);
    let error = writer.write_all(b"\xff").await.unwrap_err();
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::Send(_))), "{error}");
    drop(writer);
    near.send("on").await.unwrap();
    assert_eq!(written(&far.pull()), [Message::text(""), Message::text("on")]);
}
