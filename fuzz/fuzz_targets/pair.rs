//! Two connections talk over a transport that stalls, cuts and ends: see [`taut_fuzz::pair`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::pair::{check, input::Input};

fuzz_target!(|input: Input| check(&input));
