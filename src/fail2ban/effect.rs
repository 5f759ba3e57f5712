//! What a jail's actions do in a firewall, without any program's words: ports, protocols, chain and verdict. And which
//! actions are none of the firewall's and have to be run.

use super::jail::{Action, Jail};
use super::note::Kind;
use super::programs;
use crate::action::script::{self, HostNames};
use crate::action::{Definition, Family, Verb, import};

/// The actions that ship with fail2ban and ban in a packet filter: the engine does that itself. Any other name is
/// somebody's own action, whatever it begins with.
const STOCK: &[&str] = &[
    "nftables",
    "nftables-multiport",
    "nftables-allports",
    "iptables",
    "iptables-multiport",
    "iptables-allports",
    "iptables-new",
    "iptables-multiport-log",
    "iptables-xt_recent-echo",
    "iptables-ipset",
    "iptables-ipset-proto4",
    "iptables-ipset-proto6",
    "iptables-ipset-proto6-allports",
    "firewallcmd-new",
    "firewallcmd-multiport",
    "firewallcmd-allports",
    "firewallcmd-ipset",
    "firewallcmd-rich-rules",
    "firewallcmd-rich-logging",
    "ufw",
    "route",
    "shorewall",
    "shorewall-ipset-proto6",
    // Of other systems; here the kernel's own packet filter stands for them.
    "pf",
    "ipfw",
    "bsd-ipfw",
    "ipfilter",
    "npf",
    "osx-ipfw",
    "osx-afctl",
];

/// Of these the ban also writes to the kernel's log, which ours does not.
const LOGGING: &[&str] = &["iptables-multiport-log", "firewallcmd-rich-logging"];

/// Chains that see what comes to this host. nft's own chains are named by fail2ban.
const INPUT: &[&str] =
    &["INPUT", "INPUT_direct", "input", "f2b-chain", "IN_public", "<known/chain>", "ufw-before-input"];

/// Chains that see what goes through it.
const FORWARD: &[&str] = &["FORWARD", "FORWARD_direct", "DOCKER-USER", "DOCKER", "forward"];

/// What is done with one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The engine's own firewall does it.
    Firewall,
    /// Its commands are run. The text says why, for an action that has the name of one of the firewall's.
    Run(Option<String>),
    /// A Python module: nothing here can run it.
    Python,
}

/// What is done with `action`.
pub fn role(action: &Action) -> Role {
    if action.file.ends_with(".py") {
        return Role::Python;
    }
    if !STOCK.contains(&action.file.as_str()) {
        return Role::Run(None);
    }
    if let Some(command) = action.overridden.first() {
        return Role::Run(Some(format!(
            "its {command} is not that of action.d/{0}.conf; the commands are run as they are, and portero's own \
             firewall leaves them this part of the jail",
            action.file
        )));
    }
    let foreign = action.commands.values().filter_map(|text| text.as_str()).find_map(programs::foreign);
    match foreign {
        Some(program) => Role::Run(Some(format!(
            "it calls {program}, which fail2ban's own {} does not; the commands are run as they are, and portero's \
             own firewall leaves them this part of the jail",
            action.file
        ))),
        None => Role::Firewall,
    }
}

/// The sum of a jail's firewall actions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effect {
    /// Whether any action bans in a firewall that the engine stands for.
    pub bans: bool,
    /// Every port, whatever `ports` says.
    pub all_ports: bool,
    /// As written: numbers, names, `first:last`.
    pub ports: Vec<String>,
    /// `tcp`, `udp` ...; as written, split at commas. Empty: any.
    pub protocols: Vec<String>,
    /// Only packets to other hosts: FORWARD, DOCKER-USER.
    pub forward: bool,
    /// Told to the peer instead of dropped.
    pub reject: bool,
    /// What is not done to the letter, and what is not done at all.
    pub notes: Vec<(Kind, String)>,
}

