//! Extensions are offered and answered, within the grammar or not: see [`taut_fuzz::extensions`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::extensions::Input;

fuzz_target!(|input: Input| taut_fuzz::extensions::check(&input));
