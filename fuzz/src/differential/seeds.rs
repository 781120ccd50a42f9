//! The seeds of `differential`: what every library takes alike, and each way in which they differ. Its inputs have the
//! form of those of `receive`.

use taut::proto::Role;

use super::Rival;
use super::rules::Rule;
use crate::format::SIZES;
use crate::input::{Form, Frame, Input, Piece};
use crate::seeds::{CLOSE, FIN, PING, PONG, TEXT, close, filled, frame, new};

/// Every seed, with the name of its file.
#[must_use]
pub fn differential() -> Vec<(String, Input)> {
    let mut seeds = Table(Vec::new());
    for role in [Role::Server, Role::Client] {
        seeds.talk(role);
        seeds.faults(role);
        seeds.rules(role);
    }
    seeds.0
}

/// What the seed of a rule is called, without the role.
#[must_use]
pub fn name(rule: Rule, rival: Rival) -> String {
    format!("rule-{rule:?}-{rival:?}").to_lowercase()
}

struct Table(Vec<(String, Input)>);

impl Table {
    fn add(&mut self, role: Role, name: impl AsRef<str>, script: impl Into<Vec<Piece>>) {
        self.set(role, name, script, |_| {});
    }

    fn set(
        &mut self,
        role: Role,
        name: impl AsRef<str>,
        script: impl Into<Vec<Piece>>,
        change: impl FnOnce(&mut Input),
    ) {
        let mut input = Input::new(role, script.into());
        change(&mut input);
        self.0.push((format!("{}-to-{role:?}", name.as_ref()).to_lowercase(), input));
    }

    fn talk(&mut self, role: Role) {
        let script = || {
            [
                frame(FIN | TEXT, "κόσμε".as_bytes()),
                filled(TEXT, 8, 5),
                frame(FIN | PING, b"ping"),
                filled(0, 10, 1),
                frame(FIN | PONG, b""),
                filled(FIN, 13, 6),
                filled(FIN | 2, 14, 7),
                close(1000, b"bye"),
            ]
        };
        self.add(role, "talk", script());
        for cut in [1, 2, 3, 7, 64] {
            self.set(role, format!("talk-cut-at-{cut}"), script(), |input| input.cuts = [cut, cut]);
        }
        self.set(role, "talk-over-the-limit", script(), |input| input.settings.max_message = SIZES[13]);
    }

    fn faults(&mut self, role: Role) {
        let behind = || frame(FIN | TEXT, b"behind");
        for first in [0xC1, 0xA1, 0x91, 0x83, 0x8B, 0x09, 0x80, 0xB0] {
            self.add(role, format!("fault-first-byte-{first:x}"), [frame(first, b"a"), behind()]);
        }
        self.add(role, "fault-order", [frame(TEXT, b"a"), frame(FIN | TEXT, b"b"), behind()]);
        self.add(
            role,
            "fault-mask",
            [Piece::Frame(Frame { wrong_mask: true, ..new(FIN | TEXT, b"a") }), behind()],
        );
        self.add(role, "fault-long-control", [filled(FIN | PING, 5, 0), behind()]);
        self.add(role, "fault-text", [frame(FIN | TEXT, b"a\xFFb"), behind()]);
        self.add(role, "fault-text-in-fragments", [frame(TEXT, b"\xE2\x82"), frame(FIN, b"a"), behind()]);
        self.add(role, "fault-text-at-its-end", [frame(TEXT, b"\xE2\x82"), frame(FIN, b""), behind()]);
        self.add(role, "fault-close-of-one-byte", [frame(FIN | CLOSE, b"\x03"), behind()]);
        self.add(role, "fault-close-reason", [close(1000, b"\xFF"), behind()]);
        for code in [999, 1005, 1015, 1014, 2999, 3000, 5000] {
            self.add(role, format!("close-{code}"), [close(code, b"why")]);
        }
        for claim in 4..16 {
            let lie = Frame { form: Form::Claim(claim), ..new(FIN | TEXT, b"a") };
            self.add(role, format!("claim-{claim}"), [Piece::Frame(lie)]);
        }
    }

    /// A seed for each rule, which needs it with each of its rivals.
    fn rules(&mut self, role: Role) {
        let cut_short = |script: [Piece; 1]| [&script[..], &[Piece::Truncate(2)]].concat();
        let both = |rule| name(rule, Rival::Tungstenite);
        // Both a reserved bit and a reserved opcode; a code and a reason that may not be.
        self.add(role, both(Rule::NamesAnotherFault), [frame(0xB3, b"a")]);
        self.add(role, name(Rule::NamesAnotherFault, Rival::Sockudo), [frame(0x33, b"a")]);
        self.add(role, both(Rule::WaitsForTheHeader), [Piece::Raw(vec![0xB1])]);
        self.add(role, both(Rule::WaitsForTheFrame), cut_short([frame(FIN | TEXT, b"a\xFFbcd")]));
        self.add(role, name(Rule::WaitsForTheFrame, Rival::Sockudo), cut_short([frame(FIN, b"abc")]));
        let long = Frame { form: Form::Bits16, ..new(FIN | TEXT, b"a") };
        self.add(role, both(Rule::TakesLongForms), [Piece::Frame(long), frame(FIN | TEXT, b"b")]);
        let fragments = [frame(TEXT, b"a"), frame(0, b"b"), frame(FIN, b"c")];
        self.set(role, both(Rule::CountsNoFragments), fragments, |input| input.settings.max_fragments = 2);
        self.add(role, both(Rule::ReplacesCloseCodes), [close(1004, b"why")]);
        self.set(role, both(Rule::LimitsControlFrames), [frame(FIN | PING, b"longer")], |input| {
            input.settings.max_frame = SIZES[3];
        });
        self.add(role, both(Rule::ReadsBehindTheClose), [close(1000, b""), frame(FIN | TEXT, b"late")]);
    }
}
