//! Payloads are masked, in any place and in any pieces: see [`taut_fuzz::mask`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::mask::Input;

fuzz_target!(|input: Input| taut_fuzz::mask::check(&input));
