//! Answers, good and bad, come to a client's handshake, cut anywhere: see [`taut_fuzz::client_handshake`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::client_handshake::Input;

fuzz_target!(|input: Input| taut_fuzz::client_handshake::check(&input));
