//! The closing handshake, exhaustively: every state that the public API can tell apart, under every input,
//! against the committed table `closing.txt` (`TAUT_BLESS=1` writes it anew), and rules that hold in all of
//! them (RFC 6455 §5.5.1, §7.1).
//!
//! A message fills the queue here (`max_queued` is 1), so that there are finitely many states.

mod support;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::path::Path;

use bytes::Buf;
use support::{connection, drain, frame};
use taut::proto::frame::{Header, OpCode};
use taut::proto::{CloseCode, Config, Connection, Event, Message, ProtocolError, Role, State};

/// What can happen to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Send,
    Close,
    PeerClose,
    PeerEmptyClose,
    PeerText,
    PeerPing,
    PeerViolation,
    End,
    Written,
    /// Half of the frame at the front, or the other half.
    Half,
    /// The transport takes no more bytes.
    Lost,
}

const INPUTS: [(Input, &str); 11] = [
    (Input::Send, "send"),
    (Input::Close, "close"),
    (Input::PeerClose, "Close"),
    (Input::PeerEmptyClose, "empty"),
    (Input::PeerText, "Text"),
    (Input::PeerPing, "Ping"),
    (Input::PeerViolation, "wrong"),
    (Input::End, "end"),
    (Input::Written, "all"),
    (Input::Half, "half"),
    (Input::Lost, "lost"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    role: Role,
    auto_close: bool,
    /// Whether events are borrowed. The table must not depend on it.
    borrowed: bool,
}

const VARIANTS: [Variant; 4] = [
    Variant { role: Role::Server, auto_close: true, borrowed: false },
    Variant { role: Role::Client, auto_close: true, borrowed: false },
    Variant { role: Role::Server, auto_close: false, borrowed: false },
    Variant { role: Role::Client, auto_close: false, borrowed: false },
];

/// All that a connection tells of itself, in words or on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    state: State,
    wants_input: bool,
    wants_output: bool,
    wants_shutdown: bool,
    wants_discard: bool,
    status: Option<(u16, bool)>,
    /// "ok", or why a message is refused.
    send: String,
    /// Whether our Close is queued or written.
    close_sent: bool,
    /// The frames that wait; the first may be written in part.
    queue: Vec<String>,
    /// What the application itself has said.
    ended: bool,
    lost: bool,
}

/// A connection after a path of inputs, and what happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reached {
    key: Key,
    /// The events of the whole path, one list for each input.
    events: Vec<Vec<String>>,
    /// All frames that were queued and not dropped, in the order of the wire.
    frames: Vec<String>,
}

impl Key {
    /// Whether this can happen here: nothing comes from the peer after the end, nothing is written after a loss.
    const fn takes(&self, input: Input) -> bool {
        match input {
            Input::PeerClose
            | Input::PeerEmptyClose
            | Input::PeerText
            | Input::PeerPing
            | Input::PeerViolation => !self.ended,
            Input::Written | Input::Half => !self.lost,
            Input::Send | Input::Close | Input::End | Input::Lost => true,
        }
    }
}

/// A connection that is driven along a path.
struct Driven {
    connection: Connection,
    variant: Variant,
    written: Vec<u8>,
    /// What is left of a frame that is written by half.
    rest: usize,
    /// How much had been written when the transport stopped to take bytes.
    lost: Option<usize>,
    error: Option<ProtocolError>,
    ended: bool,
}

impl Driven {
    fn new(variant: Variant) -> Self {
        let config = Config::new().auto_close(variant.auto_close).max_queued(1);
        Self {
            connection: connection(variant.role, config),
            variant,
            written: Vec::new(),
            rest: 0,
            lost: None,
            error: None,
            ended: false,
        }
    }

    /// Takes all events after each input.
    fn along(variant: Variant, path: &[Input]) -> (Self, Vec<Vec<String>>) {
        let mut driven = Self::new(variant);
        let events = path
            .iter()
            .map(|&input| {
                driven.apply(input);
                driven.take_events()
            })
            .collect();
        (driven, events)
    }

