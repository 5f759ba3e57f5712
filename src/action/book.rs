//! The lines and fields behind open failures and bans, for jails whose actions want them. Bounded: what is oldest goes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::ticket::{Evidence, Lines};
use crate::addr::Net;
use crate::jail::JailName;

/// A field keeps no more. Bytes.
const FIELD_BYTES_MAX: usize = 4096;

/// Fields of one failure that are kept.
const FIELDS_MAX: usize = 32;

/// What was seen of one address in one jail.
#[derive(Debug, Default)]
struct Page {
    lines: VecDeque<Box<[u8]>>,
    fields: BTreeMap<String, Vec<u8>>,
    failures: u32,
    /// When it was opened, counted in pages: so that a page that is gone and opened anew is not taken for the old one.
    number: u64,
}

impl Page {
    fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.lines.iter().map(|line| line.len()).sum::<usize>() + fields + PAGE_BYTES
    }
}

/// What a page takes beside its texts, roughly.
const PAGE_BYTES: usize = 200;

#[derive(Debug)]
pub(super) struct Book {
    /// Jails that are kept book of, with the number of lines for each address.
    jails: HashMap<JailName, usize>,
    pages: HashMap<(JailName, Net), Page>,
    order: VecDeque<(u64, (JailName, Net))>,
    bytes: usize,
    bytes_max: usize,
    opened: u64,
}

impl Book {
    pub fn new(bytes_max: usize) -> Book {
        Book {
            jails: HashMap::new(),
            pages: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            opened: 0,
        }
    }

    /// Takes over which jails are kept book of.
    pub fn configure(&mut self, jails: HashMap<JailName, usize>) {
        let gone: Vec<_> = self.pages.keys().filter(|(jail, _)| !jails.contains_key(jail)).cloned().collect();
        for key in gone {
            self.forget(&key.0, key.1);
        }
        self.jails = jails;
    }

    pub fn keeps(&self, jail: &JailName) -> bool {
        self.jails.contains_key(jail)
    }

    /// A failure of `target` that counted.
    pub fn saw<'a>(
        &mut self,
        jail: &JailName,
        target: Net,
        times: u32,
        lines: impl Iterator<Item = &'a [u8]>,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) {
        let Some(&lines_max) = self.jails.get(jail) else { return };
        let key = (jail.clone(), target);
        let opened = &mut self.opened;
        let order = &mut self.order;
        let page = self.pages.entry(key.clone()).or_insert_with(|| {
            *opened += 1;
            order.push_back((*opened, key));
            Page { number: *opened, ..Page::default() }
        });
        let before = if page.failures == 0 { 0 } else { page.bytes() };
        page.failures = page.failures.saturating_add(times);
        for line in lines {
            page.lines.push_back(line.into());
            if page.lines.len() > lines_max {
                page.lines.pop_front();
            }
        }
        for (name, value) in fields {
            if page.fields.len() < FIELDS_MAX || page.fields.contains_key(name) {
                page.fields.insert(name.to_owned(), value[..value.len().min(FIELD_BYTES_MAX)].to_vec());
            }
        }
        self.bytes = self.bytes + page.bytes() - before;
        while self.bytes > self.bytes_max
            && let Some((number, key)) = self.order.pop_front()
        {
            if self.pages.get(&key).is_some_and(|page| page.number == number) {
                self.forget(&key.0, key.1);
            }
        }
        // Pages that were forgotten otherwise leave their place in the order behind.
        if self.order.len() > 2 * self.pages.len() + 64 {
            let pages = &self.pages;
            self.order.retain(|(number, key)| pages.get(key).is_some_and(|page| page.number == *number));
        }
    }

    /// What was seen of `target` in `jail`.
    pub fn evidence(&self, jail: &JailName, target: Net) -> Evidence {
        let Some(page) = self.pages.get(&(jail.clone(), target)) else { return Evidence::default() };
        Evidence { matches: page.lines.iter().cloned().collect(), fields: page.fields.clone() }
    }

    /// The lines and the number of failures of `target` in every jail that book is kept of.
    pub fn everywhere(&self, target: Net) -> (Lines, u32) {
        let mut jails: Vec<&JailName> = self.jails.keys().collect();
        jails.sort();
        let mut lines = Lines::new();
        let mut failures = 0u32;
        for jail in jails {
            if let Some(page) = self.pages.get(&(jail.clone(), target)) {
                lines.extend(page.lines.iter().cloned());
                failures = failures.saturating_add(page.failures);
            }
        }
        (lines, failures)
    }

    /// Its ban is over.
    pub fn forget(&mut self, jail: &JailName, target: Net) {
        if let Some(page) = self.pages.remove(&(jail.clone(), target)) {
            self.bytes -= page.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_and_fields_stay_and_memory_is_bounded() {
        let jail = JailName::new("sshd").unwrap();
        let mut book = Book::new(10_000);
        book.configure(HashMap::from([(jail.clone(), 2)]));
        let net: Net = "203.0.113.7".parse().unwrap();
        for line in ["one", "two", "three"] {
            let fields = [("user", line.as_bytes())];
            book.saw(&jail, net, 1, std::iter::once(line.as_bytes()), fields.into_iter());
        }
        let evidence = book.evidence(&jail, net);
        assert_eq!(evidence.matches, [b"two"[..].into(), b"three"[..].into()]);
        assert_eq!(evidence.fields["user"], b"three");
        assert_eq!(book.everywhere(net).1, 3);
        for n in 0..10_000u32 {
            let net = Net::host(crate::addr::Host::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()));
            book.saw(&jail, net, 1, std::iter::once(&[b'x'; 300][..]), std::iter::empty());
            assert!(book.bytes <= 10_000 && book.order.len() < 400);
            if n % 3 == 0 {
                book.forget(&jail, net);
            }
        }
        assert_eq!(book.bytes, book.pages.values().map(Page::bytes).sum::<usize>());
        assert!(book.evidence(&jail, net).matches.is_empty());
        book.configure(HashMap::new());
        assert_eq!((book.bytes, book.pages.len()), (0, 0));
    }
}
