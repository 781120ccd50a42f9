//! Attacks on WebSocket servers, each with its name, its rule and a judgement.

mod attack;
mod case;
mod cases;
mod deflate;
mod peer;
mod process;
mod report;
mod request;
mod runner;
mod settings;
mod target;
mod wire;

pub use case::{Case, Kind};
pub use cases::cases;
pub use report::{Outcome, Report, Verdict, list};
pub use runner::{Progress, attack};
pub use settings::Settings;
pub use target::Target;