    fn apply(&mut self, input: Input) {
        let peer = self.variant.role.peer();
        match input {
            Input::Send => {
                let _ = self.connection.send_text("data");
            }
            Input::Close => self.connection.close(Some(CloseCode::NORMAL.into())),
            Input::PeerClose => {
                self.connection.feed(&frame(peer, true, OpCode::Close, &1001_u16.to_be_bytes()));
            }
            Input::PeerEmptyClose => self.connection.feed(&frame(peer, true, OpCode::Close, b"")),
            Input::PeerText => self.connection.feed(&frame(peer, true, OpCode::Text, b"text")),
            Input::PeerPing => self.connection.feed(&frame(peer, true, OpCode::Ping, b"ping")),
            Input::PeerViolation => {
                let mut bytes = frame(peer, true, OpCode::Text, b"text");
                bytes[0] = bytes[0] & 0xF0 | 3;
                self.connection.feed(&bytes);
            }
            Input::End => {
                self.connection.input_eof();
                self.ended = true;
                assert!(!self.connection.wants_input() && !self.connection.wants_discard());
            }
            Input::Written => {
                while self.connection.wants_output() {
                    self.written.extend(drain(&mut self.connection));
                }
                self.rest = 0;
            }
            Input::Half => self.write_half(),
            Input::Lost => {
                self.connection.output_lost();
                self.rest = 0;
                self.lost = Some(self.written.len());
            }
        }
    }

    fn write_half(&mut self) {
        let output = self.connection.output();
        let mut count = self.rest;
        if count == 0 && !output.is_empty() {
            let (header, length) = Header::decode(output.chunk(), self.variant.role).unwrap().unwrap();
            let whole = length + header.len as usize;
            count = whole / 2;
            self.rest = whole - count;
        } else {
            self.rest = 0;
        }
        let mut bytes = vec![0; count];
        output.copy_to_slice(&mut bytes);
        self.written.extend(bytes);
        // What remains is looked at for the next write, and a pong that waited behind another moves up.
        self.connection.output();
    }

    fn take_events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let event = if self.variant.borrowed {
                self.connection.next_event_ref().map(|event| event.map(|event| event.to_event()))
            } else {
                self.connection.next_event()
            };
            match event {
                Ok(None) => {
                    assert_eq!(self.error, None, "an error is final");
                    return events;
                }
                Ok(Some(event)) => {
                    assert_eq!(self.error, None, "an event after the error");
                    events.push(event_name(&event));
                }
                Err(error) => {
                    match self.error {
                        None => events.push(format!("error {}", error.close_code())),
                        Some(first) => assert_eq!(first, error, "an error is final"),
                    }
                    self.error = Some(error);
                    assert_eq!(self.connection.next_event(), Err(error), "an error is final");
                    return events;
                }
            }
        }
    }
}

fn event_name(event: &Event) -> String {
    match event {
        Event::Message(Message::Text(_)) => "Text".into(),
        Event::Message(Message::Ping(_)) => "Ping".into(),
        Event::Message(Message::Close(Some(frame))) => format!("Close {}", frame.code()),
        Event::Message(Message::Close(None)) => "Close".into(),
        other => panic!("no peer sent {other:?}"),
    }
}

/// Frames as text, and whether bytes of a further one follow.
fn decode(bytes: &[u8], from: Role) -> (Vec<String>, bool) {
    let mut frames = Vec::new();
    let mut start = 0;
    while let Some((header, length)) = Header::decode(&bytes[start..], from).unwrap() {
        let payload = start + length..start + length + header.len as usize;
        if payload.end > bytes.len() {
            break;
        }
        let key = header.key.unwrap_or([0; 4]);
        let payload_bytes: Vec<u8> =
            bytes[payload.clone()].iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        frames.push(match (header.opcode, &payload_bytes[..]) {
            (OpCode::Close, [a, b, ..]) => format!("Close {}", u16::from_be_bytes([*a, *b])),
            (opcode, _) => format!("{opcode:?}"),
        });
        start = payload.end;
    }
    (frames, start < bytes.len())
}

