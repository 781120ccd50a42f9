//! Frame headers are read and written: see [`taut_fuzz::header`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::header::Input;

fuzz_target!(|input: Input| taut_fuzz::header::check(&input));
