//! The frames of `taut::tokio::frames`: every header, every place to cut or to cancel, the engine at the other end.
#![cfg(feature = "tokio")]

#[path = "support/futures.rs"]
mod futures;
#[path = "support/heap.rs"]
mod heap;
mod support;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::restarted;
use futures_util::FutureExt;
use heap::Heap;
use support::{KEY, connection, frame};
use taut::Error;
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::{CloseCode, CloseFrame, Config, Message, ProtocolError, Role, SendErrorKind};
use taut::testing::{MemoryStream, Turn, Turns, pair};
use taut::tokio::frames::{Frame, FrameReader, FrameWriter};
use taut::tokio::{Options, WebSocket};
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const OPCODES: [OpCode; 6] =
    [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];

type Reader = FrameReader<ReadHalf<MemoryStream>>;
type Writer = FrameWriter<WriteHalf<MemoryStream>>;

fn over(stream: MemoryStream, role: Role) -> (Reader, Writer) {
    let (read, write) = split(stream);
    (FrameReader::new(read, role), FrameWriter::new(write, role))
}

/// What a reader whose role is `role` makes of all these bytes, without waiting.
fn reader(bytes: &[u8], role: Role) -> FrameReader<&[u8]> {
    FrameReader::new(bytes, role)
}

/// Fails instead of waiting for ever, by the paused clock.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3600), future).await.expect("something waits for ever")
}

/// RFC 6455 §5.2 and §5.5 by arithmetic, of a header that is there as a whole.
fn by_the_rules(bytes: &[u8], from: Role, rsv1: bool) -> Result<(bool, bool, u8, u64), ProtocolError> {
    let (first, second) = (bytes[0], bytes[1]);
    let (fin, control, opcode) = (first >= 128, first % 16 >= 8, first % 16);
    if first / 32 % 2 == 1 {
        return Err(ProtocolError::ReservedBit(2));
    }
    if first / 16 % 2 == 1 {
        return Err(ProtocolError::ReservedBit(3));
    }
    if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
        return Err(ProtocolError::ReservedOpcode(opcode));
    }
    if control && !fin {
        return Err(ProtocolError::FragmentedControl);
    }
    if first / 64 % 2 == 1 && (control || !rsv1) {
        return Err(ProtocolError::ReservedBit(1));
    }
    match (from, second >= 128) {
        (Role::Client, false) => return Err(ProtocolError::UnmaskedFromClient),
        (Role::Server, true) => return Err(ProtocolError::MaskedFromServer),
        _ => {}
    }
    let short = second % 128;
    if control && short > 125 {
        return Err(ProtocolError::ControlTooLong);
    }
    let len = match short {
        126 => u64::from(bytes[2]) * 256 + u64::from(bytes[3]),
        127 => bytes[2..10].iter().fold(0, |len, byte| (len << 8) | u64::from(*byte)),
        short => u64::from(short),
    };
    if short == 127 && len >= 1 << 63 {
        return Err(ProtocolError::LengthTopBit);
    }
    if (short == 126 && len < 126) || (short == 127 && len < 65_536) {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok((fin, first / 64 % 2 == 1, opcode, len))
}

