//! Connections that are sent to together, and names for such groups.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::str::Split;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::handle::{Handle, lock};
use super::id::ConnectionId;

/// Some connections. Who sends takes a snapshot, which is shared as long as nobody comes or goes; no lock is held
/// but the one that keeps messages in order.
#[derive(Debug, Default)]
pub(super) struct Group {
    order: Mutex<()>,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    list: Arc<Vec<Handle>>,
    index: HashMap<ConnectionId, usize>,
}

impl Group {
    /// Whether it was not there before.
    pub(super) fn add(&self, member: &Handle) -> bool {
        let mut members = lock(&self.members);
        let Members { list, index } = &mut *members;
        let at = list.len();
        let new = index.insert(member.id(), at).is_none_or(|before| {
            index.insert(member.id(), before);
            false
        });
        if new {
            Arc::make_mut(list).push(member.clone());
        }
        new
    }

    /// Whether it was there.
    pub(super) fn remove(&self, id: ConnectionId) -> bool {
        let mut members = lock(&self.members);
        let Members { list, index } = &mut *members;
        let Some(at) = index.remove(&id) else { return false };
        let list = Arc::make_mut(list);
        let removed = list.swap_remove(at);
        if let Some(moved) = list.get(at) {
            index.insert(moved.id(), at);
        }
        if list.len() < list.capacity() / 4 {
            list.shrink_to(list.capacity() / 2);
            index.shrink_to(list.len() * 2);
        }
        drop(members);
        // The last of a connection's handles runs destructors of the application.
        drop(removed);
        true
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Handle> {
        let members = lock(&self.members);
        members.index.get(&id).map(|&at| members.list[at].clone())
    }

    pub(super) fn members(&self) -> Arc<Vec<Handle>> {
        lock(&self.members).list.clone()
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.members).list.len()
    }

    /// As long as this is there, others who send to the group wait: all members get what is sent in one order.
    pub(super) fn in_order(&self) -> MutexGuard<'_, ()> {
        lock(&self.order)
    }
}

/// Groups by name. One that is empty is not there.
#[derive(Debug, Default)]
pub(super) struct Directory {
    exact: HashMap<Arc<str>, Arc<Group>>,
    wild: Node,
    wild_len: usize,
}

/// Patterns that begin alike.
#[derive(Debug, Default)]
struct Node {
    /// The pattern that ends here, in a `#` or before it.
    here: Option<Arc<Group>>,
    rest: Option<Arc<Group>>,
    any: Option<Box<Self>>,
    levels: HashMap<Box<str>, Self>,
}

/// A name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, or over 256 bytes.
    Length,
    /// A `+` or `#` that is not a level by itself, a `#` that is not the last, or either in the name of a topic that is
    /// published to.
    Wildcard,
}

impl Directory {
    /// Whether the member was not there, and whether the group was not.
    pub(super) fn add(&mut self, name: &Arc<str>, patterns: bool, member: &Handle) -> (bool, bool) {
        if patterns && is_wild(name) {
            let slot = self.wild.slot(name.split('/'));
            let created = slot.is_none();
            let added = slot.get_or_insert_default().add(member);
            self.wild_len += usize::from(created);
            return (added, created);
        }
        let mut created = false;
        let group = self.exact.entry(name.clone()).or_insert_with(|| {
            created = true;
            Arc::default()
        });
        (group.add(member), created)
    }

    /// Whether the member was there, and whether the group vanished.
    pub(super) fn remove(&mut self, name: &str, patterns: bool, id: ConnectionId) -> (bool, bool) {
        if patterns && is_wild(name) {
            let (removed, vanished) = self.wild.remove(name.split('/'), id);
            self.wild_len -= usize::from(vanished);
            return (removed, vanished);
        }
        let Some(group) = self.exact.get(name) else { return (false, false) };
        let removed = group.remove(id);
        let vanished = group.len() == 0;
        if vanished {
            self.exact.remove(name);
            self.exact.shrink_to(self.exact.len() * 2);
        }
        (removed, vanished)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Group>> {
        self.exact.get(name)
    }

    /// The groups of this topic, and of all patterns that fit it.
    pub(super) fn fitting(&self, topic: &str) -> Vec<Arc<Group>> {
        let mut groups: Vec<_> = self.exact.get(topic).cloned().into_iter().collect();
        if self.wild_len > 0 {
            let levels: Vec<&str> = topic.split('/').collect();
            self.wild.collect(&levels, &mut groups);
        }
        groups
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.exact.keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.wild_len
    }
}

impl Node {
    fn slot(&mut self, mut levels: Split<'_, char>) -> &mut Option<Arc<Group>> {
        match levels.next() {
            None => &mut self.here,
            Some("#") => &mut self.rest,
            Some("+") => self.any.get_or_insert_default().slot(levels),
            Some(level) => self.levels.entry(level.into()).or_default().slot(levels),
        }
    }

