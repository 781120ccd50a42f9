//! A hub: what a team runs that wants messages in real time without writing a server.

#![forbid(unsafe_code)]
