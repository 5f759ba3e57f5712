//! portero: reads mail-server logs, finds who is guessing passwords, shuts them out with nftables.
//!
//! ```text
//! source --Line--> filter --Attempt--> jail --Action--> firewall + store, then the commands of actions
//! banctl --Request--> control --> daemon (carries every arrow)
//! ```
//!
//! The modules below stand in the order of the flow. A stage knows the output type of the stage before it
//! and nothing after; only [`daemon`] names them all. `filter` and `jail` are pure: they do no I/O, log
//! nothing and read no clock.
#![deny(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is for the developers and holds private items"
)]

pub mod addr;
pub mod exit;
pub mod limits;
pub mod shipped;
pub mod text;
pub mod time;

pub mod source;

pub mod filter;

pub mod jail;

pub mod action;
pub mod firewall;
pub mod store;

pub mod control;

pub mod config;
pub mod fail2ban;

pub mod banctl;
pub mod daemon;

pub mod sys;
