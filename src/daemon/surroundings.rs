//! What is around this host and never banned: its own addresses, its gateways and resolvers, and the place
//! from which an administrator is logged in right now.
//!
//! A fault in reading one of these only shortens the list: guarding goes on.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::unistd::{Group, User, getgrouplist};

use crate::addr::{Host, Net};
use crate::jail::Never;

/// What no rule and no hand may ban, by kind; the nets of a kind are sorted, so that two readings can be
/// compared. Trusted proxies are not in here: they are configured, not found.
pub fn never_banned() -> Vec<(Never, Vec<Net>)> {
    let route4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let route6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let mut gateways = gateways4(&route4);
    gateways.extend(gateways6(&route6));
    let nets = |hosts: Vec<Host>| {
        // An unspecified address stands for "none" in every one of these sources.
        let named = hosts.into_iter().filter(|host| !host.ip().is_unspecified());
        let mut nets: Vec<Net> = named.map(Net::host).collect();
        nets.sort();
        nets.dedup();
        nets
    };
    let loopback4 = Net::of(Host::new(Ipv4Addr::LOCALHOST.into()), 8);
    let loopback6 = Net::host(Host::new(Ipv6Addr::LOCALHOST.into()));
    vec![
        (Never::Loopback, vec![loopback4, loopback6]),
        (Never::Own, nets(own_addresses())),
        (Never::Gateway, nets(gateways)),
        (Never::Resolver, nets(resolvers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()))),
        (Never::AdminSession, nets(admin_hosts())),
    ]
}

fn own_addresses() -> Vec<Host> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))).map(Host::new)
        })
        .collect()
}

/// Gateways of default routes. Source: /proc/net/route, addresses as hexadecimal in host byte order.
fn gateways4(routes: &str) -> Vec<Host> {
    let gateway = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        (destination == "00000000").then_some(())?;
        let raw = u32::from_str_radix(gateway, 16).ok()?;
        Some(Host::new(Ipv4Addr::from(u32::from_be(raw.to_be().swap_bytes())).into()))
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

/// Gateways of default routes. Source: /proc/net/ipv6_route: destination, its length, source, its length,
/// next hop, all hexadecimal.
fn gateways6(routes: &str) -> Vec<Host> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (fields.get(1) == Some(&"00")).then_some(())?;
        let raw = u128::from_str_radix(fields.get(4)?, 16).ok()?;
        Some(Host::new(Ipv6Addr::from(raw).into()))
    };
    routes.lines().filter_map(gateway).collect()
}

/// `nameserver` lines of resolv.conf(5).
fn resolvers(text: &str) -> Vec<Host> {
    text.lines()
        .filter_map(|line| {
            line.trim().strip_prefix("nameserver")?.split_ascii_whitespace().next()?.parse().ok()
        })
        .collect()
}

/// Remote hosts of sessions whose user may become root.
fn admin_hosts() -> Vec<Host> {
    let mut sessions = logind_sessions(Path::new("/run/systemd/sessions"));
    if let Ok(records) = fs::read("/run/utmp") {
        sessions.extend(utmp_sessions(&records));
    }
    sessions.sort();
    sessions.dedup();
    sessions.into_iter().filter(|(user, _)| is_admin(user)).map(|(_, host)| host).collect()
}

/// (user, remote host) of each remote session. Source: systemd's session files, `KEY=value` lines; only
/// root writes there.
fn logind_sessions(folder: &Path) -> Vec<(String, Host)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let session = |text: String| {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        (value("REMOTE") == Some("1") && value("STATE") != Some("closing")).then_some(())?;
        Some((value("USER")?.to_owned(), value("REMOTE_HOST")?.parse().ok()?))
    };
    entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok()).filter_map(session).collect()
}

