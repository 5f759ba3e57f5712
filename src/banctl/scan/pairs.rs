//! Who tried what: distinct pairs of address and account, by the ids that the summary gives them.

/// Pairs kept before they are sorted for the first time. Entries.
const SORTED_FIRST: usize = 1 << 18;

/// A set of pairs that is cheap to add to: they are gathered as they come and made distinct now and then.
#[derive(Debug)]
pub(super) struct Pairs {
    /// (address, account); distinct and in order up to `sorted`.
    list: Vec<(u32, u32)>,
    sorted: usize,
    max: usize,
}

impl Pairs {
    /// `max`: distinct pairs kept at most.
    pub fn new(max: usize) -> Pairs {
        Pairs { list: Vec::new(), sorted: 0, max }
    }

    /// False: there is no room for another pair, and this one may be missing.
    #[inline]
    pub fn add(&mut self, host: u32, account: u32) -> bool {
        // Not more than twice what is distinct, so that sorting costs little for each pair.
        if self.list.len() >= (self.sorted * 2).max(SORTED_FIRST).min(self.max) {
            self.compact();
            if self.list.len() >= self.max {
                return self.list.binary_search(&(host, account)).is_ok();
            }
        }
        self.list.push((host, account));
        true
    }

    fn compact(&mut self) {
        if self.sorted < self.list.len() {
            self.list.sort_unstable();
            self.list.dedup();
            self.sorted = self.list.len();
        }
    }

    /// How many accounts were tried from each of `hosts`, and from how many addresses each of `accounts`.
    pub fn count(&self, hosts: &[u32], accounts: &[u32]) -> (Vec<u64>, Vec<u64>) {
        // Few are asked for: only their pairs are worth being made distinct.
        let (of_hosts, of_accounts) = (marked(hosts), marked(accounts));
        let is = |marks: &[bool], id: u32| marks.get(id as usize).is_some_and(|mark| *mark);
        let asked = |(host, account): &(u32, u32)| is(&of_hosts, *host) || is(&of_accounts, *account);
        let mut list: Vec<(u32, u32)> = self.list.iter().copied().filter(asked).collect();
        list.sort_unstable();
        list.dedup();
        let count = |of: &dyn Fn(&(u32, u32)) -> bool| list.iter().filter(|pair| of(pair)).count() as u64;
        let of_host = |host: &u32| count(&|pair| pair.0 == *host);
        let of_account = |account: &u32| count(&|pair| pair.1 == *account);
        (hosts.iter().map(of_host).collect(), accounts.iter().map(of_account).collect())
    }
}

/// True at each of `ids`.
fn marked(ids: &[u32]) -> Vec<bool> {
    let mut marks = vec![false; ids.iter().max().map_or(0, |most| *most as usize + 1)];
    ids.iter().for_each(|id| marks[*id as usize] = true);
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_count_once_however_often_they_come() {
        let mut pairs = Pairs::new(SORTED_FIRST * 4);
        for round in 0..3 * SORTED_FIRST as u32 {
            assert!(pairs.add(round % 7, round % 11));
        }
        assert!(pairs.list.len() <= SORTED_FIRST);
        assert_eq!(pairs.count(&[0, 6, 7], &[10, 3, 11]), (vec![11, 11, 0], vec![7, 7, 0]));
    }

    #[test]
    fn what_finds_no_room_is_said() {
        let mut pairs = Pairs::new(100);
        assert!((0..100).all(|account| pairs.add(1, account)));
        assert!(pairs.add(1, 99), "known already");
        assert!(!pairs.add(1, 100));
        assert_eq!(pairs.count(&[1], &[]).0, [100]);
    }
}
