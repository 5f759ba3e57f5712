//! Chains and rules of a plan, written by nftnl. Pure: what comes out are the bytes of finished messages.

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr};

use nftnl::expr::{
    IcmpCode, Icmpv6HeaderField, Payload, RejectionType, TransportHeaderField, Verdict as NftVerdict,
};
use nftnl::set::{Set, SetKey};
use nftnl::{Batch, Chain, ChainType, MsgType, Policy, ProtoFamily, Rule, Table, nft_expr};

use super::TABLE;
use super::layout::{self, Kind, REFUSE, SetDef};
use crate::firewall::rules::merged;
use crate::firewall::wire;
use crate::firewall::{Hook, JailRules, Plan, PortRange, Ports, Protocol, Verdict};
use crate::sys::nft::CtDirection;

/// After conntrack (-200), so that its direction is known, and before dstnat (-100), so that ports are as the client
/// sees them.
const PRIORITY: i32 = -150;
/// A range of more ports than this may hold the ports that our own outgoing connections come from.
const PORTS_OF_A_SERVICE: u16 = 1000;

/// The base chains, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Prerouting,
    Input,
    Forward,
}

impl Base {
    fn name(self) -> &'static str {
        match self {
            Base::Prerouting => "prerouting",
            Base::Input => "input",
            Base::Forward => "forward",
        }
    }

    fn hook(self) -> nftnl::Hook {
        match self {
            Base::Prerouting => nftnl::Hook::PreRouting,
            Base::Input => nftnl::Hook::In,
            Base::Forward => nftnl::Hook::Forward,
        }
    }
}

/// What the kernel can do that matters to rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// `reject` in prerouting: kernel 5.9. Without it such jails work at input and forward, there by the ports after
    /// DNAT.
    pub reject_in_prerouting: bool,
}

fn base_of(jail: &JailRules, can: Abilities) -> &'static [Base] {
    match (jail.hook, jail.verdict) {
        (Hook::Forward, _) => &[Base::Forward],
        (Hook::Prerouting, Verdict::Reject) if !can.reject_in_prerouting => &[Base::Input, Base::Forward],
        (Hook::Prerouting, _) => &[Base::Prerouting],
    }
}

/// The base chains that the plan needs; prerouting always.
fn bases(plan: &Plan, can: Abilities) -> Vec<Base> {
    let used = |base: &Base| {
        *base == Base::Prerouting || plan.jails.iter().any(|jail| base_of(jail, can).contains(base))
    };
    [Base::Prerouting, Base::Input, Base::Forward].into_iter().filter(used).collect()
}

fn refuses(plan: &Plan) -> bool {
    plan.jails.iter().any(|jail| jail.verdict == Verdict::Reject)
}

/// The names of all chains of a plan.
pub fn chain_names(plan: &Plan, can: Abilities) -> Vec<String> {
    let mut names: Vec<String> = plan.jails.iter().map(|jail| layout::jail_chain(&jail.name)).collect();
    names.extend(refuses(plan).then(|| REFUSE.to_owned()));
    names.extend(bases(plan, can).into_iter().map(|base| base.name().to_owned()));
    names
}

/// Messages that add the chains of `plan` and, after the sets are there, fill them with rules.
pub fn messages(plan: &Plan, can: Abilities) -> Vec<u8> {
    let name = CString::new(TABLE).expect("a constant without NUL");
    let table = Table::new(name, ProtoFamily::Inet);
    let mut out = Ruleset { table: &table, batch: Batch::new(), sets: 0 };
    if refuses(plan) {
        out.refuse();
    }
    for jail in &plan.jails {
        out.jail(jail);
    }
    for base in bases(plan, can) {
        out.base(base, plan, can);
    }
    out.finish()
}

/// A port as the element of a set.
struct Port(u16);

impl SetKey for Port {
    /// nft's `inet_service`.
    const TYPE: u32 = 13;
    const LEN: u32 = 2;

    fn data(&self) -> Box<[u8]> {
        Box::new(self.0.to_be_bytes())
    }
}