/// A frame without the code of a Close, which follows from the way to a state and decides nothing.
fn opcode(frame: &str) -> String {
    frame.split(' ').next().unwrap_or_default().into()
}

fn answers(connection: &Connection) -> (State, [bool; 4], Option<(u16, bool)>) {
    let wants = [
        connection.wants_input(),
        connection.wants_output(),
        connection.wants_shutdown(),
        connection.wants_discard(),
    ];
    (connection.state(), wants, connection.close_status().map(|status| (status.code, status.clean)))
}

/// Drives a fresh connection along the path and asks it everything.
fn reach(variant: Variant, path: &[Input]) -> Reached {
    look(path, || Driven::along(variant, path))
}

/// As `reach`, but the events of the last input are taken only once the end of input was noted.
fn reach_end_first(variant: Variant, path: &[Input]) -> Reached {
    look(path, || {
        let (last, before) = path.split_last().unwrap();
        let (mut driven, mut events) = Driven::along(variant, before);
        driven.apply(*last);
        // Calls that do nothing; an adapter may be at any point of its loop.
        driven.connection.output();
        driven.apply(Input::End);
        driven.connection.output();
        driven.connection.halves();
        events.push(driven.take_events());
        (driven, events)
    })
}

/// Asks a connection everything; `drive` makes one, the same each time.
fn look(path: &[Input], drive: impl Fn() -> (Driven, Vec<Vec<String>>)) -> Reached {
    let (mut asked, _) = drive();
    let variant = asked.variant;
    let refusal = asked.connection.refusal();
    let sent = asked.connection.send_text("data").err().map(|error| error.kind());
    assert_eq!(refusal, sent, "{variant:?} {path:?}: what `refusal` says, and `send`");
    let send = sent.map_or("ok".into(), |kind| format!("{kind:?}"));

    let (mut driven, events) = drive();
    let before = answers(&driven.connection);
    let (state, [wants_input, wants_output, wants_shutdown, wants_discard], status) = {
        // What the protocol demands is given at the next call; until then it counts as output.
        driven.connection.halves();
        answers(&driven.connection)
    };
    let after = answers(&driven.connection);
    let owed = before.1[1];
    assert!(
        owed || before == after,
        "{variant:?} {path:?}: a call that does nothing changed {before:?} to {after:?}"
    );

    // A frame that was cut by the loss of the transport is gone; what is queued then begins anew.
    let (before_loss, since) = driven.written.split_at(driven.lost.unwrap_or(0));
    let (lost, _) = decode(before_loss, variant.role);
    let (written, begun) = decode(since, variant.role);
    let mut wire = since.to_vec();
    while driven.connection.wants_output() {
        wire.extend(drain(&mut driven.connection));
    }
    let (frames, cut) = decode(&wire, variant.role);
    assert!(!cut, "{variant:?} {path:?}: half a frame was queued: {wire:x?}");
    let mut queue: Vec<String> = frames[written.len()..].iter().map(|frame| opcode(frame)).collect();
    if begun {
        queue[0].insert(0, '½');
    }
    let frames = [lost, frames].concat();
    let close_sent = frames.iter().any(|frame| frame.starts_with("Close"));
    let key = Key {
        state,
        wants_input,
        wants_output,
        wants_shutdown,
        wants_discard,
        status,
        send,
        close_sent,
        queue,
        ended: driven.ended,
        lost: driven.lost.is_some(),
    };
    Reached { key, events, frames }
}

/// Where an input leads, what the application sees of it, what was queued or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    to: usize,
    events: Vec<String>,
    queued: Vec<String>,
    dropped: Vec<String>,
}

struct Table {
    /// The first path to each state, and what is there.
    states: Vec<(Vec<Input>, Reached)>,
    /// For each state, in the order of [`INPUTS`]; `None` for what cannot happen there.
    edges: Vec<Vec<Option<Edge>>>,
}

