//! The nodes of a hub: that they live, what they have, and who is with them. Every node knows all of it, so that asking
//! costs nothing; one that is not heard of for a while is gone, and its users with it.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::bus::{BusError, Figures, News};
use crate::envelope::new_id;
use crate::hub::Hub;
use crate::presence::Place;

/// What a node knows of the others.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// This node.
    name: String,
    moves: mpsc::Sender<Move>,
    /// After how long without a word a node is gone.
    patience: Duration,
    /// The others may not know who is here: they are told everything.
    is_behind: AtomicBool,
    /// This node may not know who is elsewhere.
    is_ignorant: AtomicBool,
    /// Told if either is so.
    wakes: Notify,
    others: Mutex<HashMap<Arc<str>, Other>>,
}

/// Another node.
#[derive(Debug)]
struct Other {
    heard: Instant,
    /// What it has, and when it said so.
    figures: Option<(Instant, Figures)>,
}

/// A user came to a room on this node, or left it.
#[derive(Debug)]
pub(crate) struct Move {
    place: Place,
    is_here: bool,
}

impl Cluster {
    /// With what [`run`] needs.
    pub(crate) fn new(patience: Duration) -> (Self, mpsc::Receiver<Move>) {
        let (moves, moved) = mpsc::channel(MOST_MOVES);
        let this = Self {
            name: new_id(),
            moves,
            patience,
            is_behind: false.into(),
            is_ignorant: true.into(),
            wakes: Notify::new(),
            others: Mutex::default(),
        };
        (this, moved)
    }

    /// A user came to a room on this node, or left it.
    pub(crate) fn moved(&self, place: Place, is_here: bool) {
        // More than wait: then everything is told instead.
        if self.moves.try_send(Move { place, is_here }).is_err() {
            self.is_behind.store(true, Ordering::Release);
        }
    }

    /// News were missed.
    pub(crate) fn missed(&self) {
        self.is_ignorant.store(true, Ordering::Release);
        self.wakes.notify_one();
    }

    /// A node lives.
    pub(crate) fn alive(&self, node: &str, asks: bool, figures: Option<Figures>) {
        if node == self.name {
            return;
        }
        let is_new = self.heard(node, figures);
        if asks {
            self.is_behind.store(true, Ordering::Release);
        } else if is_new {
            self.is_ignorant.store(true, Ordering::Release);
        }
        if asks || is_new {
            self.wakes.notify_one();
        }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.others().len() + 1
    }

    /// By what the others know this node.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the other nodes said that they have, and how long ago.
    pub(crate) fn figures(&self) -> Vec<(Arc<str>, Duration, Figures)> {
        let others = self.others();
        let said = others.iter().filter_map(|(node, other)| Some((node, other.figures.as_ref()?)));
        said.map(|(node, (at, figures))| (node.clone(), at.elapsed(), figures.clone())).collect()
    }

    /// That nobody is here any more.
    pub(crate) fn farewell(&self) -> News {
        News::Moved { node: self.name.clone(), anew: true, came: Vec::new(), left: Vec::new() }
    }

    /// Notes that a node lives, and what it has, if it said so. Whether it was not known.
    fn heard(&self, node: &str, figures: Option<Figures>) -> bool {
        let heard = Instant::now();
        let figures = figures.map(|figures| (heard, figures));
        let mut others = self.others();
        if let Some(other) = others.get_mut(node) {
            other.heard = heard;
            other.figures = figures.or(other.figures.take());
            return false;
        }
        others.insert(node.into(), Other { heard, figures });
        true
    }

    /// That this node lives, with what it has.
    fn life(&self, hub: &Hub, asks: bool) -> News {
        News::Alive { node: self.name.clone(), asks, figures: Some(hub.figures()) }
    }

