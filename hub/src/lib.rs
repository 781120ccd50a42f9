//! A hub: what a team runs that wants messages in real time without writing a server. `ARCHITECTURE.md` beside the
//! sources is its map; the program is `taut`.

#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod bus;
pub mod config;
pub mod connect;
pub mod echo;
pub mod envelope;
pub mod hub;
pub mod listen;
pub mod metrics;
pub mod options;
pub mod secret;
pub mod serve;
pub mod store;
pub mod stress;
pub mod token;

mod cluster;
mod exit;
mod outage;
mod pages;
mod presence;
mod quota;
mod session;
