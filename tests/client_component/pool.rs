//! Connections that are used again.

use taut::client::pool::{Manager, Pool};
use tokio::task::yield_now;

use super::futures::ends;
use super::world::{World, text};

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_unless_it_is_unfit() {
    let mut world = World::new();
    let pool = Pool::builder(Manager::new(world.client(), "ws://server.test/")).max_size(1).build().unwrap();
    let (first, mut server) = tokio::join!(pool.get(), world.server());
    let mut first = first.unwrap();
    first.send("1").await.unwrap();
    assert_eq!(text(&mut server).await, "1");
    drop(first);
    // The same once more; a ping does no harm.
    server.send(taut::proto::Message::Ping("p".into())).await.unwrap();
    let mut again = ends(pool.get()).await.unwrap();
    again.send("2").await.unwrap();
    assert_eq!(text(&mut server).await, "p");
    assert_eq!(text(&mut server).await, "2");
    // An answer that nobody took.
    drop(again);
    server.send("late").await.unwrap();
    yield_now().await;
    let (fresh, mut next) = tokio::join!(pool.get(), world.server());
    let mut fresh = fresh.unwrap();
    fresh.send("3").await.unwrap();
    assert_eq!(text(&mut next).await, "3");
    assert!(!matches!(server.recv().await, Ok(Some(message)) if message.is_data()), "the old one is gone");
    // One that ended.
    drop(fresh);
    drop(next);
    yield_now().await;
    let (other, mut last) = tokio::join!(pool.get(), world.server());
    other.unwrap().send("4").await.unwrap();
    assert_eq!(text(&mut last).await, "4");
    assert_eq!(world.dialled().len(), 3);
}
