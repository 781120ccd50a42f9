//! The seeds of `compress`: each way to send, each level and window, sizes around the threshold, and data that
//! compresses well, badly, and not at all.

use taut::proto::Role;

use super::input::{Data, Input, Settings, Step, Way};
use crate::format::{LENGTHS, SIZES};

/// Every seed, with the name of its file.
#[must_use]
pub fn compress() -> Vec<(String, Input)> {
    let mut seeds = Table(Vec::new());
    seeds.ways();
    seeds.levels();
    seeds.data();
    seeds.contexts();
    seeds.0
}

const JSON: &[u8] = br#"{"id":17,"name":"Zoe","tags":["one","two"],"at":"2024-02-29T12:00:00Z"},"#;

struct Table(Vec<(String, Input)>);

impl Table {
    fn set(
        &mut self,
        name: impl Into<String>,
        script: impl Into<Vec<Step>>,
        change: impl FnOnce(&mut Settings),
    ) {
        let mut input = Input { settings: Settings::new(), script: script.into() };
        change(&mut input.settings);
        self.0.push((name.into(), input));
    }

    fn ways(&mut self) {
        for way in WAYS {
            for role in [Role::Server, Role::Client] {
                for takeover in [true, false] {
                    let script = [
                        send(way, JSON, 3),
                        send(Way::Owned, JSON, 1),
                        send(way, b"short", 1),
                        Step::Ping,
                        send(way, b"a longer one, ", 200),
                        send(way, b"", 0),
                    ];
                    let name =
                        format!("way-{way:?}-{role:?}-{}", if takeover { "takeover" } else { "alone" });
                    self.set(name.to_lowercase(), script, |settings| {
                        (settings.role, settings.takeover) = (role, takeover);
                        settings.cut = 7;
                    });
                }
            }
        }
    }

    fn levels(&mut self) {
        for level in 0..10 {
            let script = [send(Way::Owned, JSON, 20), noise(JSON, 10), send(Way::Borrowed, JSON, 40)];
            self.set(format!("level-{level}"), script, |settings| settings.level = level);
        }
        for bits in 8..16 {
            let script =
                [noise(b"a", 10), again(Way::Owned), again(Way::Owned), send(Way::Prepared, JSON, 90)];
            self.set(format!("window-{bits}"), script, |settings| {
                (settings.window_bits, settings.other_window_bits) = (bits, 23 - bits);
            });
        }
    }

    fn data(&mut self) {
        for (number, &length) in LENGTHS.iter().enumerate().take(13) {
            let script = [
                noise(b"noise", number),
                Step::Send { way: Way::Owned, text: true, data: data(b"n", 0, number) },
            ];
            self.set(format!("noise-{length}"), script, |settings| settings.takeover = false);
        }
        for length in [15, 16, 17] {
            let script = [send(Way::Owned, &b"aaaaaaaaaaaaaaaaaaa"[..length], 1)];
            self.set(format!("threshold-of-16-{length}"), script, |_| {});
        }
        self.set("zeros", [send(Way::Owned, &[0; 255], 255), send(Way::Fragments, &[0; 255], 255)], |_| {});
        for index in [1, 2, 8, 11] {
            let script = [send(Way::Owned, JSON, 30), send(Way::Borrowed, JSON, 30), noise(b"x", 8)];
            self.set(format!("fragment-above-{}", SIZES[index]), script, |settings| {
                settings.fragment_above = SIZES[index];
                settings.share_above = SIZES[8];
            });
        }
        for way in [Way::Fragments, Way::EmptyFragments] {
            for index in [2, 6, 10] {
                let mut sent = data(JSON, 10, 0);
                sent.fragment = SIZES[index];
                let step = || Step::Send { way, text: true, data: sent.clone() };
                self.set(
                    format!("{way:?}-of-{}", SIZES[index]).to_lowercase(),
                    [step(), step()],
                    |settings| {
                        settings.cut = 3;
                    },
                );
            }
        }
    }

    fn contexts(&mut self) {
        let json = || send(Way::Owned, JSON, 3);
        self.set("context-forgotten", [json(), Step::Forget, json(), json()], |_| {});
        self.set(
            "context-and-compression-off",
            [json(), Step::Compress(false), json(), Step::Compress(true), json()],
            |_| {},
        );
        let prepared = || send(Way::Prepared, b"prepared, ", 30);
        let script =
            [json(), prepared(), json(), send(Way::PreparedAgain, b"", 0), json(), Step::Forget, prepared()];
        self.set("context-and-prepared", script, |settings| settings.other_window_bits = 9);
    }
}

const WAYS: [Way; 6] =
    [Way::Owned, Way::Borrowed, Way::Prepared, Way::PreparedAgain, Way::Fragments, Way::EmptyFragments];

fn data(bytes: &[u8], times: u8, noise: usize) -> Data {
    Data { again: false, bytes: bytes.to_vec(), times, noise: LENGTHS[noise], fragment: SIZES[7] }
}

fn send(way: Way, bytes: &[u8], times: u8) -> Step {
    Step::Send { way, text: false, data: data(bytes, times, 0) }
}

fn noise(bytes: &[u8], length: usize) -> Step {
    Step::Send { way: Way::Owned, text: false, data: data(bytes, 0, length) }
}

fn again(way: Way) -> Step {
    Step::Send { way, text: false, data: Data { again: true, ..data(b"", 0, 0) } }
}