impl Table {
    fn numbers(&self) -> HashMap<Key, usize> {
        self.states.iter().enumerate().map(|(number, (_, reached))| (reached.key.clone(), number)).collect()
    }
}

fn edge(numbers: &HashMap<Key, usize>, before: &Reached, after: &Reached) -> Option<Edge> {
    Some(Edge {
        to: *numbers.get(&after.key)?,
        events: after.events.last().unwrap().clone(),
        queued: difference(&after.frames, &before.frames),
        dropped: difference(&before.frames, &after.frames).iter().map(|frame| opcode(frame)).collect(),
    })
}

/// What `all` has beyond `less`, each as often.
fn difference(all: &[String], less: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for name in less {
        *counts.entry(name).or_default() += 1;
    }
    let mut rest = Vec::new();
    for name in all {
        match counts.get_mut(name) {
            Some(count) if *count > 0 => *count -= 1,
            _ => rest.push(name.clone()),
        }
    }
    rest
}

fn then(path: &[Input], input: Input) -> Vec<Input> {
    [path, &[input]].concat()
}

/// Breadth-first from a fresh connection.
fn explore(variant: Variant) -> Table {
    let start = reach(variant, &[]);
    let mut numbers = HashMap::from([(start.key.clone(), 0)]);
    let mut table = Table { states: vec![(Vec::new(), start)], edges: Vec::new() };
    let mut open = VecDeque::from([0]);
    while let Some(number) = open.pop_front() {
        let (path, before) = table.states[number].clone();
        let mut edges = Vec::new();
        for (input, _) in INPUTS {
            if !before.key.takes(input) {
                edges.push(None);
                continue;
            }
            let path = then(&path, input);
            let after = reach(variant, &path);
            if !numbers.contains_key(&after.key) {
                let next = table.states.len();
                assert!(next < 1000, "the states do not end: {:?}", after.key);
                numbers.insert(after.key.clone(), next);
                table.states.push((path, after.clone()));
                open.push_back(next);
            }
            edges.push(edge(&numbers, &before, &after));
        }
        table.edges.push(edges);
    }
    table
}

fn yes(answer: bool) -> &'static str {
    if answer { "yes" } else { "-" }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

fn print(variant: Variant, table: &Table, out: &mut String) {
    let auto_close = if variant.auto_close { "on" } else { "off" };
    writeln!(out, "{:?}, auto_close {auto_close}\n", variant.role).unwrap();
    print_states(table, out);
    print_inputs(table, out);
}

/// A line for each state: its answers, and the state to which each input leads.
fn print_states(table: &Table, out: &mut String) {
    write!(out, "  #  state    in   out  shut disc send    status           sent ").unwrap();
    for (_, name) in INPUTS {
        write!(out, "{name:>6}").unwrap();
    }
    out.push_str("  queue\n");
    for (number, (_, reached)) in table.states.iter().enumerate() {
        let key = &reached.key;
        let status = match key.status {
            None => "-".into(),
            Some((code, clean)) => format!("{code} {}", if clean { "clean" } else { "not clean" }),
        };
        write!(
            out,
            "{number:>3}  {:<9}{:<5}{:<5}{:<5}{:<5}{:<8}{status:<17}{:<5}",
            format!("{:?}", key.state),
            yes(key.wants_input),
            yes(key.wants_output),
            yes(key.wants_shutdown),
            yes(key.wants_discard),
            key.send,
            yes(key.close_sent),
        )
        .unwrap();
        for edge in &table.edges[number] {
            let cell = match edge {
                None => String::new(),
                Some(edge) if edge.to == number => ".".into(),
                Some(edge) => edge.to.to_string(),
            };
            write!(out, "{cell:>6}").unwrap();
        }
        writeln!(out, "  {}", list(&key.queue)).unwrap();
    }
}

