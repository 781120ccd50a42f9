//! Work that grows with the input and not with its square: instructions, counted by valgrind, which says the same each
//! time and on every machine. No clock can be trusted to, and bytes that are looked at twice leave no other trace.
//!
//! A run of the test binary under callgrind does each case with three lengths, N, 2N and 3N. The step from the second to
//! the third has to take what the step from the first to the second takes: where the square of the length rules, it
//! takes 5/3 of it. What does not depend on the length is in neither.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use bytes::Buf;
use taut::proto::frame::OpCode;
use taut::proto::handshake::{ClientHandshake, ClientRequest, ServerHandshake};
use taut::proto::{Config, Connection, Delivery, HandshakeLimits, Role};

use crate::bits::Bits;
use crate::heads::{Head, NONCE};
use crate::support::{connection, frame};
use crate::{DELIVERIES, ROLES, compressing};

/// Set in the process that is counted.
const COUNTED: &str = "TAUT_COUNTED";

/// A name, the first length, and the work.
type Case = (String, usize, Box<dyn Fn(usize)>);

#[test]
#[ignore = "needs valgrind: cargo test --features testing --test advisories instructions_grow -- --ignored"]
fn instructions_grow_with_the_input() {
    let folder = std::env::temp_dir().join(format!("taut-instructions-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*begins_another_count*"])
        .arg(format!("--callgrind-out-file={}", folder.join("count").display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "linear::in_a_process_that_is_counted", "--test-threads=1"])
        .env(COUNTED, "yes")
        // One instruction that moves many bytes would count as many.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.x86_rep_stosb_threshold=1073741824:glibc.cpu.x86_rep_movsb_threshold=1073741824",
        )
        .output()
        .expect("valgrind is not installed");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    // The first dump is what came before all cases.
    let counts: Vec<u64> = (2..).map_while(|number| total(&folder.join(format!("count.{number}")))).collect();
    fs::remove_dir_all(&folder).unwrap();

    let cases = cases();
    assert_eq!(counts.len(), cases.len() * RUNS, "a dump for each run of each case");
    let mut wrong = Vec::new();
    for ((name, length, _), counts) in cases.iter().zip(counts.chunks(RUNS)) {
        let [_, once, twice, thrice] = counts else { unreachable!() };
        let (first, second) = (twice.saturating_sub(*once), thrice.saturating_sub(*twice));
        let each = [first, second].map(|step| step / *length as u64);
        println!("{name}: {} instructions for each, and {} of the last {length}", each[0], each[1]);
        if first < *length as u64 || second as f64 > first as f64 * 1.2 {
            wrong.push(format!("{name}: {once}, {twice}, {thrice}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One that is not looked at, since the first of everything takes more, and one for each length.
const RUNS: usize = 4;

/// The instructions in a dump.
fn total(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    Some(line.unwrap().trim().parse().unwrap())
}

/// Does nothing unless [`instructions_grow_with_the_input`] asks for it.
#[test]
fn in_a_process_that_is_counted() {
    if std::env::var_os(COUNTED).is_none() {
        return;
    }
    for (_, length, work) in cases() {
        for times in [1, 1, 2, 3] {
            begins_another_count();
            work(length * times);
        }
    }
    begins_another_count();
}

#[inline(never)]
fn begins_another_count() {
    black_box(());
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name: String, length, work: Box<dyn Fn(usize)>| cases.push((name, length, work));
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        let name = |what: &str| format!("{what}, {role:?}, {delivery:?}");
        add(name("fragments"), 1000, Box::new(move |count| fragments(role, delivery, count)));
        add(
            name("compressed fragments"),
            500,
            Box::new(move |count| compressed_fragments(role, delivery, count)),
        );
        add(name("bytes of a text"), 1500, Box::new(move |count| bytes_of_a_text(role, delivery, count)));
    }
    for role in ROLES {
        add(
            format!("frames in one read, {role:?}"),
            1000,
            Box::new(move |count| frames_in_one_read(role, count)),
        );
        add(format!("pings, {role:?}"), 1000, Box::new(move |count| pings(role, count)));
        add(format!("bytes taken, {role:?}"), 1500, Box::new(move |count| bytes_taken(role, count)));
    }
    add("bytes of a request".into(), 3000, Box::new(|count| server_takes(&long_request(count), 1)));
    add("bytes of an answer".into(), 3000, Box::new(|count| client_takes(&long_answer(count), 1)));
    add(
        "fields of a request".into(),
        300,
        Box::new(|count| server_takes(&many_fields(Head::request(), count), 64)),
    );
    add(
        "fields of an answer".into(),
        300,
        Box::new(|count| client_takes(&many_fields(Head::answer(), count), 64)),
    );
    add("chunks of a refusal".into(), 500, Box::new(|count| client_takes(&refusal(count), 6)));
    for (field, prefix, unit) in VALUES {
        let name = format!("{field}: {prefix}{unit}{unit}…");
        let request =
            move |count| Head::request().set(field, format!("{prefix}{}", unit.repeat(count))).bytes();
        add(name.clone(), 2000, Box::new(move |count| server_takes(&request(count), usize::MAX)));
        let answer =
            move |count| Head::answer().set(field, format!("{prefix}{}", unit.repeat(count))).bytes();
        add(name + ", Client", 2000, Box::new(move |count| client_takes(&answer(count), usize::MAX)));
    }
    let names = |count: usize| (0..count).map(|number| format!("{number},")).collect::<String>();
    let offered = move |count| Head::request().set("Sec-WebSocket-Protocol", names(count)).bytes();
    add("offered subprotocols".into(), 500, Box::new(move |count| server_takes(&offered(count), usize::MAX)));
    cases
}

/// What comes in a field, again and again, behind what.
const VALUES: [(&str, &str, &str); 12] = [
    ("Sec-WebSocket-Protocol", "", " "),
    ("Sec-WebSocket-Protocol", "", ","),
    ("Sec-WebSocket-Protocol", "a", ", "),
    ("Sec-WebSocket-Extensions", "", " "),
    ("Sec-WebSocket-Extensions", "", ","),
    ("Sec-WebSocket-Extensions", "a;b=", "\""),
    ("Sec-WebSocket-Extensions", "a;b=\"", "x"),
    ("Sec-WebSocket-Extensions", "a;b=\"", "\\"),
    ("Sec-WebSocket-Extensions", "a;b=\"", "\\\\a"),
    ("Sec-WebSocket-Extensions", "a", ";a"),
    ("Sec-WebSocket-Key", "", " "),
    ("Connection", "", ", "),
];

const fn no_limits(delivery: Delivery) -> Config {
    Config::new().delivery(delivery).max_fragments(u32::MAX).max_queued(usize::MAX)
}

fn take_all(connection: &mut Connection) -> usize {
    let mut count = 0;
    while connection.next_event_ref().unwrap().is_some() {
        count += 1;
    }
    count
}

/// Each in a read of its own; large enough that looking at what is there already would show.
fn fragments(role: Role, delivery: Delivery, count: usize) {
    let mut connection = connection(role, no_limits(delivery));
    connection.feed(&frame(role.peer(), false, OpCode::Text, b"x"));
    let next = frame(role.peer(), false, OpCode::Continuation, &[b'x'; 100]);
    for _ in 0..count {
        connection.feed(&next);
        take_all(&mut connection);
    }
}

fn compressed_fragments(role: Role, delivery: Delivery, count: usize) {
    let mut connection = compressing(role, no_limits(delivery));
    let block = Bits::default().stored(false, &[b'x'; 100]).bytes();
    let mut first = frame(role.peer(), false, OpCode::Text, &block);
    first[0] |= 0x40;
    connection.feed(&first);
    let next = frame(role.peer(), false, OpCode::Continuation, &block);
    for _ in 0..count {
        connection.feed(&next);
        take_all(&mut connection);
    }
}

fn bytes_of_a_text(role: Role, delivery: Delivery, count: usize) {
    let mut connection = connection(role, no_limits(delivery));
    let wire = frame(role.peer(), true, OpCode::Text, "\u{20ac}".repeat(count / 3 * 2).as_bytes());
    for byte in &wire[..count] {
        connection.feed(&[*byte]);
        take_all(&mut connection);
    }
}

fn frames_in_one_read(role: Role, count: usize) {
    let mut connection = connection(role, Config::new());
    connection.feed(&frame(role.peer(), true, OpCode::Binary, &[7; 50]).repeat(count));
    assert_eq!(take_all(&mut connection), count);
}

fn pings(role: Role, count: usize) {
    let mut connection = connection(role, Config::new());
    let ping = frame(role.peer(), true, OpCode::Ping, &[7; 125]);
    for _ in 0..count {
        connection.feed(&ping);
        assert_eq!(take_all(&mut connection), 1);
    }
}

/// By a peer that takes one byte at a time, of messages that wait behind each other.
fn bytes_taken(role: Role, count: usize) {
    let mut connection = connection(role, no_limits(Delivery::Whole));
    for _ in 0..count / 10 {
        connection.send_binary(&[7; 100]).unwrap();
    }
    for _ in 0..count {
        connection.output().advance(1);
    }
}

fn limits() -> HandshakeLimits {
    HandshakeLimits::new().max_head(usize::MAX).max_fields(usize::MAX)
}

/// The request comes in pieces; whether it is accepted does not matter.
fn server_takes(request: &[u8], piece: usize) {
    let mut server = ServerHandshake::with_limits(limits());
    for piece in request.chunks(piece) {
        server.input().extend_from_slice(piece);
        if !matches!(server.poll(), Ok(None)) {
            return;
        }
    }
    panic!("no decision");
}

fn client_takes(answer: &[u8], piece: usize) {
    let request = ClientRequest::new("server.example.com", "/chat").unwrap();
    let mut client = ClientHandshake::with_limits(&request, NONCE, limits());
    let output = client.output();
    output.advance(output.remaining());
    for piece in answer.chunks(piece) {
        client.input().extend_from_slice(piece);
        if !matches!(client.poll(), Ok(None)) {
            return;
        }
    }
    panic!("no decision");
}

fn long_request(count: usize) -> Vec<u8> {
    Head::request().and("X-Long", "x".repeat(count)).bytes()
}

fn long_answer(count: usize) -> Vec<u8> {
    Head::answer().and("X-Long", "x".repeat(count)).bytes()
}

fn many_fields(mut head: Head, count: usize) -> Vec<u8> {
    for _ in 0..count {
        head = head.and("X-Field", "a value");
    }
    head.bytes()
}

fn refusal(count: usize) -> Vec<u8> {
    let head = Head::new("HTTP/1.1 403 No", &[("Transfer-Encoding", "chunked")]).bytes();
    [head, "1\r\nx\r\n".repeat(count).into(), b"0\r\n\r\n".into()].concat()
}
