//! Lines a second: ordinary ones, which no pattern reads; failed logins; the same for filters of fail2ban; and dates alone.
//!
//! `cargo bench --bench filter`. Whole processes beside peers: `packaging/bench/run`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portero::fail2ban::encoding::Encoding;
use portero::fail2ban::matcher::{Program, Rules};
use portero::fail2ban::set::FilterSet as ImportedSet;
use portero::filter::peer::TrustedProxies;
use portero::filter::timestamp::{Resolver, at_start};
use portero::filter::{Context, Filter, FilterSet, FilterSpec, FilterState};
use portero::limits::Limits;
use portero::shipped;
use portero::time::Timestamp;

const NOW: i64 = 1_795_300_000;
const FOUR: [&str; 4] = ["postfix-sasl", "dovecot", "cyrus", "sshd"];

/// What a mail host writes all day.
const ORDINARY: &str = "\
Nov 21 06:27:45 mail postfix/smtpd[4711]: connect from host-7.example.net[203.0.113.7]
Nov 21 06:27:45 mail postfix/qmgr[812]: 4F2B1C0A7D: from=<rosa@example.org>, size=4711, nrcpt=1 (queue active)
Nov 21 06:27:45 mail postfix/smtpd[4711]: disconnect from host-7.example.net[203.0.113.7] ehlo=1 quit=1 commands=2
Nov 21 06:27:46 mail dovecot: imap(rosa)<812><x7QpZ1>: Disconnected: Logged out in=124 out=1822 deleted=0 expunged=0
Nov 21 06:27:46 mail CRON[99]: (root) CMD (test -x /usr/sbin/anacron)
";

/// A failed login at each of the four services.
const FAILED: &str = "\
Nov 21 06:27:45 mail postfix/smtps/smtpd[4711]: warning: host-7.example.net[203.0.113.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=rosa
Nov 21 06:27:45 mail dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<rosa>, method=PLAIN, rip=203.0.113.7, lip=192.0.2.10, TLS, session=<hnmRNR6E58pvQBZi>
Nov 21 06:27:45 mail cyrus/imaps[812]: badlogin: host-7.example.net [203.0.113.7] PLAIN [SASL(-13): authentication failure: Password verification failed]
Nov 21 06:27:45 mail sshd[99]: Failed password for invalid user rosa from 203.0.113.7 port 50112 ssh2
";

const DATES: [&str; 4] = [
    "Nov 21 06:27:45 ",
    "2026-11-21T06:27:45.123456+01:00 ",
    "2026-11-21 06:27:45,123 ",
    "[21/Nov/2026:06:27:45 +0100] ",
];

fn set(names: &[&str]) -> FilterSet {
    let filter =
        |name: &&str| Arc::new(Filter::shipped(&FilterSpec::normal(name)).expect("a shipped filter"));
    let context = Context {
        timezone: chrono_tz::Europe::Madrid,
        year: None,
        trusted_proxies: TrustedProxies::private(),
        sessions_max: Limits::default().sessions_max,
    };
    FilterSet::new(names.iter().map(filter).collect(), context)
}

fn lines(criterion: &mut Criterion) {
    let all: Vec<&str> = shipped::FILTERS.iter().map(|(name, _)| *name).collect();
    for (kind, text) in [("ordinary", ORDINARY), ("failed", FAILED)] {
        let block = text.repeat(200);
        let mut group = criterion.benchmark_group(format!("{kind} lines"));
        group.throughput(Throughput::Elements(block.lines().count() as u64));
        for (names, with) in [(&FOUR[..], "4 filters"), (&all[..], "all filters")] {
            let set = set(names);
            let mut state = FilterState::default();
            group.bench_function(with, |bencher| {
                bencher.iter(|| {
                    let block = black_box(block.as_bytes());
                    set.scan(&mut state, Timestamp::from_secs(NOW), block, &mut |attempt| {
                        black_box(attempt);
                    })
                });
            });
        }
    }
}

/// Filters as an admin has them for fail2ban: one per service, some with a datepattern of their own.
fn imported_set(count: usize) -> ImportedSet {
    let program = |number: usize| {
        let daemon = ["postfix/smtpd", "dovecot", "cyrus/imaps", "sshd"].get(number).copied();
        let daemon = daemon.map_or_else(|| format!("service{number}"), str::to_owned);
        let rules = Rules {
            prefregex: Some(format!(r"^\s*\S+ {daemon}\[\d+\]: <F-CONTENT>.+</F-CONTENT>$")),
            failregex: vec![
                r"^warning: [^[]*\[<HOST>\]: SASL \w+ authentication failed:(?! Connection lost)".to_owned(),
                r"^Failed password for <F-USER>.*</F-USER> from <HOST> port \d+".to_owned(),
                format!("^refusal {number} of <HOST>$"),
            ],
            datepattern: (number % 4 == 3).then(|| format!("{{^LN-BEG}}{{DATE}} {number}\n{{^LN-BEG}}")),
            maxlines: 1,
            ..Rules::default()
        };
        let zone = chrono_tz::Europe::Madrid;
        Arc::new(Program::new(&rules, zone, Timestamp::from_secs(NOW)).expect("a filter"))
    };
    ImportedSet::new((0..count).map(program).collect(), Encoding::Utf8)
}

fn imported(criterion: &mut Criterion) {
    for (kind, text) in [("ordinary", ORDINARY), ("failed", FAILED)] {
        let block = text.repeat(200);
        let mut group = criterion.benchmark_group(format!("{kind} lines, imported filters"));
        group.throughput(Throughput::Elements(block.lines().count() as u64));
        for count in [4, 64] {
            let set = imported_set(count);
            let mut state = set.begin();
            group.bench_function(format!("{count} filters"), |bencher| {
                bencher.iter(|| {
                    let block = black_box(block.as_bytes());
                    set.scan(&mut state, Timestamp::from_secs(NOW), block, &mut |attempt| {
                        black_box(attempt);
                    })
                });
            });
        }
    }
}

fn dates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dates");
    for text in DATES {
        let mut resolver = Resolver::new(chrono_tz::Europe::Madrid, None);
        let now = Timestamp::from_secs(NOW);
        group.bench_function(text.trim(), |bencher| {
            bencher.iter(|| {
                let (_, date) = at_start(black_box(text.as_bytes()))?;
                resolver.resolve(date, now, None)
            });
        });
    }
}

criterion_group!(benches, lines, imported, dates);
criterion_main!(benches);