struct Ruleset<'t> {
    table: &'t Table,
    batch: Batch,
    /// Ids given out, one for each lookup.
    sets: u32,
}

impl Ruleset<'_> {
    fn refuse(&mut self) {
        let chain = Chain::new(c_string(REFUSE), self.table);
        self.batch.add(&chain, MsgType::Add);
        let mut reset = Rule::new(&chain);
        l4proto(&mut reset, Protocol::Tcp);
        reset.add_expr(&NftVerdict::Reject(RejectionType::TcpRst));
        self.batch.add(&reset, MsgType::Add);
        let mut unreachable = Rule::new(&chain);
        unreachable.add_expr(&NftVerdict::Reject(RejectionType::Icmp(IcmpCode::PortUnreach)));
        self.batch.add(&unreachable, MsgType::Add);
    }

    /// One rule for each set: whoever is in it is counted and dropped.
    fn jail(&mut self, jail: &JailRules) {
        let chain = Chain::new(c_string(&layout::jail_chain(&jail.name)), self.table);
        self.batch.add(&chain, MsgType::Add);
        for set in layout::jail_sets(jail) {
            let mut rule = Rule::new(&chain);
            self.source_in(&mut rule, &set);
            rule.add_expr(&nft_expr!(counter));
            match jail.verdict {
                Verdict::Drop => rule.add_expr(&NftVerdict::Drop),
                Verdict::Reject => rule.add_expr(&NftVerdict::Goto { chain: c_string(REFUSE) }),
            }
            self.batch.add(&rule, MsgType::Add);
        }
    }

    fn base(&mut self, base: Base, plan: &Plan, can: Abilities) {
        let mut chain = Chain::new(c_string(base.name()), self.table);
        chain.set_hook(base.hook(), PRIORITY);
        chain.set_type(ChainType::Filter);
        chain.set_policy(Policy::Accept);
        self.batch.add(&chain, MsgType::Add);

        for ipv4 in [true, false] {
            let mut rule = Rule::new(&chain);
            self.source_in(&mut rule, &layout::allow_set(ipv4));
            rule.add_expr(&NftVerdict::Return);
            self.batch.add(&rule, MsgType::Add);
        }
        let here = || plan.jails.iter().filter(|jail| base_of(jail, can).contains(&base));
        for jail in here().filter(|jail| !meets_replies(&jail.ports)) {
            self.jumps(&chain, jail);
        }
        if here().any(|jail| meets_replies(&jail.ports)) {
            // Asked this way round, and not as `ct direction original` in each rule: a packet without connection
            // (untracked, invalid) has no direction and would slip past every such rule.
            let mut rule = Rule::new(&chain);
            rule.add_expr(&CtDirection);
            rule.add_expr(&nft_expr!(cmp == 1u8));
            rule.add_expr(&NftVerdict::Return);
            self.batch.add(&rule, MsgType::Add);
            self.neighbours(&chain);
        }
        for jail in here().filter(|jail| meets_replies(&jail.ports)) {
            self.jumps(&chain, jail);
        }
    }

    /// Neighbour and router discovery (ICMPv6 133 to 136) passes: it belongs to no connection, works on the own wire
    /// only, and without it not even our own connections to a banned neighbour would go.
    fn neighbours(&mut self, chain: &Chain<'_>) {
        let mut rule = Rule::new(chain);
        rule.add_expr(&nft_expr!(meta nfproto));
        rule.add_expr(&nft_expr!(cmp == libc::NFPROTO_IPV6 as u8));
        rule.add_expr(&nft_expr!(meta l4proto));
        rule.add_expr(&nft_expr!(cmp == libc::IPPROTO_ICMPV6 as u8));
        rule.add_expr(&Payload::Transport(TransportHeaderField::Icmpv6(Icmpv6HeaderField::Type)));
        rule.add_expr(&nft_expr!(cmp >= 133u8));
        rule.add_expr(&nft_expr!(cmp <= 136u8));
        rule.add_expr(&NftVerdict::Return);
        self.batch.add(&rule, MsgType::Add);
    }

    /// The rules that send a jail's packets to its chain.
    fn jumps(&mut self, chain: &Chain<'_>, jail: &JailRules) {
        let to = || NftVerdict::Jump { chain: c_string(&layout::jail_chain(&jail.name)) };
        let ranges = match &jail.ports {
            Ports::All if jail.protocols.is_empty() => {
                let mut rule = Rule::new(chain);
                rule.add_expr(&to());
                self.batch.add(&rule, MsgType::Add);
                return;
            }
            Ports::All => None,
            Ports::List(ranges) => Some(merged(ranges)),
        };
        let mut protocols = jail.protocols.clone();
        if protocols.is_empty() {
            protocols.push(Protocol::Tcp);
        }
        protocols.sort_unstable();
        protocols.dedup();
        for protocol in protocols {
            let Some(ranges) = &ranges else {
                let mut rule = Rule::new(chain);
                l4proto(&mut rule, protocol);
                rule.add_expr(&to());
                self.batch.add(&rule, MsgType::Add);
                continue;
            };
            let (single, wide): (Vec<&PortRange>, Vec<&PortRange>) =
                ranges.iter().partition(|range| range.first == range.last);
            if !single.is_empty() {
                let mut rule = Rule::new(chain);
                l4proto(&mut rule, protocol);
                destination_port(&mut rule);
                if let [port] = single[..] {
                    rule.add_expr(&nft_expr!(cmp == port.first.to_be()));
                } else {
                    self.sets += 1;
                    let mut ports = Set::<Port>::new(c"__set%d", self.sets, self.table, ProtoFamily::Inet);
                    for port in single {
                        ports.add(&Port(port.first));
                    }
                    self.batch.add(&ports, MsgType::Add);
                    self.batch.add_iter(ports.elems_iter(), MsgType::Add);
                    rule.add_expr(&nft_expr!(lookup & ports));
                }
                rule.add_expr(&to());
                self.batch.add(&rule, MsgType::Add);
            }
            for range in wide {
                let mut rule = Rule::new(chain);
                l4proto(&mut rule, protocol);
                destination_port(&mut rule);
                rule.add_expr(&nft_expr!(cmp >= range.first.to_be()));
                rule.add_expr(&nft_expr!(cmp <= range.last.to_be()));
                rule.add_expr(&to());
                self.batch.add(&rule, MsgType::Add);
            }
        }
    }

    /// The packet's source, masked where the set holds prefixes, is in `set`.
    fn source_in(&mut self, rule: &mut Rule<'_>, set: &SetDef) {
        let family = if set.ipv4 { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 } as u8;
        rule.add_expr(&nft_expr!(meta nfproto));
        rule.add_expr(&nft_expr!(cmp == family));
        self.sets += 1;
        if set.ipv4 {
            rule.add_expr(&nft_expr!(payload ipv4 saddr));
        } else {
            rule.add_expr(&nft_expr!(payload ipv6 saddr));
        }
        let name = c_string(&set.name);
        match set.kind {
            Kind::Prefix(length) if set.ipv4 => {
                let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0));
                rule.add_expr(&nft_expr!(bitwise mask mask, xor Ipv4Addr::UNSPECIFIED));
            }
            Kind::Prefix(length) => {
                let mask = Ipv6Addr::from(u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0));
                rule.add_expr(&nft_expr!(bitwise mask mask, xor Ipv6Addr::UNSPECIFIED));
            }
            Kind::Hosts | Kind::Wide | Kind::Allow => {}
        }
        // nftnl looks up only sets of its own making, so here is one of the same name; it is not sent.
        if set.ipv4 {
            let set = Set::<Ipv4Addr>::new_named(&name, self.sets, self.table, ProtoFamily::Inet);
            rule.add_expr(&nft_expr!(lookup & set));
        } else {
            let set = Set::<Ipv6Addr>::new_named(&name, self.sets, self.table, ProtoFamily::Inet);
            rule.add_expr(&nft_expr!(lookup & set));
        }
    }

    /// All messages but the batch's own begin and end.
    fn finish(self) -> Vec<u8> {
        const NLMSG_MIN_TYPE: u16 = 0x100;
        let mut out = Vec::new();
        for page in &self.batch.finalize() {
            let mut page = page;
            while let Some(length) =
                wire::u32_at(page, 0).map(|n| n as usize).filter(|n| *n >= wire::HEADER_BYTES)
            {
                let next = length.next_multiple_of(4).min(page.len());
                if wire::u16_at(page, 4).is_some_and(|kind| kind >= NLMSG_MIN_TYPE) {
                    out.extend_from_slice(&page[..next]);
                }
                page = &page[next..];
            }
        }
        out
    }
}