#[test]
fn s5_2_every_header_is_taken_or_refused_by_the_rules() {
    let mut taken = 0;
    let seconds = [0, 1, 64, 124, 125, 126, 127].map(|length: u8| [length, 128 + length]).concat();
    for (first, &second) in (0..=255u8).flat_map(|first| seconds.iter().map(move |second| (first, second))) {
        let lengths: Vec<Vec<u8>> = match second % 128 {
            126 => [0, 125, 126, 65_535].map(|len: u16| len.to_be_bytes().to_vec()).into(),
            127 => [0, 125, 126, 65_535, 65_536, 1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX]
                .map(|len: u64| len.to_be_bytes().to_vec())
                .into(),
            _ => vec![vec![]],
        };
        for length in lengths {
            let mut bytes = [&[first, second], &length[..]].concat();
            bytes.extend((second >= 128).then_some(KEY).iter().flatten());
            let whole = bytes.len();
            bytes.extend([0; 10]);
            for (role, rsv1) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
                let expected = by_the_rules(&bytes, role.peer(), rsv1);
                let mut reader = reader(&bytes[..whole], role).allow_rsv1(rsv1);
                for again in [false, true] {
                    match (reader.header().now_or_never().unwrap(), expected) {
                        (Ok(Some(header)), Ok((fin, rsv1, opcode, len))) => {
                            assert_eq!((header.fin, header.rsv1, header.len), (fin, rsv1, len));
                            assert_eq!(header.opcode as u8, opcode);
                            assert_eq!(header.key, (second >= 128).then_some(KEY));
                            taken += 1;
                        }
                        (Err(Error::Protocol(error)), Err(expected)) => assert_eq!(error, expected),
                        other => panic!("{role:?}, again: {again}: {other:?} of {:x?}", &bytes[..whole]),
                    }
                }
                // A header cut short is refused no later, and otherwise waits for more.
                for cut in 1..whole {
                    let early =
                        FrameReader::new(&bytes[..cut], role).allow_rsv1(rsv1).header().now_or_never();
                    match (early.unwrap(), expected) {
                        (Err(Error::Lost), _) => {}
                        (Err(Error::Protocol(error)), Err(expected)) => assert_eq!(error, expected),
                        other => panic!("{role:?}, cut at {cut}: {other:?} of {:x?}", &bytes[..whole]),
                    }
                }
            }
        }
    }
    assert!(taken > 500, "{taken} headers were good");
}

/// Frames of every opcode and of every form of a length up to `most`.
fn frames(most: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let lengths =
        [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 4_096, 4_097, 16_384, 16_385, 65_535, 65_536, 70_001];
    for len in lengths.into_iter().filter(|len| *len <= most) {
        for opcode in OPCODES.into_iter().filter(|opcode| !opcode.is_control() || len <= 125) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            let frame = Frame::new(opcode, payload);
            frames.push(if len % 2 == 1 && !opcode.is_control() { frame.unfinished() } else { frame });
        }
    }
    frames
}

/// The frames as `from` sends them, by the code of the tests.
fn wire(from: Role, frames: &[Frame]) -> Vec<u8> {
    let frames = frames.iter().map(|sent| frame(from, sent.fin, sent.opcode, &sent.payload));
    frames.collect::<Vec<_>>().concat()
}

/// How long frames are at most and how their bytes come and go, each for both roles.
fn ways() -> Vec<(usize, Turns)> {
    let ways = [(130, Turns::bytewise()), (5_000, Turns::pieces(3)), (usize::MAX, Turns::pieces(5_000))];
    ways.into_iter().flat_map(|way| [way.clone(), way]).collect()
}

#[tokio::test(start_paused = true)]
async fn reads_that_are_dropped_at_every_pending_lose_nothing() {
    for ((most, turns), role) in ways().into_iter().zip(ROLES.into_iter().cycle()) {
        let (ours, theirs) = pair(usize::MAX);
        let (mut reader, _writer) = over(ours.reading(turns), role);
        theirs.push(&wire(role.peer(), &frames(most)));
        theirs.finish();
        let drops = Cell::new(0);
        for (number, expected) in frames(most).into_iter().enumerate() {
            let read = if number % 2 == 0 {
                ends(restarted(&drops, async || reader.read().await)).await.unwrap().expect("a frame")
            } else {
                let header = ends(restarted(&drops, async || reader.header().await)).await;
                let Header { fin, rsv1, opcode, len, .. } = header.unwrap().expect("a header");
                let mut payload = Vec::new();
                while let Some(piece) = ends(restarted(&drops, async || reader.piece().await)).await.unwrap()
                {
                    assert!((1..=16 << 10).contains(&piece.len()), "{} bytes", piece.len());
                    payload.extend_from_slice(&piece);
                }
                assert_eq!(len, payload.len() as u64);
                Frame { fin, rsv1, opcode, payload: payload.into() }
            };
            assert!(read == expected, "{role:?}, frame {number}: {read:?}, and not {expected:?}");
        }
        assert_eq!(reader.read().await.unwrap(), None);
        assert_eq!(reader.piece().await.unwrap(), None);
        assert!(drops.get() > 50, "{} futures were dropped", drops.get());
    }
}

