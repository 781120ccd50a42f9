//! The suite against two servers: taut's example, which has to pass, and one that checks nothing, which has to fail.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use clap::Parser;
use taut_attack::{Kind, Report, Settings, Verdict, attack, cases, list};

/// On the busiest machine; what passes does not wait for it.
const PATIENCE: &str = "30";

mod every_case {
    use super::*;

    #[test]
    fn has_a_name_of_its_own_that_can_be_searched_for() {
        let mut names = BTreeSet::new();
        for (_, case) in cases() {
            let name = case.name;
            let plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            assert!(plain && name.len() >= 4, "{name}");
            assert!(names.insert(name), "{name} twice");
        }
        assert!(names.len() >= 100, "{} cases", names.len());
    }

    #[test]
    fn has_a_rule_and_says_what_it_does() {
        for (group, case) in cases() {
            assert!(case.source.len() > 3 && case.words.len() > 10, "the rule of {}", case.name);
            assert!(case.does.len() > 3, "what {} does", case.name);
            assert!(!group.is_empty());
            if case.kind == Kind::Must && case.memory.is_none() {
                assert!(
                    case.source.contains("RFC") || case.source.len() > 5,
                    "who says that {} must",
                    case.name
                );
            }
        }
    }

    #[test]
    fn is_in_the_list_with_its_rule_once() {
        let list = list();
        for (_, case) in cases() {
            let lines = list.lines().filter(|line| line.split_whitespace().next() == Some(case.name));
            assert_eq!(lines.count(), 1, "{}", case.name);
            assert!(list.contains(&case.rule()), "the rule of {}", case.name);
        }
        assert!(list.ends_with(&format!("{} cases\n", cases().count())));
    }

    #[test]
    fn is_printed_by_the_program() {
        let printed = Command::new(env!("CARGO_BIN_EXE_taut-attack")).arg("--list").output().unwrap();
        assert!(printed.status.success());
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), list());
    }
}

mod against_taut {
    use super::*;

    #[test]
    fn every_case_passes_that_does_not_wait() {
        let server = Server::start(&[]);
        let report = server.attacked(&[]);
        assert_eq!(failures(&report), Vec::<String>::new());
        let passed = report.count(Verdict::Passed, None);
        assert!(passed > 200, "{passed} passed:\n{}", report.table());
        assert!(report.outcomes.iter().all(|outcome| outcome.group == "compression" || !needed(outcome)));
    }

    #[test]
    fn every_case_passes_with_compression() {
        let server = Server::start(&["--deflate"]);
        let report = server.attacked(&["--group", "compression", "--group", "reserved"]);
        assert_eq!(failures(&report), Vec::<String>::new());
        assert_eq!(report.count(Verdict::Skipped, None), 0, "{}", report.table());
    }

    /// Whether it was skipped for a reason that could be helped.
    fn needed(outcome: &taut_attack::Outcome) -> bool {
        outcome.verdict == Verdict::Skipped && outcome.name != "more_connections_than_files"
    }
}

mod against_a_server_that_checks_nothing {
    use super::*;

