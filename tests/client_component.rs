//! The client that stays connected, on a clock and servers that do as a test says.

#[path = "client_component/cancellation.rs"]
mod cancellation;
#[path = "client_component/delivery.rs"]
mod delivery;
#[path = "client_component/ending.rs"]
mod ending;
#[path = "support/futures.rs"]
mod futures;
#[cfg(feature = "pool")]
#[path = "client_component/pool.rs"]
mod pool;
#[path = "client_component/queues.rs"]
mod queues;
#[path = "client_component/reconnecting.rs"]
mod reconnecting;
#[path = "client_component/requests.rs"]
mod requests;
#[path = "client_component/world.rs"]
mod world;