#[tokio::test(start_paused = true)]
async fn writes_that_are_dropped_at_every_pending_lose_nothing() {
    for ((most, turns), role) in ways().into_iter().zip(ROLES.into_iter().cycle()) {
        let (ours, theirs) = pair(usize::MAX);
        let (_reader, writer) = over(ours.buffered().writing(turns), role);
        let mut writer = writer.max_queued(usize::MAX);
        let drops = Cell::new(0);
        for (number, frame) in frames(most).iter().enumerate() {
            match number % 3 {
                // Not even polled.
                0 => drop(writer.write(frame)),
                1 => writer.feed(frame).unwrap(),
                _ => assert!(matches!(writer.write(frame).now_or_never(), None | Some(Ok(())))),
            }
            if number % 4 == 3 {
                ends(restarted(&drops, async || writer.flush().await)).await.unwrap();
                assert_eq!(writer.queued(), 0);
            }
        }
        ends(restarted(&drops, async || writer.shutdown().await)).await.unwrap();
        assert!(drops.get() > 50, "{} futures were dropped", drops.get());
        let wire = theirs.pull();
        assert!(theirs.is_at_end());
        let mut reader = reader(&wire, role.peer());
        for (number, expected) in frames(most).into_iter().enumerate() {
            let read = reader.read().await.unwrap().expect("a frame");
            assert!(read == expected, "{role:?}, frame {number}: {read:?}, and not {expected:?}");
        }
        assert_eq!(reader.read().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_server_s_bytes_are_those_of_the_rfc() {
    let mut writer = FrameWriter::new(Vec::new(), Role::Server);
    for frame in &frames(usize::MAX) {
        writer.write(frame).await.unwrap();
    }
    assert!(writer.into_parts().0 == wire(Role::Server, &frames(usize::MAX)));
}

#[tokio::test]
async fn s5_3_a_client_masks_each_frame_with_another_key() {
    let mut writer = FrameWriter::new(Vec::new(), Role::Client);
    for _ in 0..20 {
        writer.write(&Frame::text("the same")).await.unwrap();
    }
    let (wire, _) = writer.into_parts();
    let keys: std::collections::BTreeSet<[u8; 4]> = wire
        .chunks(MAX_HEADER)
        .map(|frame| Header::decode(frame, Role::Client).unwrap().unwrap().0.key.unwrap())
        .collect();
    assert!(keys.len() > 15, "{keys:x?}");
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_lost() {
    let sent = [Frame::text("héllo"), Frame::ping("p"), Frame::binary(vec![7; 300])];
    for role in ROLES {
        let bytes = wire(role.peer(), &sent);
        let mut borders = vec![0];
        for number in 1..=sent.len() {
            borders.push(wire(role.peer(), &sent[..number]).len());
        }
        for cut in 0..=bytes.len() {
            let whole = borders.iter().filter(|border| (1..=cut).contains(*border)).count();
            let mut reader = reader(&bytes[..cut], role);
            for expected in &sent[..whole] {
                assert_eq!(reader.read().await.unwrap().as_ref(), Some(expected));
            }
            for _ in 0..2 {
                match reader.read().await {
                    Ok(None) => assert!(borders.contains(&cut), "cut at {cut}"),
                    Err(Error::Lost) => assert!(!borders.contains(&cut), "cut at {cut}"),
                    other => panic!("cut at {cut}: {other:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_payload_cut_short_is_lost_in_pieces_too() {
    let bytes = wire(Role::Server, &[Frame::binary(vec![7; 300])]);
    let mut reader = reader(&bytes[..200], Role::Client);
    assert_eq!(reader.header().await.unwrap().unwrap().len, 300);
    assert_eq!(reader.piece().await.unwrap().unwrap().len(), 196);
    assert!(matches!(reader.piece().await, Err(Error::Lost)));
    assert!(matches!(reader.read().await, Err(Error::Lost)));
}

#[tokio::test]
async fn read_gives_the_rest_of_a_frame_that_was_taken_in_part() {
    for role in ROLES {
        let payload: Vec<u8> = (0..40_001u32).map(|at| at as u8).collect();
        let bytes = wire(role.peer(), &[Frame::binary(payload.clone()), Frame::ping("next")]);
        // The piece that came already ends in the middle of the four bytes of a key.
        let mut reader = FrameReader::new(&bytes[1_001..], role).with_input(&bytes[..1_001]);
        assert_eq!(reader.header().await.unwrap().unwrap().len, 40_001);
        let first = reader.piece().await.unwrap().unwrap();
        assert_ne!(first.len() % 4, 0, "the test wants a piece of another length");
        let rest = reader.read().await.unwrap().unwrap();
        assert!([first, rest.payload].concat() == payload);
        assert_eq!(reader.read().await.unwrap(), Some(Frame::ping("next")));
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_by_its_header() {
    for (role, max) in ROLES.into_iter().flat_map(|role| [(role, 0), (role, 125), (role, 70_000)]) {
        let fits = wire(role.peer(), &[Frame::binary(vec![1; max])]);
        let read = reader(&fits, role).max_frame(max).read().await.unwrap().unwrap();
        assert_eq!(read.payload.len(), max);
        let over = wire(role.peer(), &[Frame::binary(vec![1; max + 1]), Frame::text("next")]);
        let mut reader = reader(&over, role).max_frame(max);
        for _ in 0..2 {
            match reader.read().await {
                Err(Error::Protocol(error)) => assert_eq!(error, ProtocolError::FrameTooBig { max }),
                other => panic!("{other:?}"),
            }
        }
        // In pieces it costs nothing to hold.
        let mut len = 0;
        while let Some(piece) = reader.piece().await.unwrap() {
            len += piece.len();
        }
        assert_eq!(len, max + 1);
        assert_eq!(reader.header().await.unwrap().unwrap().opcode, OpCode::Text);
    }
    // The whole header, without a byte of what it announces.
    let bytes = wire(Role::Server, &[Frame::binary(vec![1; 200])]);
    let read = reader(&bytes[..4], Role::Client).max_frame(199).read().await;
    assert!(matches!(read, Err(Error::Protocol(ProtocolError::FrameTooBig { max: 199 }))));
}

#[tokio::test(start_paused = true)]
async fn memory_follows_what_came_and_not_what_a_header_says() {
    let (ours, theirs) = pair(usize::MAX);
    let (reader, _writer) = over(ours, Role::Client);
    let mut reader = reader.max_frame(usize::MAX);
    let mut header = [0; MAX_HEADER];
    let announced = Header { fin: true, rsv1: false, opcode: OpCode::Binary, key: None, len: 1 << 40 };
    let length = announced.encode(&mut header);
    theirs.push(&header[..length]);
    let heap = Heap::now();
    assert!(reader.read().now_or_never().is_none());
    assert!(heap.peak() < 40 << 10, "{} bytes", heap.peak());
    for _ in 0..100 {
        theirs.push(&[7; 10_000]);
        assert!(reader.read().now_or_never().is_none());
    }
    assert!(heap.owned() < 3_500_000, "{} bytes", heap.owned());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_a_frame_holds_no_buffer() {
    let (ours, theirs) = pair(usize::MAX);
    let (mut reader, _writer) = over(ours, Role::Client);
    for frame in [Frame::text("short"), Frame::binary(vec![1; 100_000])] {
        theirs.push(&wire(Role::Server, std::slice::from_ref(&frame)));
        assert!(reader.read().await.unwrap().unwrap() == frame);
        assert!(reader.read().now_or_never().is_none());
    }
    assert_eq!(reader.into_parts().1.capacity(), 0);
}

#[tokio::test]
async fn a_frame_that_is_none_is_refused_and_leaves_nothing() {
    let long = vec![0; 126];
    let compressed = Frame { rsv1: true, ..Frame::text("x") };
    let wrong = [
        (Frame::ping(long.clone()), SendErrorKind::ControlTooLong),
        (Frame::pong(long.clone()), SendErrorKind::ControlTooLong),
        (Frame::new(OpCode::Close, long), SendErrorKind::ControlTooLong),
        (Frame::ping("x").unfinished(), SendErrorKind::ControlFragmented),
        (Frame::close(None).unfinished(), SendErrorKind::ControlFragmented),
        (compressed.clone(), SendErrorKind::ReservedBit),
    ];
    for role in ROLES {
        let mut writer = FrameWriter::new(Vec::new(), role);
        for (frame, kind) in &wrong {
            assert_eq!(writer.feed(frame).unwrap_err().kind(), *kind, "{frame:?}");
            match writer.write(frame).await {
                Err(Error::Send(error)) => assert_eq!(error.kind(), *kind, "{frame:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(writer.queued(), 0);
        let mut writer = writer.allow_rsv1(true);
        writer.write(&compressed).await.unwrap();
        let ping = Frame { rsv1: true, ..Frame::ping("x") };
        assert_eq!(writer.feed(&ping).unwrap_err().kind(), SendErrorKind::ReservedBit);
        let (wire, _) = writer.into_parts();
        let mut reader = reader(&wire, role.peer()).allow_rsv1(true);
        assert_eq!(reader.read().await.unwrap(), Some(compressed.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_a_frame_of_any_size_goes() {
    let (ours, theirs) = pair(1);
    let (_reader, writer) = over(ours, Role::Server);
    let mut writer = writer.max_queued(1_000);
    writer.feed(&Frame::binary(vec![1; 100_000])).unwrap();
    assert_eq!(writer.feed(&Frame::text("x")).unwrap_err().kind(), SendErrorKind::Full);
    assert!(matches!(writer.write(&Frame::text("x")).await, Err(Error::Send(_))));
    assert_eq!(writer.queued(), 100_010);
    let mut got = Vec::new();
    while writer.queued() >= 1_000 {
        let _ = writer.flush().now_or_never();
        got.extend(theirs.pull());
    }
    writer.feed(&Frame::text("y")).unwrap();
    while writer.queued() > 0 {
        let _ = writer.flush().now_or_never();
        got.extend(theirs.pull());
    }
    assert!(got == wire(Role::Server, &[Frame::binary(vec![1; 100_000]), Frame::text("y")]));
}

#[tokio::test]
async fn a_large_payload_is_neither_copied_nor_moved_out_of_order() {
    let payload = Bytes::from(vec![5; 1 << 20]);
    let sent = [Frame::text("before"), Frame::binary(payload), Frame::text("behind")];
    let mut writer = FrameWriter::new(tokio::io::sink(), Role::Server);
    let heap = Heap::now();
    for frame in &sent {
        writer.write(frame).await.unwrap();
    }
    assert!(heap.peak() < 20_000, "{} bytes", heap.peak());
    let mut writer = FrameWriter::new(Vec::new(), Role::Server).max_queued(usize::MAX);
    for frame in sent.iter().chain(&sent) {
        writer.feed(frame).unwrap();
    }
    writer.flush().await.unwrap();
    assert!(writer.into_parts().0 == wire(Role::Server, &sent).repeat(2));
}

#[tokio::test]
async fn a_close_has_a_body_that_can_be_read() {
    let body = CloseFrame::new(CloseCode::AWAY, "gone").unwrap();
    assert_eq!(Frame::close(body.clone()).close_body(), Ok(Some(body)));
    assert_eq!(&Frame::close(CloseFrame::from(CloseCode::NORMAL)).payload[..], b"\x03\xe8");
    assert_eq!(Frame::close(None).close_body(), Ok(None));
    let wrong: [(&[u8], ProtocolError); 3] = [
        (b"\x03", ProtocolError::ClosePayload),
        (b"\x03\xee", ProtocolError::CloseCode(1006)),
        (b"\x03\xe8ab\xff", ProtocolError::InvalidUtf8 { offset: 4 }),
    ];
    for (payload, error) in wrong {
        assert_eq!(Frame::new(OpCode::Close, payload.to_vec()).close_body(), Err(error));
    }
}

/// A stream that takes nothing, and does not say why.
struct Never;

impl AsyncWrite for Never {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_stream_are_told() {
    let (ours, theirs) = pair(usize::MAX);
    let (mut reader, mut writer) = over(ours, Role::Client);
    theirs.reset();
    assert!(matches!(reader.read().await, Err(Error::Io(_))));
    assert!(matches!(writer.write(&Frame::text("x")).await, Err(Error::Io(_))));
    let mut never = FrameWriter::new(Never, Role::Client);
    match never.write(&Frame::text("x")).await {
        Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::WriteZero),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_behind_the_handshake_is_read_first() {
    let sent = [Frame::text("one"), Frame::text("two")];
    let bytes = wire(Role::Client, &sent);
    for cut in 0..=bytes.len() {
        let mut reader = FrameReader::new(&bytes[cut..], Role::Server).with_input(&bytes[..cut]);
        for frame in &sent {
            assert_eq!(reader.read().await.unwrap().as_ref(), Some(frame));
        }
        assert_eq!(reader.read().await.unwrap(), None);
    }
}

/// The engine's socket at the other end echoes, over streams that are pending before every few bytes.
#[tokio::test(start_paused = true)]
async fn the_engine_understands_the_frames_and_is_understood() {
    for role in ROLES {
        for turns in [Turns::bytewise(), Turns::pieces(7), Turns::new([Turn::Bytes(usize::MAX)])] {
            let (ours, theirs) = pair(64);
            let engine = connection(role.peer(), Config::new());
            let mut socket = WebSocket::new(theirs, engine, &Options::new());
            let (mut reader, mut writer) = over(ours.buffered().reading(turns.clone()).writing(turns), role);
            let echo = async {
                let mut messages = Vec::new();
                while let Some(message) = socket.recv().await.unwrap() {
                    if message.is_data() {
                        socket.send(message.clone()).await.unwrap();
                    }
                    messages.push(message);
                }
                (messages, socket.close_status().unwrap())
            };
            let talk = async {
                writer.write(&Frame::text("hé").unfinished()).await.unwrap();
                writer.write(&Frame::ping("amid")).await.unwrap();
                writer.write(&Frame::new(OpCode::Continuation, "llo")).await.unwrap();
                assert_eq!(reader.read().await.unwrap(), Some(Frame::pong("amid")));
                assert_eq!(reader.read().await.unwrap(), Some(Frame::text("héllo")));
                let large = Frame::binary(vec![9; 20_000]);
                // The socket reads while this writes, and sends only then.
                writer.write(&large).await.unwrap();
                assert!(reader.read().await.unwrap() == Some(large));
                let bye = CloseFrame::new(CloseCode::NORMAL, "bye").unwrap();
                writer.write(&Frame::close(bye.clone())).await.unwrap();
                let answer = reader.read().await.unwrap().unwrap();
                assert_eq!(answer.opcode, OpCode::Close);
                assert_eq!(answer.close_body().unwrap().unwrap().code(), CloseCode::NORMAL);
                if role == Role::Server {
                    // RFC 6455 §7.1.1: the server ends the stream first.
                    writer.shutdown().await.unwrap();
                }
                assert_eq!(reader.read().await.unwrap(), None);
                writer.shutdown().await.unwrap();
                bye
            };
            let ((messages, status), bye) = ends(async { tokio::join!(echo, talk) }).await;
            assert!(status.clean);
            let expected = [
                Message::Ping(Bytes::from("amid")),
                Message::text("héllo"),
                Message::binary(vec![9; 20_000]),
                Message::Close(Some(bye)),
            ];
            assert!(messages == expected, "{role:?}: {} messages", messages.len());
        }
    }
}
