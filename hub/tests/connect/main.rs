//! `taut connect`, `taut listen` and `taut echo`, as programs.

#![cfg(unix)]

mod ends;
mod exit;
mod options;
mod programs;
mod prompt;
#[path = "../support/mod.rs"]
mod support;
