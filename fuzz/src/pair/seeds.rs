//! The seeds of `pair`: each way to send, write, read and take, both deliveries, compression, the closing handshake in
//! each order, and transports that end.

use super::input::{Action, Closer, Compression, Input, ReadWay, Step, Way, WriteWay};
use crate::format::{SIZES, WRITES};
use crate::input::{Payload, Take};

/// Every seed, with the name of its file.
#[must_use]
pub fn pair() -> Vec<(String, Input)> {
    let mut seeds = Table(Vec::new());
    seeds.sends();
    seeds.transport();
    seeds.events();
    seeds.controls();
    seeds.closes();
    seeds.ends();
    seeds.limits();
    seeds.memory();
    seeds.compression();
    seeds.0
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

struct Table(Vec<(String, Input)>);

impl Table {
    fn add(&mut self, name: impl Into<String>, script: impl Into<Vec<Step>>) {
        self.set(name, script, |_| {});
    }

    /// With other settings than the default ones.
    fn set(
        &mut self,
        name: impl Into<String>,
        script: impl Into<Vec<Step>>,
        change: impl FnOnce(&mut Input),
    ) {
        let mut input = Input::new(script.into());
        change(&mut input);
        self.0.push((name.into(), input));
    }

    fn sends(&mut self) {
        self.add("nothing", []);
        for who in [CLIENT, SERVER] {
            for way in [Way::Owned, Way::Borrowed, Way::Prepared, Way::PreparedAgain] {
                let script = [send(who, true, way, 8, 5), send(1 - who, false, way, 10, 6), turn(who)];
                self.add(format!("send-{way:?}-{who}").to_lowercase(), script);
            }
            let pieces = [
                fragment(who, false, "κό".as_bytes()),
                at(who, Action::Control { pong: false, payload: b"between".to_vec() }),
                turn(who),
                fragment(who, false, b"\xCF"),
                turn(1 - who),
                fragment(who, true, b"\x83"),
            ];
            self.add(format!("fragments-{who}"), pieces);
            let wrong = [
                fragment(who, false, b"a\xC3"),
                fragment(who, true, b"b"),
                at(who, Action::Fragment { text: false, last: true, payload: literal(b"other") }),
                send(who, true, Way::Owned, 1, 1),
                fragment(who, true, b"\xA9"),
            ];
            self.add(format!("fragments-refused-{who}"), wrong);
            self.add(format!("fragments-then-close-{who}"), [fragment(who, false, b"a"), close(who, 1)]);
        }
        self.set("sends-in-small-frames", talk(), |input| {
            for side in &mut input.sides {
                (side.default, side.fragment_above, side.share_above) = (false, SIZES[10], SIZES[7]);
            }
        });
    }

    fn transport(&mut self) {
        for way in [WriteWay::Chunk, WriteWay::Vectored, WriteWay::Pop] {
            for most in [1, 7, 11] {
                let write = |who| at(who, Action::Write { most: WRITES[most], way });
                let script = [talk(), vec![write(CLIENT), write(SERVER), write(CLIENT)], talk()].concat();
                self.add(format!("write-{way:?}-{}", WRITES[most]).to_lowercase(), script);
            }
        }
        let ways = [ReadWay::Feed, ReadWay::Input, ReadWay::LargeInput, ReadWay::Taken, ReadWay::Lent];
        for way in ways {
            for most in [1, 7, 12, 15] {
                let read = |who| at(who, Action::Read { most: WRITES[most], way });
                let mut script = [talk(), vec![write_all(CLIENT), write_all(SERVER)]].concat();
                for _ in 0..6 {
                    script.extend([read(CLIENT), read(SERVER), take(SERVER, Take::Borrowed, false)]);
                }
                self.add(format!("read-{way:?}-{}", WRITES[most]).to_lowercase(), script);
            }
        }
        let away = |who| at(who, Action::Detach);
        let script = [talk(), vec![away(SERVER), turn(CLIENT), turn(SERVER), away(SERVER), turn(SERVER)]];
        self.add("input-away", script.concat());
    }

    fn events(&mut self) {
        for chunks in [false, true] {
            for how in [Take::Owned, Take::Borrowed, Take::Halves] {
                let script = [
                    talk(),
                    vec![write_all(CLIENT), write_all(SERVER), read_all(SERVER), read_all(CLIENT)],
                    vec![take(SERVER, how, true), take(CLIENT, how, true), turn(SERVER), turn(CLIENT)],
                ];
                let delivery = if chunks { "chunks" } else { "whole" };
                self.set(format!("echo-{how:?}-{delivery}").to_lowercase(), script.concat(), |input| {
                    input.sides.iter_mut().for_each(|side| side.chunks = chunks);
                });
            }
        }
        let split = |who| at(who, Action::Split);
        let script = [vec![split(SERVER)], talk(), vec![turn(CLIENT), split(CLIENT)], talk()];
        self.add("split", script.concat());
    }

    fn controls(&mut self) {
        let ping = |who, payload: &[u8]| at(who, Action::Control { pong: false, payload: payload.to_vec() });
        let flood = |count| (0..count).map(|number| ping(CLIENT, &[number]));
        let script: Vec<Step> = flood(20).chain([write_all(CLIENT), read_all(SERVER)]).collect();
        let slow =
            [take(SERVER, Take::Owned, false), at(SERVER, Action::Write { most: 1, way: WriteWay::Chunk })];
        self.add("pings-answered-late", [script.clone(), slow.to_vec(), script].concat());
        self.add("ping-too-long", [ping(CLIENT, &[1; 126]), ping(SERVER, &[1; 125])]);
        self.add("ping-empty", [ping(CLIENT, b""), ping(SERVER, b"")]);
        self.set("pings-answered-by-nobody", flood(3).collect::<Vec<_>>(), |input| {
            input.sides[SERVER].auto_pong = false;
        });
        let unasked = |who| at(who, Action::Control { pong: true, payload: b"!".to_vec() });
        self.add("pongs-unasked", [unasked(CLIENT), ping(CLIENT, b"?"), unasked(SERVER), turn(CLIENT)]);
        // A pong goes between the frames that wait.
        let between = [
            vec![send(SERVER, false, Way::Owned, 10, 6), send(SERVER, false, Way::Owned, 13, 6)],
            vec![at(SERVER, Action::Write { most: 300, way: WriteWay::Vectored })],
            vec![ping(CLIENT, b"now"), write_all(CLIENT), read_all(SERVER), take(SERVER, Take::Owned, false)],
            vec![at(SERVER, Action::Write { most: 5000, way: WriteWay::Vectored })],
        ];
        self.add("pong-between-frames", between.concat());
    }

    fn closes(&mut self) {
        for closer in [Closer::Client, Closer::Server, Closer::Both] {
            let name = format!("close-at-the-end-{closer:?}").to_lowercase();
            self.set(name, talk(), |input| input.closer = closer);
        }
        for who in [CLIENT, SERVER] {
            for code in [0, 1, 13] {
                let script = [talk(), vec![close(who, code)], talk(), vec![turn(who), turn(1 - who)]];
                self.add(format!("close-{code}-{who}"), script.concat());
            }
            let crossing = [close(who, 1), write_all(who), close(1 - who, 2), read_all(1 - who)];
            self.add(format!("closes-cross-{who}"), crossing);
            let rest = [
                fragment(1 - who, false, b"begun"),
                close(who, 1),
                turn(who),
                read_all(1 - who),
                take(1 - who, Take::Owned, false),
                fragment(1 - who, true, b"ended"),
                send(1 - who, true, Way::Owned, 1, 1),
            ];
            self.set(format!("close-answered-late-{who}"), rest, |input| {
                input.sides[1 - who].auto_close = false;
            });
        }
    }

    fn ends(&mut self) {
        for who in [CLIENT, SERVER] {
            for keep in [0, 1, 7, 100] {
                let script = [talk(), vec![turn(who), at(who, Action::End { keep })], talk()];
                self.add(format!("transport-ends-{keep}-{who}"), script.concat());
            }
            let closing = [close(who, 1), write_all(who), at(who, Action::End { keep: 255 })];
            self.add(format!("transport-ends-behind-close-{who}"), closing);
            let cut = [close(who, 1), write_all(who), at(who, Action::End { keep: 3 })];
            self.add(format!("transport-ends-in-close-{who}"), cut);
        }
    }

    fn limits(&mut self) {
        for chunks in [false, true] {
            for index in [1, 7, 12] {
                let delivery = if chunks { "chunks" } else { "whole" };
                self.set(format!("limit-message-{}-{delivery}", SIZES[index]), talk(), |input| {
                    let side = &mut input.sides[SERVER];
                    (side.default, side.max_message, side.chunks) = (false, SIZES[index], chunks);
                });
            }
        }
        for index in [1, 2, 10] {
            self.set(format!("limit-queue-{}", SIZES[index]), [talk(), talk()].concat(), |input| {
                for side in &mut input.sides {
                    (side.default, side.max_queued) = (false, SIZES[index]);
                }
            });
        }
        let empty: Vec<Step> = (0..70).map(|_| fragment(CLIENT, false, b"")).collect();
        self.add("limit-empty-fragments", empty);
    }

    fn memory(&mut self) {
        let counted = |who| at(who, Action::Release { counted: true });
        let script = [
            vec![send(CLIENT, false, Way::Owned, 13, 6), counted(CLIENT)],
            vec![at(CLIENT, Action::Write { most: 5000, way: WriteWay::Vectored }), counted(CLIENT)],
            vec![read_all(SERVER), counted(SERVER), take(SERVER, Take::Owned, false), counted(SERVER)],
            vec![turn(CLIENT), turn(SERVER), counted(SERVER), at(SERVER, Action::Release { counted: false })],
        ];
        self.add("memory-of-large-messages", script.concat());
        self.set("memory-of-chunks", script.concat(), |input| input.sides[SERVER].chunks = true);
    }

    fn compression(&mut self) {
        for compression in [Compression::Takeover, Compression::NoTakeover, Compression::SmallWindows] {
            for chunks in [false, true] {
                let delivery = if chunks { "chunks" } else { "whole" };
                let change = [at(CLIENT, Action::Forget), at(SERVER, Action::Compress(false))];
                let script = [talk(), vec![turn(CLIENT), turn(SERVER)], change.to_vec(), talk()].concat();
                self.set(format!("deflate-{compression:?}-{delivery}").to_lowercase(), script, |input| {
                    input.compression = compression;
                    input.sides.iter_mut().for_each(|side| side.chunks = chunks);
                });
            }
        }
    }
}

/// A bit of everything, both ways.
fn talk() -> Vec<Step> {
    let mut script = Vec::new();
    for who in [CLIENT, SERVER] {
        script.extend([
            send(who, true, Way::Owned, 12, 5),
            send(who, false, Way::Borrowed, 9, 6),
            at(who, Action::Control { pong: false, payload: vec![who as u8] }),
            fragment(who, false, "a€".as_bytes()),
            fragment(who, true, b""),
            send(who, false, Way::Prepared, 13, 0),
        ]);
    }
    script
}

const fn at(who: usize, action: Action) -> Step {
    Step { who, action }
}

const fn send(who: usize, text: bool, way: Way, length: u8, filling: u8) -> Step {
    at(who, Action::Send { text, way, payload: Payload::Filled { length, filling } })
}

fn fragment(who: usize, last: bool, data: &[u8]) -> Step {
    at(who, Action::Fragment { text: true, last, payload: literal(data) })
}

fn close(who: usize, code: u8) -> Step {
    at(who, Action::Close { code, reason: b"why".to_vec() })
}

fn write_all(who: usize) -> Step {
    at(who, Action::Write { most: WRITES[15], way: WriteWay::Vectored })
}

fn read_all(who: usize) -> Step {
    at(who, Action::Read { most: WRITES[15], way: ReadWay::Feed })
}

const fn take(who: usize, take: Take, echo: bool) -> Step {
    at(who, Action::Take { count: 0, take, echo })
}

const fn turn(who: usize) -> Step {
    at(who, Action::Turn)
}

fn literal(bytes: &[u8]) -> Payload {
    Payload::Literal(bytes.to_vec())
}