/// For each input: what comes of it, and the states in which it does.
fn print_inputs(table: &Table, out: &mut String) {
    for (column, (_, name)) in INPUTS.iter().enumerate() {
        let mut outcomes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, edges) in table.edges.iter().enumerate() {
            let Some(edge) = &edges[column] else { continue };
            let dropped = match &edge.dropped[..] {
                [] => String::new(),
                names => format!(", dropped {}", names.join(", ")),
            };
            let outcome = format!("event {}, queued {}{dropped}", list(&edge.events), list(&edge.queued));
            outcomes.entry(outcome).or_default().push(number);
        }
        writeln!(out, "\n{name}").unwrap();
        for (outcome, states) in outcomes {
            writeln!(out, "  {outcome}; in {}", ranges(&states)).unwrap();
        }
    }
    out.push('\n');
}

/// "1-3 7 9-10".
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_is_the_committed_one() {
    let mut dump = String::from(HEADER);
    for variant in VARIANTS {
        print(variant, &explore(variant), &mut dump);
    }
    let dump = format!("{}\n", dump.trim_end());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/closing.txt");
    if std::env::var_os("TAUT_BLESS").is_some() {
        std::fs::write(&file, &dump).unwrap();
    }
    let committed = std::fs::read_to_string(&file).expect("TAUT_BLESS=1 writes the table");
    for (number, (is, was)) in dump.lines().zip(committed.lines()).enumerate() {
        assert_eq!(is, was, "line {} of closing.txt; TAUT_BLESS=1 writes the table anew", number + 1);
    }
    assert_eq!(dump, committed, "one table is longer; TAUT_BLESS=1 writes it anew");
}

/// What is visible decides what happens: all ways into a state lead on in the same way.
#[test]
fn states_hide_nothing() {
    let mut wrong = Vec::new();
    for variant in VARIANTS {
        let table = explore(variant);
        let numbers = table.numbers();
        for ((path, _), edges) in table.states.iter().zip(&table.edges) {
            for ((first, _), to) in INPUTS.iter().zip(edges) {
                let Some(Edge { to, .. }) = to else { continue };
                let path = then(path, *first);
                let before = reach(variant, &path);
                for ((second, _), expected) in INPUTS.iter().zip(&table.edges[*to]) {
                    if !before.key.takes(*second) {
                        continue;
                    }
                    let path = then(&path, *second);
                    let after = reach(variant, &path);
                    if edge(&numbers, &before, &after) != *expected {
                        wrong.push((path, variant, after.key));
                    }
                }
            }
        }
    }
    wrong.sort_by_key(|(path, ..)| path.len());
    assert!(wrong.is_empty(), "{} paths, the shortest: {:#?}", wrong.len(), wrong.first());
}

/// Whether the application learns of the end before or after it takes the last events, and what it calls in
/// between, makes no difference.
#[test]
fn an_end_that_is_noted_before_the_last_events_are_taken_loses_none() {
    let mut wrong = Vec::new();
    for variant in VARIANTS.iter().flat_map(|&variant| [variant, Variant { borrowed: true, ..variant }]) {
        for (path, reached) in explore(variant).states {
            for (input, _) in INPUTS {
                if reached.key.ended || !reached.key.takes(input) {
                    continue;
                }
                let path = then(&path, input);
                let (end_last, end_first) =
                    (reach(variant, &then(&path, Input::End)), reach_end_first(variant, &path));
                let is_same = end_last.key == end_first.key
                    && end_last.frames == end_first.frames
                    && end_last.events.concat() == end_first.events.concat();
                if !is_same {
                    wrong.push((path, variant, end_last, end_first));
                }
            }
        }
    }
    wrong.sort_by_key(|(path, ..)| path.len());
    assert!(wrong.is_empty(), "{} paths, the shortest: {:#?}", wrong.len(), wrong.first());
}

#[test]
fn borrowed_events_change_nothing() {
    for variant in VARIANTS {
        let (owned, borrowed) = (explore(variant), explore(Variant { borrowed: true, ..variant }));
        for ((path, owned), (_, borrowed)) in owned.states.iter().zip(&borrowed.states) {
            assert_eq!(owned, borrowed, "{variant:?}: {path:?}");
        }
        assert_eq!(owned.edges, borrowed.edges);
    }
}