    fn others(&self) -> MutexGuard<'_, HashMap<Arc<str>, Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What another node says of who is with it.
pub(crate) fn moved(
    hub: &Hub,
    cluster: &Cluster,
    node: &str,
    anew: bool,
    came: Vec<(String, String)>,
    left: Vec<(String, String)>,
) {
    if node == cluster.name {
        return;
    }
    cluster.heard(node, None);
    let node: Arc<str> = node.into();
    let came: Vec<Place> = came.into_iter().map(|(room, user)| (room.into(), user.into())).collect();
    let mut left: Vec<Place> = left.into_iter().map(|(room, user)| (room.into(), user.into())).collect();
    if anew {
        let stays: HashSet<&Place> = came.iter().collect();
        left.extend(hub.at_node(&node).into_iter().filter(|place| !stays.contains(place)));
    }
    for (places, is_there) in [(&left, false), (&came, true)] {
        for place in places {
            hub.hear_of(&node, place, is_there);
        }
    }
}

/// Tells the other nodes who is here, and forgets those that are gone.
pub(crate) async fn run(hub: Arc<Hub>, mut moved: mpsc::Receiver<Move>) {
    let Some(cluster) = &hub.cluster else { return };
    let mut ticks = interval(cluster.patience / BEATS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut moves = Vec::new();
    loop {
        let told = tokio::select! {
            number = moved.recv_many(&mut moves, MOST_AT_ONCE) => {
                if number == 0 {
                    return;
                }
                tell(&hub, cluster, moves.drain(..)).await
            }
            () = cluster.wakes.notified() => catch_up(&hub, cluster).await,
            _ = ticks.tick() => beat(&hub, cluster).await,
        };
        if told.is_err() {
            cluster.is_behind.store(true, Ordering::Release);
        }
    }
}

async fn tell(hub: &Hub, cluster: &Cluster, moves: impl Iterator<Item = Move>) -> Result<(), BusError> {
    let mut last = HashMap::new();
    for Move { place, is_here } in moves {
        last.insert(place, is_here);
    }
    let (came, left): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, is_here)| *is_here);
    let [came, left] =
        [came, left].map(|places| places.into_iter().map(|(place, _)| owned(&place)).collect());
    hub.bus.send(News::Moved { node: cluster.name.clone(), anew: false, came, left }).await
}

/// Asks the others, or tells them everything, as is needed.
async fn catch_up(hub: &Hub, cluster: &Cluster) -> Result<(), BusError> {
    if cluster.is_ignorant.swap(false, Ordering::AcqRel) {
        let asked = hub.bus.send(cluster.life(hub, true)).await;
        cluster.is_ignorant.fetch_or(asked.is_err(), Ordering::AcqRel);
        asked?;
    }
    if cluster.is_behind.swap(false, Ordering::AcqRel) {
        let came = hub.here().iter().map(owned).collect();
        // Moves that wait are told again, behind this, and end as they are here.
        hub.bus.send(News::Moved { node: cluster.name.clone(), anew: true, came, left: Vec::new() }).await?;
    }
    Ok(())
}

async fn beat(hub: &Hub, cluster: &Cluster) -> Result<(), BusError> {
    catch_up(hub, cluster).await?;
    if let Err(error) = hub.bus.send(cluster.life(hub, false)).await {
        // Nobody can be heard.
        cluster.others().values_mut().for_each(|other| other.heard = Instant::now());
        return Err(error);
    }
    let gone: Vec<_> = {
        let mut others = cluster.others();
        let gone = others
            .iter()
            .filter(|(_, other)| other.heard.elapsed() > cluster.patience)
            .map(|(node, _)| node.clone())
            .collect();
        others.retain(|_, other| other.heard.elapsed() <= cluster.patience);
        gone
    };
    for node in gone {
        tracing::warn!(node = &*node, "a node is gone");
        for place in hub.at_node(&node) {
            hub.hear_of(&node, &place, false);
        }
    }
    Ok(())
}

fn owned((room, user): &Place) -> (String, String) {
    ((**room).to_owned(), (**user).to_owned())
}

/// How often a node says that it lives, in the time after which it would be gone.
const BEATS: u32 = 5;

/// How many moves wait to be told.
const MOST_MOVES: usize = 8192;

/// How many are told at once.
const MOST_AT_ONCE: usize = 512;
