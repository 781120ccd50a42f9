//! Who is in which room: users, however many connections they have.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The users of each room, and how many connections of each are in it.
#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<HashMap<Arc<str>, Users>>);

/// A count may be below zero for a moment: of a connection that joins and ends at once, the end may be heard first.
type Users = HashMap<Arc<str>, i64>;

/// What a connection's coming or going means for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Came,
    Went,
    Nothing,
}

impl Presence {
    /// A connection of the user came (1) or went (-1). What that means, and how many users are there.
    pub(crate) fn change(&self, room: &Arc<str>, user: &Arc<str>, by: i64) -> (Change, usize) {
        let mut rooms = self.rooms();
        let users = rooms.entry(room.clone()).or_default();
        let count = users.entry(user.clone()).or_default();
        let before = *count;
        *count += by;
        let change = match (before, *count) {
            (0, 1) => Change::Came,
            (1, 0) => Change::Went,
            _ => Change::Nothing,
        };
        if *count == 0 {
            users.remove(user);
        }
        let number = users.len();
        if number == 0 {
            rooms.remove(room);
        }
        (change, number)
    }

    /// The first users of a room by name, at most so many, and how many there are.
    pub(crate) fn users(&self, room: &str, most: usize) -> (Vec<Arc<str>>, usize) {
        let rooms = self.rooms();
        let Some(users) = rooms.get(room) else { return (Vec::new(), 0) };
        let mut names: Vec<_> =
            users.iter().filter(|(_, count)| **count > 0).map(|(user, _)| user.clone()).collect();
        drop(rooms);
        let number = names.len();
        names.sort_unstable();
        names.truncate(most);
        (names, number)
    }

    /// All rooms by name, and how many users are in each.
    pub(crate) fn rooms_and_users(&self) -> BTreeMap<Arc<str>, usize> {
        self.rooms().iter().map(|(room, users)| (room.clone(), users.len())).collect()
    }

    /// How many rooms somebody is in.
    pub(crate) fn len(&self) -> usize {
        self.rooms().len()
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Arc<str>, Users>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_a_user_come_and_go_as_one() {
        let (presence, room, user) = (Presence::default(), Arc::from("r"), Arc::from("ana"));
        let changes = [1, 1, -1, -1].map(|by| presence.change(&room, &user, by).0);
        assert_eq!(changes, [Change::Came, Change::Nothing, Change::Nothing, Change::Went]);
        assert_eq!((presence.len(), presence.users("r", 9)), (0, (vec![], 0)));
    }

    #[test]
    fn an_end_that_is_heard_before_its_beginning_leaves_nobody() {
        let (presence, room, user) = (Presence::default(), Arc::from("r"), Arc::from("ana"));
        let changes = [-1, 1].map(|by| presence.change(&room, &user, by).0);
        assert_eq!((changes, presence.len()), ([Change::Nothing; 2], 0));
    }
}