/// Checks a rule in every state of every variant, and names the shortest path that breaks it.
fn in_all_states(rule: impl Fn(Variant, &[Input], &Reached) -> bool) {
    let mut broken = Vec::new();
    for variant in VARIANTS {
        for (path, reached) in &explore(variant).states {
            // On every edge too, since the events of the way count.
            for (input, _) in INPUTS {
                if !reached.key.takes(input) {
                    continue;
                }
                let path = then(path, input);
                let reached = reach(variant, &path);
                if !rule(variant, &path, &reached) {
                    broken.push((path, variant, reached));
                }
            }
            if !rule(variant, path, reached) {
                broken.push((path.clone(), variant, reached.clone()));
            }
        }
    }
    broken.sort_by_key(|(path, ..)| path.len());
    assert!(broken.is_empty(), "{} states, the first: {:#?}", broken.len(), broken.first());
}

impl Reached {
    fn saw_close(&self) -> bool {
        self.events.iter().flatten().any(|event| event.starts_with("Close"))
    }

    fn saw_error(&self) -> bool {
        self.events.iter().flatten().any(|event| event.starts_with("error"))
    }

    fn closes(&self) -> usize {
        self.frames.iter().filter(|frame| frame.starts_with("Close")).count()
    }

    fn close_waits(&self) -> bool {
        self.key.queue.iter().any(|frame| frame.trim_start_matches('½').starts_with("Close"))
    }
}

#[test]
fn shutdown_waits_for_the_last_byte() {
    in_all_states(|_, _, reached| !reached.key.wants_shutdown || !reached.key.wants_output);
}

#[test]
fn shutdown_comes_last() {
    in_all_states(|_, _, Reached { key, .. }| !key.wants_shutdown || key.state == State::Closed);
}

#[test]
fn output_is_wanted_while_frames_wait() {
    in_all_states(|_, _, reached| reached.key.wants_output != reached.key.queue.is_empty());
}

/// RFC 6455 §6.1: "The endpoint MUST ensure the WebSocket connection is in the OPEN state"; §7.1.3: "Upon
/// either sending or receiving a Close control frame", it "is in the CLOSING state".
#[test]
fn s6_1_messages_are_taken_in_open_only() {
    in_all_states(|_, _, Reached { key, .. }| (key.state == State::Open) == (key.send != "Closed"));
}

/// Read while events may come; a client, until the server has closed (RFC 6455 §7.1.1); nobody after a failure.
#[test]
fn input_is_wanted_until_nothing_can_come_of_it() {
    in_all_states(|variant, _, reached| {
        let may_come = !reached.saw_close() || variant.role == Role::Client;
        reached.key.wants_input == (may_come && !reached.saw_error() && !reached.key.ended)
    });
}

/// RFC 6455 §7.1.1: a server ends its side, and reads what still comes until the client ends its own.
#[test]
fn input_is_discarded_until_it_ends_after_a_failure_and_after_a_servers_shutdown() {
    in_all_states(|variant, _, reached| {
        let key = &reached.key;
        let shut = variant.role == Role::Server && reached.saw_close() && key.wants_shutdown;
        key.wants_discard == ((reached.saw_error() || shut) && !key.ended)
    });
}

#[test]
fn after_the_loss_of_the_output_nothing_is_queued() {
    in_all_states(|_, _, reached| !reached.key.lost || reached.key.queue.is_empty());
}

#[test]
fn s5_5_1_a_close_is_sent_at_most_once() {
    in_all_states(|_, _, reached| reached.closes() <= 1);
}

/// RFC 6455 §5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
#[test]
fn s5_5_1_no_data_follows_our_close() {
    in_all_states(|_, _, Reached { frames, .. }| {
        let close = frames.iter().position(|frame| frame.starts_with("Close"));
        close.is_none_or(|close| frames[close..].iter().all(|frame| frame != "Text"))
    });
}

/// RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the
/// endpoint MUST send a Close frame in response."
#[test]
fn s5_5_1_a_close_is_answered() {
    in_all_states(|variant, _, reached| {
        !(variant.auto_close && reached.saw_close()) || reached.key.lost || reached.closes() == 1
    });
}

/// RFC 6455 §7.1.4: cleanly "only if the TCP connection was closed after the WebSocket closing handshake was
/// completed".
#[test]
fn s7_1_4_clean_means_that_both_closes_crossed() {
    in_all_states(|_, _, reached| {
        let clean = reached.key.status.is_some_and(|(_, clean)| clean);
        let crossed = reached.saw_close() && reached.closes() == 1 && !reached.close_waits();
        clean == crossed
    });
}

/// RFC 6455 §7.1.5: the code of the peer's Close, 1005 if it has none, 1006 if none came.
#[test]
fn s7_1_5_the_code_is_the_first_closes_of_the_peer() {
    in_all_states(|_, _, reached| {
        let close = reached.events.iter().flatten().find(|event| event.starts_with("Close"));
        reached.key.status.map(|(code, _)| code)
            == match close.map(String::as_str) {
                Some("Close 1001") => Some(1001),
                Some(_) => Some(1005),
                None => (reached.key.ended || reached.saw_error()).then_some(1006),
            }
    });
}

/// RFC 6455 §7.1.1: the server closes first; a client only once the server has, or after a failure.
#[test]
fn s7_1_1_a_client_leaves_the_transport_to_the_server() {
    in_all_states(|variant, _, reached| {
        variant.role == Role::Server
            || !reached.key.wants_shutdown
            || reached.key.ended
            || reached.saw_error()
    });
}

#[test]
fn every_state_reaches_closed_once_all_is_written_and_the_input_ends() {
    in_all_states(|variant, path, reached| {
        // With auto_close off the application answers the peer's Close.
        let answer: &[Input] = if !variant.auto_close && reached.saw_close() { &[Input::Close] } else { &[] };
        let written = if reached.key.lost { Input::Lost } else { Input::Written };
        let end = [answer, &[written, Input::End]].concat();
        let early_end = [&[Input::End], answer, &[written]].concat();
        [end, early_end].iter().all(|end| {
            let Reached { key, .. } = reach(variant, &[path, end].concat());
            key.state == State::Closed && key.wants_shutdown
        })
    });
}

/// Something is wanted, or the application's word: no connection waits for nothing.
#[test]
fn no_state_is_a_dead_end() {
    in_all_states(|variant, path, reached| {
        let Key { wants_input, wants_output, wants_shutdown, wants_discard, .. } = reached.key;
        wants_input || wants_output || wants_shutdown || wants_discard || {
            // RFC 6455 §5.5.1 with auto_close off: the application answers the Close.
            let answered = reach(variant, &then(path, Input::Close));
            !variant.auto_close && reached.saw_close() && answered.closes() == 1
        }
    });
}

/// Open, Closing, Closed, in this order.
#[test]
fn no_input_leads_back() {
    in_all_states(|variant, path, reached| {
        let Some((_, before)) = path.split_last() else { return true };
        reach(variant, before).key.state as u8 <= reached.key.state as u8
    });
}

const HEADER: &str = "\
The closing handshake: every state under every input.

A line for each state: what it wants (in: wants_input, out: wants_output, shut: wants_shutdown, disc:
wants_discard), whether a message is taken or why not, the close status, whether our Close is queued or
written, the state to which each input leads (. is this state), and the frames that wait (½: written in
part). Below, for each input, what comes of it. A message fills the queue here: the next is refused as Full.

  send    the application sends a text        Ping    the peer sends a ping
  close   the application closes with 1000    wrong   the peer breaks the protocol (opcode 3)
  Close   the peer closes with 1001           all     all that waits is written
  empty   the peer closes without a code      half    half of the frame at the front, or its other half
  Text    the peer sends a text
  end     the input ends; then nothing        lost    the transport takes no more bytes; then nothing is
          comes from the peer                         written

";