    fn remove(&mut self, mut levels: Split<'_, char>, id: ConnectionId) -> (bool, bool) {
        match levels.next() {
            None => remove_from(&mut self.here, id),
            Some("#") => remove_from(&mut self.rest, id),
            Some("+") => {
                let Some(node) = &mut self.any else { return (false, false) };
                let done = node.remove(levels, id);
                if node.is_empty() {
                    self.any = None;
                }
                done
            }
            Some(level) => {
                let Some(node) = self.levels.get_mut(level) else { return (false, false) };
                let done = node.remove(levels, id);
                if node.is_empty() {
                    self.levels.remove(level);
                }
                done
            }
        }
    }

    fn collect(&self, levels: &[&str], groups: &mut Vec<Arc<Group>>) {
        groups.extend(self.rest.clone());
        let Some((first, rest)) = levels.split_first() else {
            groups.extend(self.here.clone());
            return;
        };
        if let Some(node) = &self.any {
            node.collect(rest, groups);
        }
        if let Some(node) = self.levels.get(*first) {
            node.collect(rest, groups);
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_none() && self.rest.is_none() && self.any.is_none() && self.levels.is_empty()
    }
}

fn remove_from(slot: &mut Option<Arc<Group>>, id: ConnectionId) -> (bool, bool) {
    let Some(group) = slot else { return (false, false) };
    let removed = group.remove(id);
    let vanished = group.len() == 0;
    if vanished {
        mem::take(slot);
    }
    (removed, vanished)
}

/// Checks the name of a room: any text.
pub(super) const fn check_room(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MOST_NAME { Err(NameError::Length) } else { Ok(()) }
}

/// Checks what is subscribed to.
pub(super) fn check_pattern(name: &str) -> Result<(), NameError> {
    check_room(name)?;
    let mut levels = name.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1 && !(level == "#" && levels.peek().is_some());
        if level.contains(['+', '#']) && !alone {
            return Err(NameError::Wildcard);
        }
    }
    Ok(())
}

/// Checks what is published to.
pub(super) fn check_topic(name: &str) -> Result<(), NameError> {
    check_room(name)?;
    if name.contains(['+', '#']) { Err(NameError::Wildcard) } else { Ok(()) }
}

fn is_wild(pattern: &str) -> bool {
    pattern.contains(['+', '#'])
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the name has to have 1 to 256 bytes",
            Self::Wildcard => {
                "\"+\" stands for one level and \"#\" for the rest, in what is subscribed to only"
            }
        })
    }
}

impl core::error::Error for NameError {}

/// The longest name of a room or topic, in bytes.
const MOST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_gone_with_their_last_member_and_patterns_with_them() {
        let mut directory = Directory::default();
        let [one, two] = [1, 2].map(Handle::example);
        let names = ["a", "a/b", "a/+", "a/#", "#", "+/b/+", "a/b/#", "a+"];
        for name in names {
            for member in [&one, &two] {
                let is_first = *member == one;
                assert_eq!(directory.add(&name.into(), true, member), (true, is_first), "{name}");
                assert_eq!(directory.add(&name.into(), true, member), (false, false), "{name}");
            }
        }
        assert_eq!(
            (directory.len(), directory.fitting("a/b").len(), directory.fitting("a/b/c").len()),
            (8, 5, 4)
        );
        for (member, last) in [(&one, false), (&two, true)] {
            for name in names {
                assert_eq!(directory.remove(name, true, member.id()), (true, last), "{name}");
                assert_eq!(directory.remove(name, true, member.id()), (false, false), "{name}");
            }
        }
        assert!(
            directory.wild.is_empty() && directory.exact.is_empty() && directory.len() == 0,
            "{directory:?}"
        );
    }

    #[test]
    fn a_group_keeps_its_index_while_members_come_and_go() {
        let group = Group::default();
        let members: Vec<_> = (0..50).map(Handle::example).collect();
        for round in 0..200_usize {
            let member = &members[round * 7 % 50];
            let there = group.get(member.id()).is_some();
            assert!(if there { group.remove(member.id()) } else { group.add(member) });
            for member in &*group.members() {
                assert_eq!(group.get(member.id()).as_ref(), Some(member));
            }
        }
    }

    #[test]
    fn patterns_are_checked() {
        for right in ["a", "a/b", "+", "#", "a/+/b", "a/#", "+/+/#", "/", "a//b"] {
            assert_eq!(check_pattern(right), Ok(()), "{right}");
        }
        for wrong in ["a+", "a/b#", "#/a", "a/#/b", "++"] {
            assert_eq!(check_pattern(wrong), Err(NameError::Wildcard), "{wrong}");
        }
        assert_eq!(check_pattern(""), Err(NameError::Length));
        assert_eq!(check_room(&"x".repeat(257)), Err(NameError::Length));
        assert_eq!(check_room("a+#"), Ok(()));
        assert_eq!(check_topic("a/+"), Err(NameError::Wildcard));
    }
}
