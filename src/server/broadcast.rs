//! One message to many connections.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::HashSet;

use super::group::Group;
use super::handle::Handle;
use super::id::ConnectionId;
use super::outbox::{Refusal, Sent};
use super::outgoing::Outgoing;
use super::registry::Registry;

/// A message, and who does not get it. The last method says who does, and queues it for each of them: nobody is waited
/// for, so that a slow receiver costs the others nothing.
///
/// All members of a group get what is sent to it in the same order, whoever sends.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before it is said to whom"]
pub struct Broadcast {
    registry: Registry,
    message: Outgoing,
    except: Option<ConnectionId>,
}

/// What became of a broadcast, in receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// For whom it waits to be sent, those included who lost something for it.
    pub queued: usize,
    /// Messages that were lost for it: displaced, or replaced by it.
    pub displaced: usize,
    /// Who did not get it, since their queue was full.
    pub dropped: usize,
    /// Who were disconnected for it, being too slow.
    pub disconnected: usize,
    /// Who were closing already, or cannot take a message of this length.
    pub refused: usize,
}

impl Registry {
    /// A message to many: say to whom by the methods of what this gives. It is encoded once, and compressed once.
    pub fn broadcast(&self, message: impl Into<Outgoing>) -> Broadcast {
        Broadcast { registry: self.clone(), message: message.into().prepare(), except: None }
    }
}

impl Broadcast {
    /// Not to this one: the sender.
    pub const fn except(mut self, id: ConnectionId) -> Self {
        self.except = Some(id);
        self
    }

    /// To all connections.
    pub fn to_all(&self) -> Tally {
        self.to_group(self.registry.all())
    }

    /// To all in a room.
    pub fn to_room(&self, room: &str) -> Tally {
        self.registry.room(room).map(|group| self.to_group(&group)).unwrap_or_default()
    }

    /// To all who subscribed to this topic, or to a pattern that it fits; to each of them once.
    pub fn to_topic(&self, topic: &str) -> Tally {
        let mut groups = self.registry.fitting(topic);
        if let [group] = &groups[..] {
            return self.to_group(group);
        }
        // Always in the same order, so that two who publish do not wait for each other.
        groups.sort_unstable_by_key(Arc::as_ptr);
        let _in_order: Vec<_> = groups.iter().map(|group| group.in_order()).collect();
        let mut seen = HashSet::new();
        let mut tally = Tally::default();
        for group in &groups {
            let members = group.members();
            self.queue_for(&members, |member| seen.insert(member.id()), &mut tally);
        }
        tally
    }

    /// To these.
    pub fn to_each(&self, receivers: &[Handle]) -> Tally {
        let mut tally = Tally::default();
        self.queue_for(receivers, |_| true, &mut tally);
        tally
    }

    /// To those for which `wanted` says so, which is asked without any lock.
    pub fn to_those(&self, mut wanted: impl FnMut(&Handle) -> bool) -> Tally {
        let wanted: Vec<Handle> =
            self.registry.list().iter().filter(|handle| wanted(handle)).cloned().collect();
        let _in_order = self.registry.all().in_order();
        self.to_each(&wanted)
    }

    fn to_group(&self, group: &Group) -> Tally {
        let _in_order = group.in_order();
        self.to_each(&group.members())
    }

    fn queue_for(&self, receivers: &[Handle], mut wanted: impl FnMut(&Handle) -> bool, tally: &mut Tally) {
        for receiver in receivers.iter().filter(|receiver| wanted(receiver)) {
            if self.except == Some(receiver.id()) {
                continue;
            }
            match receiver.queue(self.message.clone()) {
                Ok(Sent::Queued) => tally.queued += 1,
                Ok(Sent::Conflated) => {
                    tally.queued += 1;
                    tally.displaced += 1;
                }
                Ok(Sent::Displaced(lost)) => {
                    tally.queued += 1;
                    tally.displaced += lost;
                }
                Ok(Sent::Dropped) => tally.dropped += 1,
                Err(Refusal::TooSlow) => tally.disconnected += 1,
                Err(Refusal::Closed | Refusal::TooLong | Refusal::NoData) => tally.refused += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn who_sends_to_a_group_waits_for_who_does() {
        let registry = Registry::new(1, None);
        std::thread::scope(|scope| {
            let first = registry.all().in_order();
            let second = scope.spawn(|| registry.broadcast("x").to_all());
            // Without the order it would be done long before.
            std::thread::sleep(Duration::from_millis(100));
            assert!(!second.is_finished());
            drop(first);
            assert_eq!(second.join().unwrap(), Tally::default());
        });
    }
}