/// (user, remote host) of each session. Source: utmp(5), glibc's layout on 64-bit Linux: records of 384
/// bytes, ut_type at 0 (7: user process), ut_user at 44, ut_host at 76, ut_addr_v6 at 348.
fn utmp_sessions(records: &[u8]) -> Vec<(String, Host)> {
    const RECORD: usize = 384;
    const USER_PROCESS: i16 = 7;
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let session = |record: &[u8]| {
        (i16::from_ne_bytes([record[0], record[1]]) == USER_PROCESS).then_some(())?;
        let address: [u8; 16] = record[348..364].try_into().ok()?;
        let host = if address[4..].iter().all(|&byte| byte == 0) {
            let v4: [u8; 4] = address[..4].try_into().ok()?;
            Host::new(Ipv4Addr::from(v4).into())
        } else {
            Host::new(Ipv6Addr::from(address).into())
        };
        let host = if host.ip().is_unspecified() { text(&record[76..332]).parse().ok()? } else { host };
        Some((text(&record[44..76]), host))
    };
    records.chunks_exact(RECORD).filter_map(session).collect()
}

/// Whether `name` is root or in a group that commonly may become root.
fn is_admin(name: &str) -> bool {
    let Ok(Some(user)) = User::from_name(name) else { return false };
    if user.uid.is_root() {
        return true;
    }
    let Ok(name) = std::ffi::CString::new(name) else { return false };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    groups.into_iter().any(|gid| {
        let group = Group::from_gid(gid).ok().flatten();
        group.is_some_and(|group| matches!(group.name.as_str(), "root" | "sudo" | "wheel" | "admin"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(hosts: Vec<Host>) -> Vec<String> {
        hosts.iter().map(Host::to_string).collect()
    }

    #[test]
    fn the_gateway_of_the_default_route_is_found() {
        let routes = "Iface\tDestination\tGateway \tFlags\n\
                      eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n\
                      eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        assert_eq!(texts(gateways4(routes)), ["192.0.2.1"]);
        let routes = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                      20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";
        assert_eq!(texts(gateways6(routes)), ["2001:db8::1"]);
    }

    #[test]
    fn resolvers_are_read_from_resolv_conf() {
        let text =
            "# nameserver 192.0.2.9\nnameserver 192.0.2.53\nsearch example.org\nnameserver fe80::1%eth0\n";
        assert_eq!(texts(resolvers(text)), ["192.0.2.53", "fe80::1"]);
    }

    #[test]
    fn remote_sessions_are_read_from_utmp_and_logind() {
        let mut record = [0u8; 384];
        record[0] = 7;
        record[44..48].copy_from_slice(b"root");
        record[76..87].copy_from_slice(b"203.0.113.9");
        let mut records = record.to_vec();
        record[348..352].copy_from_slice(&[198, 51, 100, 7]);
        records.extend(record);
        record[0] = 8;
        records.extend(record);
        let hosts = utmp_sessions(&records).into_iter().map(|(_, host)| host).collect();
        assert_eq!(texts(hosts), ["203.0.113.9", "198.51.100.7"]);

        let folder = tempfile::tempdir().unwrap();
        let session = "UID=0\nUSER=root\nREMOTE=1\nREMOTE_HOST=2001:db8::7\nSTATE=active\n";
        fs::write(folder.path().join("3"), session).unwrap();
        fs::write(folder.path().join("4"), "USER=root\nREMOTE=0\nSTATE=active\n").unwrap();
        let sessions = logind_sessions(folder.path());
        assert_eq!(sessions, [("root".to_owned(), "2001:db8::7".parse().unwrap())]);
    }

    #[test]
    fn loopback_and_own_addresses_are_never_banned() {
        let never = never_banned();
        let why = |text: &str| {
            let host = text.parse().unwrap();
            let holds = |nets: &[Net]| nets.iter().any(|net| net.contains(host));
            never.iter().filter(|(_, nets)| holds(nets)).map(|(kind, _)| *kind).collect::<Vec<_>>()
        };
        assert_eq!(why("127.0.0.1"), [Never::Loopback, Never::Own]);
        assert_eq!(why("127.9.9.9"), [Never::Loopback]);
        assert_eq!(why("203.0.113.77"), []);
    }
}
