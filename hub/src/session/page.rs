//! A page of a stream, as a client gets it.

#![forbid(unsafe_code)]

use serde::Serialize;

use super::MOST_LISTED;
use crate::envelope::Envelope;
use crate::hub::Hub;
use crate::store::Page;

/// A page for a client. What messages say is written as it came: no value of `serde_json` can hold all of it.
#[derive(Serialize)]
struct Opened<'a> {
    epoch: &'a str,
    recovered: bool,
    more: bool,
    joined: bool,
    messages: Vec<&'a Envelope>,
    users: Vec<&'a str>,
    total: usize,
}

/// The answer of this name to the message of this id.
pub(super) fn page_of(
    hub: &Hub,
    name: &str,
    id: Option<&str>,
    stream: &str,
    page: &Page,
    joined: bool,
) -> Envelope {
    let (users, total) = hub.users_of(stream, MOST_LISTED);
    let seq = page.messages.last().filter(|_| page.more).and_then(|last| last.seq).unwrap_or(page.seq);
    let data = Opened {
        epoch: &page.epoch,
        recovered: page.recovered,
        more: page.more,
        joined,
        messages: page.messages.iter().map(|message| &**message).collect(),
        users: users.iter().map(|user| &**user).collect(),
        total,
    };
    Envelope { seq: Some(seq), ..Envelope::new(name).answering(id).room(stream).data(&data) }
}
