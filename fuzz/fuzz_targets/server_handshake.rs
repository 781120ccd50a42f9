//! Requests, good and bad, come to a server's handshake, cut anywhere: see [`taut_fuzz::server_handshake`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::server_handshake::Input;

fuzz_target!(|input: Input| taut_fuzz::server_handshake::check(&input));
