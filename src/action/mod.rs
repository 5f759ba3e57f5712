//! Actions: shell commands that are told of bans, as fail2ban's action.d has them. The firewall is not among them: a
//! ban is in the kernel before any command hears of it, and none is waited for.
//!
//! ```text
//! engine --ban, unban--> Actions --queue--> lane (a thread) --Performer: Script--> /bin/sh
//!                                            `--reports--> engine
//! ```
//! [`definition`], [`ticket`], [`script`] and [`quote`] are pure: what would be run can be asked without running it.

mod book;
pub mod definition;
pub mod import;
mod lane;
pub mod performer;
mod queue;
pub mod quote;
mod runner;
pub mod script;
pub mod shell;
pub mod ticket;
pub mod verdict;

pub use definition::{Definition, Family, Verb};
pub use lane::Report;
pub use runner::{Actions, JailActions, MATCHES_DEFAULT, STOP_TIME_MAX};
pub use ticket::{Evidence, Ticket};
pub use verdict::{Asked, IgnoreCache, IgnoreCommand, Verdict, Verdicts};