    #[test]
    fn the_cases_fail_that_have_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || weak(stream));
            }
        });
        let groups = [
            "smuggling",
            "handshake",
            "masks",
            "lengths",
            "reserved",
            "control",
            "fragments",
            "utf8",
            "close",
        ];
        let groups = groups.iter().flat_map(|group| ["--group", group]);
        // What would send it hundreds of mebibytes.
        let without = ["fragment_flood", "fragments_without", "frame_without", "reassembly", "slow_reads"];
        let without = without.iter().flat_map(|name| ["--without", name]);
        // It hangs where it should have failed, and then the time is the attacker's.
        let arguments =
            ["taut-attack", &url, "--quick", "--patience", "0.3"].into_iter().chain(groups).chain(without);
        let report = attack(&Settings::parse_from(arguments), |_| {}).unwrap();

        let failed: BTreeSet<_> = failed(&report).collect();
        let missed: Vec<_> = EXPECTED.iter().filter(|name| !failed.contains(**name)).collect();
        assert!(missed.is_empty(), "not found: {missed:?}\n{}", report.table());
        // It does what is right, too, and that is not held against it.
        let wronged: Vec<_> = RIGHT.iter().filter(|name| failed.contains(**name)).collect();
        assert!(wronged.is_empty(), "wronged: {wronged:?}\n{}", report.table());
    }

    #[test]
    fn the_program_tells_by_its_exit_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || weak(stream));
            }
        });
        let status = |arguments: &[&str]| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_taut-attack"));
            program.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
        };
        assert_eq!(status(&[&url, "--only", "masked_with_zeros"]), Some(0));
        assert_eq!(status(&[&url, "--only", "unmasked_text"]), Some(1));
        assert_eq!(status(&[&url, "--only", "there_is_none"]), Some(2));
        assert_eq!(status(&["ws://127.0.0.1:1"]), Some(2));
    }

    const EXPECTED: [&str; 23] = [
        "content_length_body_is_no_frame",
        "transfer_encoding_body_is_no_frame",
        "space_before_colon",
        "host_missing",
        "method_post",
        "http_1_0",
        "key_twice",
        "version_777",
        "refused_version_tells_versions",
        "unmasked_text",
        "unmasked_ping",
        "length_5_in_64_bits",
        "length_2_63_minus_1",
        "rsv1_without_agreement",
        "rsv2",
        "opcode_3",
        "ping_126_bytes",
        "ping_fragment",
        "continuation_without_start",
        "text_amid_text",
        "utf8_surrogate",
        "close_code_1005",
        "close_reason_is_not_utf8",
    ];

    const RIGHT: [&str; 8] = [
        "connection_list",
        "names_in_any_case",
        "masked_with_zeros",
        "server_never_masks",
        "length_boundaries",
        "ping_of_125_bytes_is_answered",
        "close_is_answered",
        "fragments_1000",
    ];

    /// Takes any request that has a key, and sends back every frame, a ping as a pong.
    fn weak(mut stream: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        // The answer to the one key that the attacker has, whatever it sent.
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).ok()?;
        let mut message = Vec::new();
        loop {
            let mut header = [0; 2];
            stream.read_exact(&mut header).ok()?;
            let length = match header[1] & 0x7f {
                126 => {
                    let mut length = [0; 2];
                    stream.read_exact(&mut length).ok()?;
                    u64::from(u16::from_be_bytes(length))
                }
                127 => {
                    let mut length = [0; 8];
                    stream.read_exact(&mut length).ok()?;
                    u64::from_be_bytes(length)
                }
                short => u64::from(short),
            };
            let mut mask = [0; 4];
            if header[1] & 0x80 != 0 {
                stream.read_exact(&mut mask).ok()?;
            }
            let mut payload = Vec::new();
            (&mut stream).take(length).read_to_end(&mut payload).ok()?;
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            match header[0] & 0xf {
                9 => send(&mut stream, 0x8a, &payload)?,
                8 => return send(&mut stream, 0x88, &payload),
                10 => {}
                opcode => {
                    message.extend(payload);
                    if header[0] & 0x80 != 0 {
                        let opcode = if opcode == 0 { 2 } else { opcode };
                        send(&mut stream, 0x80 | opcode, &message)?;
                        message.clear();
                    }
                }
            }
        }
    }

    fn send(stream: &mut TcpStream, first: u8, payload: &[u8]) -> Option<()> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(short as u8),
            middle @ 126..=0xffff => {
                frame.push(126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        stream.write_all(&frame).ok()
    }
}

fn failed(report: &Report) -> impl Iterator<Item = &'static str> {
    let failed = report.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed);
    failed.map(|outcome| outcome.name)
}

fn failures(report: &Report) -> Vec<String> {
    let failed = report.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed);
    failed.map(|outcome| format!("{}: {}", outcome.name, outcome.detail)).collect()
}

/// taut's example, on a port that was free.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(built())
            .args(flags)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    fn attacked(&self, more: &[&str]) -> Report {
        let url = format!("ws://{}", self.address);
        let pid = self.child.id().to_string();
        let arguments =
            ["taut-attack", &url, "--quick", "--pid", &pid, "--patience", PATIENCE, "--connections", "500"];
        let settings = Settings::parse_from(arguments.iter().chain(more));
        attack(&settings, |_| {}).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of the example, which is built if it is not.
fn built() -> String {
    let arguments = ["build", "--package", "taut", "--example", "echo_server", "--message-format", "json"];
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut cargo = Command::new(env!("CARGO"));
    let built = cargo.args(arguments).current_dir(root).stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "the example cannot be built");
    let messages = String::from_utf8(built.stdout).unwrap();
    let mut paths = messages.lines().filter(|line| line.contains("\"executable\":\""));
    let line = paths.next_back().expect("cargo tells where it put the example");
    let (_, rest) = line.split_once("\"executable\":\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}
