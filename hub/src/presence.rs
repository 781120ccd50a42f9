//! Who is in which room: users, however many connections they have, and at however many nodes.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The users of each room, and where they are.
#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<HashMap<Arc<str>, Users>>);

/// By name, so that the first of many are found without the others.
type Users = BTreeMap<Arc<str>, Places>;

/// Where a user is in a room.
#[derive(Debug, Default)]
struct Places {
    /// The connections of this node. Below zero for a moment: of a connection that joins and ends at once, the end may be
    /// heard first.
    here: i64,
    /// Other nodes.
    elsewhere: Vec<Arc<str>>,
}

/// What a user's coming or going at one place means for the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Came,
    Went,
    Nothing,
}

/// Where a user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// Connections of this node.
    pub(crate) connections: usize,
    /// Nodes, with this one.
    pub(crate) nodes: usize,
}

/// A room and a user.
pub(crate) type Place = (Arc<str>, Arc<str>);

impl Presence {
    /// A connection of the user came (1) or went (-1). What that means for the room, and how many users are there. If it
    /// means something for this node, `told` is called with whether the user is there, before anything else can change.
    pub(crate) fn change(
        &self,
        room: &Arc<str>,
        user: &Arc<str>,
        by: i64,
        told: impl FnOnce(bool),
    ) -> (Change, usize) {
        let mut rooms = self.rooms();
        edit(&mut rooms, room, user, |places| {
            let before = places.here;
            places.here += by;
            match (before, places.here) {
                (0, 1) => told(true),
                (1, 0) => told(false),
                _ => {}
            }
        })
    }

    /// What another node says.
    pub(crate) fn elsewhere(
        &self,
        node: &Arc<str>,
        room: &Arc<str>,
        user: &Arc<str>,
        is_there: bool,
    ) -> (Change, usize) {
        let mut rooms = self.rooms();
        edit(&mut rooms, room, user, |places| {
            places.elsewhere.retain(|other| other != node);
            if is_there {
                places.elsewhere.push(node.clone());
            }
        })
    }

    /// A node is gone, or begins anew: who was there, for [`elsewhere`](Self::elsewhere).
    pub(crate) fn at_node(&self, node: &str) -> Vec<Place> {
        self.places(|places| places.elsewhere.iter().any(|other| **other == *node))
    }

    /// Who is here, for the other nodes.
    pub(crate) fn here(&self) -> Vec<Place> {
        self.places(|places| places.here > 0)
    }

    /// The first users of a room by name, at most so many, and how many there are: for a moment with those whose end was
    /// heard before their beginning.
    pub(crate) fn users(&self, room: &str, most: usize) -> (Vec<Arc<str>>, usize) {
        let rooms = self.rooms();
        let Some(users) = rooms.get(room) else { return (Vec::new(), 0) };
        let present = users.iter().filter(|(_, places)| places.is_present());
        (present.take(most).map(|(user, _)| user.clone()).collect(), users.len())
    }

    /// All users of a room by name, and where each is.
    pub(crate) fn places_of(&self, room: &str) -> BTreeMap<Arc<str>, Whereabouts> {
        let rooms = self.rooms();
        let users = rooms.get(room).into_iter().flatten().filter(|(_, places)| places.is_present());
        users.map(|(user, places)| (user.clone(), places.whereabouts())).collect()
    }

    /// All rooms by name, and how many users are in each.
    pub(crate) fn rooms_and_users(&self) -> BTreeMap<Arc<str>, usize> {
        self.rooms().iter().map(|(room, users)| (room.clone(), users.len())).collect()
    }

    /// How many rooms somebody is in.
    pub(crate) fn len(&self) -> usize {
        self.rooms().len()
    }

    /// How many rooms a user of this node is in.
    pub(crate) fn rooms_here(&self) -> usize {
        self.rooms().values().filter(|users| users.values().any(|places| places.here > 0)).count()
    }

