//! Every cap in one place, each with its unit. `banctl status --json` shows them under `caps`.

use serde::{Deserialize, Serialize};

/// What portero allows itself to hold. All can be set under `[limits]` in portero.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A longer log line is cut here and counted. Bytes.
    pub line_bytes_max: usize,
    /// How much of a log is read and matched in one go. Bytes.
    pub block_bytes: usize,
    /// Addresses, networks or accounts with open failures, over all jails. Keys.
    pub tracked_keys_max: usize,
    /// Bans held at once, over all jails. Bans.
    pub bans_max: usize,
    /// Targets whose earlier bans are remembered, for growing bantimes. Targets.
    pub histories_max: usize,
    /// Evidence lines kept on disk for each address. Lines.
    pub evidence_lines_max: usize,
    /// Accounts remembered for each address, and addresses for each account. Entries.
    pub accounts_per_host_max: usize,
    /// Sessions of one filter waiting for the line that completes them. Entries.
    pub sessions_max: usize,
    /// Open log files, over all jails. Files.
    pub logs_max: usize,
    /// Frames waiting for the store; more are joined into frames of some thousand changes. Frames.
    pub store_queue_max: usize,
    /// Bans and unbans waiting for the firewall. Actions.
    pub firewall_queue_max: usize,
    /// Bans waiting for the commands of one action file; more are not told to it. Jobs.
    pub actions_queue_max: usize,
    /// Log lines kept for actions that want them. Bytes.
    pub actions_evidence_bytes_max: usize,
    /// Connections to the control socket. Clients.
    pub clients_max: usize,
    /// One request on the control socket. Bytes.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line_bytes_max: 4096,
            block_bytes: 256 * 1024,
            tracked_keys_max: 1_000_000,
            bans_max: 2_000_000,
            histories_max: 500_000,
            evidence_lines_max: 10,
            accounts_per_host_max: 64,
            sessions_max: 10_000,
            logs_max: 4096,
            store_queue_max: 64,
            firewall_queue_max: 100_000,
            actions_queue_max: 10_000,
            actions_evidence_bytes_max: 16 << 20,
            clients_max: 64,
            request_bytes_max: 1 << 20,
        }
    }
}
