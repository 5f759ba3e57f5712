//! One binary for all integration tests; each module below is one theme.

mod actions;
mod config;
mod control;
mod crash;
mod debian;
mod fail2ban;
mod fail2ban_client;
mod fail2ban_filters;
mod fail2ban_import;
mod fail2ban_log;
mod filters;
mod footprint;
mod guard;
mod hostile;
mod layout;
mod lint;
mod recidive;
mod rig;
mod scan;
mod shadow;
mod sim;
mod store;
mod takeover;
mod tidy;