    fn places(&self, is_wanted: impl Fn(&Places) -> bool) -> Vec<Place> {
        let rooms = self.rooms();
        let all = rooms
            .iter()
            .flat_map(|(room, users)| users.iter().map(move |(user, places)| (room, user, places)));
        all.filter(|(.., places)| is_wanted(places))
            .map(|(room, user, _)| (room.clone(), user.clone()))
            .collect()
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Arc<str>, Users>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn whereabouts(&self) -> Whereabouts {
        let here = usize::try_from(self.here).unwrap_or(0);
        Whereabouts { connections: here, nodes: self.elsewhere.len() + usize::from(here > 0) }
    }

    fn is_present(&self) -> bool {
        self.here > 0 || !self.elsewhere.is_empty()
    }
}

fn edit(
    rooms: &mut HashMap<Arc<str>, Users>,
    room: &Arc<str>,
    user: &Arc<str>,
    change: impl FnOnce(&mut Places),
) -> (Change, usize) {
    let users = rooms.entry(room.clone()).or_default();
    let places = users.entry(user.clone()).or_default();
    let before = places.is_present();
    change(places);
    let change = match (before, places.is_present()) {
        (false, true) => Change::Came,
        (true, false) => Change::Went,
        _ => Change::Nothing,
    };
    if places.here == 0 && places.elsewhere.is_empty() {
        users.remove(user);
    }
    let number = users.len();
    if number == 0 {
        rooms.remove(room);
    }
    (change, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_a_user_come_and_go_as_one() {
        let (presence, room, user) = (Presence::default(), Arc::from("r"), Arc::from("ana"));
        let mut told = Vec::new();
        let changes =
            [1, 1, -1, -1].map(|by| presence.change(&room, &user, by, |is_here| told.push(is_here)).0);
        assert_eq!(changes, [Change::Came, Change::Nothing, Change::Nothing, Change::Went]);
        assert_eq!(told, [true, false]);
        assert_eq!((presence.len(), presence.users("r", 9)), (0, (vec![], 0)));
    }

    #[test]
    fn the_first_users_are_listed_by_name() {
        let (presence, room) = (Presence::default(), Arc::from("r"));
        for number in (0..100).rev() {
            presence.change(&room, &Arc::from(format!("{number:02}")), 1, |_| {});
        }
        let [first, second] = ["00", "01"].map(Arc::from);
        assert_eq!(presence.users("r", 2), (vec![first, second], 100));
        assert_eq!(presence.users("r", 0), (vec![], 100));
        assert!(presence.users("r", 200).0.is_sorted());
    }

    #[test]
    fn an_end_that_is_heard_before_its_beginning_leaves_nobody() {
        let (presence, room, user) = (Presence::default(), Arc::from("r"), Arc::from("ana"));
        let told = |_| panic!("nothing changed");
        let changes = [-1, 1].map(|by| presence.change(&room, &user, by, told).0);
        assert_eq!((changes, presence.len()), ([Change::Nothing; 2], 0));
    }

    #[test]
    fn a_user_leaves_with_the_last_place() {
        let presence = Presence::default();
        let [room, user, b, c] = ["r", "ana", "b", "c"].map(Arc::from);
        let mut changes = vec![presence.change(&room, &user, 1, |_| {}).0];
        assert_eq!(presence.rooms_here(), 1);
        for (node, is_there) in [(&b, true), (&b, true), (&c, true), (&b, false)] {
            changes.push(presence.elsewhere(node, &room, &user, is_there).0);
        }
        changes.push(presence.change(&room, &user, -1, |_| {}).0);
        assert_eq!(presence.at_node("c"), [(room.clone(), user.clone())]);
        assert_eq!(presence.places_of("r")[&user], Whereabouts { connections: 0, nodes: 1 });
        assert_eq!((presence.len(), presence.rooms_here()), (1, 0));
        changes.push(presence.elsewhere(&c, &room, &user, false).0);
        let expected = [Change::Came, Change::Nothing, Change::Nothing, Change::Nothing, Change::Nothing];
        assert_eq!(changes, [&expected[..], &[Change::Nothing, Change::Went]].concat());
    }
}