impl Effect {
    /// Reads the actions of `jail`. Where several ban, their ports and protocols are added up.
    pub fn of(jail: &Jail) -> Effect {
        let mut effect = Effect::default();
        let (mut input, mut forward, mut any_protocol) = (false, false, false);
        for action in &jail.actions {
            match role(action) {
                Role::Firewall => {}
                Role::Run(None) => continue,
                Role::Run(Some(why)) => {
                    effect.notes.push((Kind::Approximation, format!("action {}: {why}", action.name)));
                    continue;
                }
                Role::Python => {
                    let text = format!("action {} is a Python module and is not run", action.file);
                    effect.notes.push((Kind::Loss, text));
                    continue;
                }
            }
            let one = One::of(action);
            for chain in one.chains {
                input |= INPUT.contains(&chain.as_str());
                forward |= FORWARD.contains(&chain.as_str());
                if !INPUT.contains(&chain.as_str()) && !FORWARD.contains(&chain.as_str()) {
                    input = true;
                    let text = format!("action {}: chain {chain} becomes the prerouting hook", action.name);
                    effect.notes.push((Kind::Approximation, text));
                }
            }
            if LOGGING.contains(&action.file.as_str()) {
                let text = format!("action {}: packets are shut out but not logged", action.name);
                effect.notes.push((Kind::Loss, text));
            }
            if effect.bans && effect.reject != one.reject {
                let kept = if effect.reject { "reject" } else { "drop" };
                let text = format!(
                    "the jail's actions do not agree whether to drop or to reject; it is {kept}, as the first says"
                );
                effect.notes.push((Kind::Approximation, text));
            } else {
                effect.reject = one.reject;
            }
            effect.bans = true;
            effect.all_ports |= one.ports.is_empty();
            any_protocol |= one.protocols.is_empty();
            add(&mut effect.ports, one.ports);
            add(&mut effect.protocols, one.protocols);
        }
        if any_protocol {
            effect.protocols.clear();
        }
        if input && forward {
            let text = "INPUT and FORWARD together become the prerouting hook, before any port is redirected: \
                        the ports are those that the client sees";
            effect.notes.push((Kind::Approximation, text.to_owned()));
        }
        effect.forward = forward && !input;
        effect
    }
}

fn add(list: &mut Vec<String>, more: Vec<String>) {
    for word in more {
        if !list.contains(&word) {
            list.push(word);
        }
    }
}

/// What one firewall action does.
struct One {
    chains: Vec<String>,
    /// Empty: all.
    ports: Vec<String>,
    /// Empty: any.
    protocols: Vec<String>,
    reject: bool,
}

impl One {
    fn of(action: &Action) -> One {
        let (definition, _) = import::definition(action);
        let text = |verb| {
            let text = script::fixed(&definition, verb, Family::Inet4, &HostNames::default());
            text.unwrap_or_default()
        };
        let all = format!("{}\n{}", text(Verb::Start), text(Verb::Ban));
        let tag = |name: &str| resolved(&definition, name);
        let whole = |port: &String| {
            ["0:65535", "1:65535", "0-65535", "1-65535", "any", "all"].contains(&port.as_str())
        };
        // `--dports`, `dport \{`, `port port=`: the same words in every program that knows ports.
        let by_port = all.contains("dport") || all.contains("port port=") || all.contains(" port ");
        let mut ports = if by_port { words(&tag("port")) } else { Vec::new() };
        if ports.iter().any(whole) {
            ports.clear();
        }
        let by_protocol = by_port || all.contains("-p ") || all.contains("l4proto");
        let mut protocols = if by_protocol { words(&tag("protocol")) } else { Vec::new() };
        if protocols.iter().any(|protocol| protocol == "all") {
            protocols.clear();
            ports.clear();
        }
        let mut chains =
            if all.contains("hook forward") { vec!["FORWARD".to_owned()] } else { words(&tag("chain")) };
        // An nft chain's name means nothing, but for those that Docker users know from iptables.
        if action.file.starts_with("nftables") {
            chains.retain(|chain| FORWARD.contains(&chain.as_str()));
        }
        let lower = all.to_ascii_lowercase();
        // `route`: answers find no way out, so that the peer hears nothing.
        let reject = lower.contains("reject") && action.file != "route";
        One { chains, ports, protocols, reject }
    }
}

/// The value of a tag with the tags in it replaced.
fn resolved(definition: &Definition, tag: &str) -> String {
    let mut probe = Definition::new(&definition.name, &definition.file);
    probe.tags = definition.tags.clone();
    probe.commands.insert(Verb::Ban, format!("<{tag}>"));
    let text = script::fixed(&probe, Verb::Ban, Family::Inet4, &HostNames::default()).unwrap_or_default();
    if text == format!("<{tag}>") { String::new() } else { text }
}

fn words(list: &str) -> Vec<String> {
    list.split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;
