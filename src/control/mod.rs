//! The control socket: `banctl` asks, the daemon answers. JSON lines over a Unix socket.
//!
//! [`protocol`] says what is asked and answered, [`server`] takes the connections, [`role`] says who may do
//! what, [`client`] is the blocking other end.

pub mod client;
pub mod protocol;
pub mod role;
pub mod server;
pub mod settings;
pub mod shadow;

mod connection;
