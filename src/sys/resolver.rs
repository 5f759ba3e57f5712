//! The resolver's questions that the standard library does not ask: the name of an address, this host's full name.

#![expect(unsafe_code, reason = "getnameinfo and getaddrinfo with AI_CANONNAME have no safe form")]

use std::ffi::{CStr, CString, c_char};
use std::net::IpAddr;

/// A name is at most so long. Bytes.
const NAME_BYTES_MAX: usize = 1025;

/// The name that DNS gives `ip`; `None` where there is none. Whoever owns the address chose it. May take as long as the
/// resolver likes.
pub fn name_of(ip: IpAddr) -> Option<String> {
    let mut name = [0 as c_char; NAME_BYTES_MAX];
    let ask = |address: *const libc::sockaddr, length: usize, name: &mut [c_char; NAME_BYTES_MAX]| {
        // SAFETY: `address` points at `length` bytes of a socket address that live through the call, and the name is
        // written into a buffer whose length is given.
        unsafe {
            libc::getnameinfo(
                address,
                length as libc::socklen_t,
                name.as_mut_ptr(),
                NAME_BYTES_MAX as libc::socklen_t,
                std::ptr::null_mut(),
                0,
                libc::NI_NAMEREQD,
            )
        }
    };
    let done = match ip {
        IpAddr::V4(ip) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: 0,
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                sin_zero: [0; 8],
            };
            ask((&raw const address).cast(), size_of_val(&address), &mut name)
        }
        IpAddr::V6(ip) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                sin6_scope_id: 0,
            };
            ask((&raw const address).cast(), size_of_val(&address), &mut name)
        }
    };
    if done != 0 {
        return None;
    }
    let bytes: Vec<u8> = name.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
    String::from_utf8(bytes).ok()
}

/// This host's full name and its plain one. Where the resolver knows no full one, or one with odd characters, both are
/// the plain one.
pub fn host_names() -> (String, String) {
    let plain = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let plain = plain.filter(|name| is_name(name)).unwrap_or_else(|| "localhost".to_owned());
    let full = if plain.contains('.') { None } else { full_name(&plain) };
    (full.filter(|name| is_name(name)).unwrap_or_else(|| plain.clone()), plain)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn full_name(plain: &str) -> Option<String> {
    let name = CString::new(plain).ok()?;
    let mut found: *mut libc::addrinfo = std::ptr::null_mut();
    // SAFETY: an addrinfo of zeros is one without wishes.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = libc::AI_CANONNAME;
    // SAFETY: a string with its end, hints that live through the call, and a place for the list.
    let done =
        unsafe { libc::getaddrinfo(name.as_ptr(), std::ptr::null(), &raw const hints, &raw mut found) };
    if done != 0 || found.is_null() {
        return None;
    }
    // SAFETY: getaddrinfo gave a list of at least one entry, whose name is null or a string with its end; it is copied
    // before the list is given back, once.
    unsafe {
        let canonical = (*found).ai_canonname;
        let full = (!canonical.is_null()).then(|| CStr::from_ptr(canonical).to_string_lossy().into_owned());
        libc::freeaddrinfo(found);
        full.filter(|name| name.contains('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_the_name_that_the_hosts_file_gives_it() {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let name = name_of("127.0.0.1".parse().unwrap());
        let known = |line: &str| line.split_whitespace().next() == Some("127.0.0.1");
        assert_eq!(name.is_some(), hosts.lines().any(known), "{name:?}");
        // A network for documentation: no name, and no failure either.
        assert_eq!(name_of("2001:db8::1".parse().unwrap()), None);
    }

    #[test]
    fn this_host_has_two_names_of_harmless_characters() {
        let (full, plain) = host_names();
        assert!(is_name(&full) && is_name(&plain));
    }
}