/// Whether a rule for these ports could hit replies to connections that this host opened.
fn meets_replies(ports: &Ports) -> bool {
    match ports {
        Ports::All => true,
        Ports::List(ranges) => ranges.iter().any(|r| r.last.saturating_sub(r.first) >= PORTS_OF_A_SERVICE),
    }
}

fn l4proto(rule: &mut Rule<'_>, protocol: Protocol) {
    rule.add_expr(&nft_expr!(meta l4proto));
    rule.add_expr(&nft_expr!(cmp == protocol.number()));
}

/// The destination port stands at the same place in all four protocols.
fn destination_port(rule: &mut Rule<'_>) {
    rule.add_expr(&nft_expr!(payload tcp dport));
}

fn c_string(name: &str) -> CString {
    CString::new(name).expect("names of jails and chains hold no NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::nftables::batch::{NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, kind};
    use crate::jail::JailName;

    const CAN: Abilities = Abilities { reject_in_prerouting: true };

    fn count(plan: &Plan, can: Abilities, message: u8) -> usize {
        wire::messages(&messages(plan, can)).filter(|m| m.kind == kind(message)).count()
    }

    fn plan() -> Plan {
        let jail = |name: &str| JailRules::all_ports(JailName::new(name).unwrap());
        let ports = vec![25.into(), 465.into(), PortRange { first: 600, last: 610 }];
        let mail = JailRules { ports: Ports::List(ports), ipv6_prefix: 64, ..jail("mail") };
        Plan { jails: vec![mail, jail("manual")], ..Plan::default() }
    }

    #[test]
    fn a_plan_becomes_chains_rules_and_port_sets() {
        // Chains: two jails, prerouting. Rules: 5 and 4 in the jails; allow 2, ports 2, replies
        // and neighbours 2, all ports.
        assert_eq!(count(&plan(), CAN, NFT_MSG_NEWCHAIN), 3);
        assert_eq!(count(&plan(), CAN, NFT_MSG_NEWRULE), 5 + 4 + 2 + 2 + 2 + 1);
        assert_eq!(count(&plan(), CAN, NFT_MSG_NEWSET), 1);
        assert_eq!(chain_names(&plan(), CAN), ["jail/mail", "jail/manual", "prerouting"]);
    }

    #[test]
    fn where_prerouting_cannot_reject_it_is_done_at_input_and_forward() {
        let mut plan = plan();
        plan.jails[0].verdict = Verdict::Reject;
        let cannot = Abilities { reject_in_prerouting: false };
        assert_eq!(chain_names(&plan, CAN), ["jail/mail", "jail/manual", "refuse", "prerouting"]);
        let names = chain_names(&plan, cannot);
        assert_eq!(names, ["jail/mail", "jail/manual", "refuse", "prerouting", "input", "forward"]);
        assert_eq!(count(&plan, cannot, NFT_MSG_NEWCHAIN), 6);
    }

    #[test]
    fn a_jail_without_ports_has_no_way_in() {
        let mut plan = plan();
        plan.jails[0].ports = Ports::of(&[]);
        assert_eq!(count(&plan, CAN, NFT_MSG_NEWRULE), 5 + 4 + 2 + 2 + 1);
    }
}
