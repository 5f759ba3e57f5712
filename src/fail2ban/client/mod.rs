//! fail2ban's own ways of asking: the program `fail2ban-client` and the socket behind it, answered by portero.
//!
//! ```text
//! fail2ban-client (banctl under that name) --words--> answer --Request--> control socket --> daemon
//!                                           <--text-- beautify <--Value--
//! Python's client, exporters --pickle--> server --words--> answer --Request--> (within the daemon)
//! ```
//! [`answer`] is what both share: it says in fail2ban's values what portero knows. Nothing that comes in is
//! evaluated; a pickle is read as plain values or not at all.

pub mod answer;
pub mod beautify;
pub mod command_line;
pub mod datepattern;
pub mod dump;
pub mod facade;
pub mod pickle;
pub mod server;
pub mod service;
pub mod value;

/// The version of fail2ban whose client and server are followed: what `version` answers.
pub const VERSION: &str = super::reader::VERSION;

/// Where fail2ban's server answers if nobody says otherwise.
pub const FAIL2BAN_SOCKET: &str = "/var/run/fail2ban/fail2ban.sock";
