//! Text, or what looks like it, is checked in any pieces: see [`taut_fuzz::utf8`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::utf8::Input;

fuzz_target!(|input: Input| taut_fuzz::utf8::check(&input));
