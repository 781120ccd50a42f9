//! The test kit: each fault really happens, seeds repeat, and peers say what was expected and what came.

#[path = "support/futures.rs"]
mod futures;
#[path = "testing/network.rs"]
mod network;
#[path = "testing/peer.rs"]
mod peer;
#[path = "testing/streams.rs"]
mod streams;
