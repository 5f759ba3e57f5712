//! What a jail's actions do in a firewall: ports, protocols, chain and verdict, without any program's words.

use super::jail::{Action, Jail};

/// Actions whose effect is the engine's own: a ban in the firewall. By how their names begin.
const BANS: &[&str] = &[
    "nftables",
    "iptables",
    "firewallcmd-",
    "ufw",
    "route",
    "shorewall",
    "hostsdeny",
    "ipfw",
    "pf",
    "bsd-ipfw",
];

/// Those among them that know no ports.
const WHOLE_HOST: &[&str] = &["route", "hostsdeny", "shorewall"];

/// The sum of a jail's firewall actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Whether any action bans in a firewall.
    pub bans: bool,
    /// Every port, whatever `ports` says.
    pub all_ports: bool,
    /// As written: numbers, names, `first:last`.
    pub ports: Vec<String>,
    /// `tcp`, `udp` ...; as written, split at commas.
    pub protocols: Vec<String>,
    /// Only packets to other hosts: FORWARD, DOCKER-USER.
    pub forward: bool,
    /// Told to the peer instead of dropped.
    pub reject: bool,
    /// Chains that stand for no hook of ours.
    pub odd_chains: Vec<String>,
}

/// Whether `action` bans in a firewall, so that the engine does it itself.
pub fn bans(action: &Action) -> bool {
    BANS.iter().any(|name| action.file.starts_with(name))
}

impl Effect {
    /// Reads the actions of `jail`. Where several ban, the first one's ports count; any that bans all ports does.
    pub fn of(jail: &Jail) -> Effect {
        let mut effect = Effect {
            bans: false,
            all_ports: false,
            ports: Vec::new(),
            protocols: Vec::new(),
            forward: false,
            reject: false,
            odd_chains: Vec::new(),
        };
        let mut ports = None;
        let mut protocol = None;
        let mut input = false;
        for action in jail.actions.iter().filter(|action| bans(action)) {
            let option = |name: &str| action.options.get(name).map(String::as_str);
            effect.all_ports |= action.file.contains("allports")
                || option("type") == Some("allports")
                || WHOLE_HOST.contains(&action.file.as_str());
            let chains = option("chain").unwrap_or("<known/chain>");
            for chain in chains.split([',', ' ']).filter(|chain| !chain.is_empty()) {
                match chain {
                    "FORWARD" | "DOCKER-USER" | "forward" => effect.forward = true,
                    "<known/chain>" | "INPUT" | "input" => input = true,
                    odd => effect.odd_chains.push(odd.to_owned()),
                }
            }
            effect.reject |= !effect.bans && rejects(action);
            effect.bans = true;
            ports = ports.or(option("port").map(words));
            protocol = protocol.or(option("protocol").map(words));
        }
        // Prerouting, the other hook, lies before both.
        effect.forward &= !input;
        effect.ports = ports.unwrap_or_else(|| jail.ports.clone());
        effect.protocols =
            protocol.or(jail.protocol.as_deref().map(words)).unwrap_or_else(|| vec!["tcp".to_owned()]);
        effect.all_ports |= effect.ports.is_empty()
            || effect.ports.iter().any(|port| port == "0:65535")
            || effect.protocols.iter().any(|protocol| protocol == "all");
        effect
    }
}

fn words(list: &str) -> Vec<String> {
    list.split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether the action's commands answer the peer instead of dropping its packets.
fn rejects(action: &Action) -> bool {
    ["actionstart", "actionban"].iter().filter_map(|name| action.commands.get(*name)?.as_str()).any(|text| {
        let text = text.to_ascii_lowercase();
        text.contains("reject") || text.contains("unreachable")
    })
}
