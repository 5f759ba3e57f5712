//! The control socket: `banctl` asks, the daemon answers. JSON lines over a Unix socket.
//!
//! [`protocol`] says what is asked and answered, [`server`] takes the connections, checks who asks and hands
//! each request to the engine, [`client`] is the blocking other end.

pub mod protocol;
pub mod server;
