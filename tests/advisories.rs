//! Attacks that other implementations of WebSocket fell to, and those that any of them has to expect: SECURITY.md is
//! the list, with a rule, a limit and a test for each. Tests that are elsewhere already are named there.
#![cfg(all(feature = "tokio", feature = "deflate"))]

mod support;

#[path = "advisories/adapters.rs"]
mod adapters;
#[path = "rfc7692/bits.rs"]
mod bits;
#[path = "advisories/dependencies.rs"]
mod dependencies;
#[path = "advisories/fragments.rs"]
mod fragments;
#[path = "advisories/frames.rs"]
mod frames;
#[path = "support/futures.rs"]
mod futures;
#[path = "advisories/handshake.rs"]
mod handshake;
#[path = "rfc6455/heads.rs"]
#[expect(dead_code, reason = "written for RFC 6455, and used in part")]
mod heads;
#[path = "support/heap.rs"]
mod heap;
#[path = "advisories/inflation.rs"]
mod inflation;
#[path = "advisories/lengths.rs"]
mod lengths;
#[path = "advisories/linear.rs"]
mod linear;
#[path = "advisories/output.rs"]
mod output;
#[path = "advisories/requests.rs"]
mod requests;
#[path = "advisories/security.rs"]
mod security;
#[path = "rfc6455/wire.rs"]
#[expect(dead_code, reason = "written for RFC 6455, and used in part")]
mod wire;

use taut::proto::frame::OpCode;
use taut::proto::{Agreement, Config, Connection, Deflate, Delivery, Role};

pub(crate) const ROLES: [Role; 2] = [Role::Client, Role::Server];
pub(crate) const DELIVERIES: [Delivery; 2] = [Delivery::Whole, Delivery::Chunks];
pub(crate) const KINDS: [OpCode; 2] = [OpCode::Text, OpCode::Binary];

/// What a read takes at most, in memory that doubles: see `Config::read_size`.
pub(crate) const READ: isize = 2 * (64 << 10);

/// An open connection that agreed on permessage-deflate.
pub(crate) fn compressing(role: Role, config: Config) -> Connection {
    support::connection(role, config).with_agreement(Agreement::new().with_deflate(Deflate::new()))
}

/// Numbers that look random, the same in each run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}
