//! The control socket: `banctl` asks, the daemon answers. JSON lines over a Unix socket.
//!
//! [`protocol`] says what is asked and answered (the bodies of answers stand in files of their own, by what they are
//! about), [`server`] takes the connections, [`role`] says who may do what, [`client`] is the blocking other end.

pub mod client;
pub mod protocol;
pub mod role;
pub mod server;
pub mod settings;
pub mod shadow;

mod bans;
mod connection;
mod epoch;
mod status;
mod upkeep;
