//! Attempts a second, and bytes held for each tracked address and each ban.
//!
//! `cargo bench --bench jail` measures both; the bytes are asserted in `tests/footprint.rs` too.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use portero::addr::Host;
use portero::filter::{Attempt, Outcome};
use portero::jail::{JailId, JailName, JailSettings, Jails};
use portero::limits::Limits;
use portero::time::Timestamp;

const START: i64 = 1_795_300_000;

fn jails() -> (Jails, JailId) {
    let name = JailName::new("postfix-sasl").expect("a jail's name");
    let jails = Jails::new(vec![JailSettings::new(name)], Vec::new(), &Limits::default(), 1);
    let id = jails.id("postfix-sasl").expect("just made");
    (jails, id)
}

fn failure(from: u32, at: Timestamp) -> Attempt<'static> {
    Attempt {
        outcome: Outcome::Failure,
        host: Some(Host::new(Ipv4Addr::from(from).into())),
        user: None,
        pwhash: None,
        time: Some(at),
        times: 1,
        line: b"",
        line_index: 0,
        filter: 0,
        pattern: 0,
        beside: Default::default(),
    }
}

/// 200,000 failures of 2,000 attackers: the burst of DESIGN's budget.
fn burst(criterion: &mut Criterion) {
    const LINES: u32 = 200_000;
    let mut group = criterion.benchmark_group("jail");
    group.throughput(Throughput::Elements(u64::from(LINES))).sample_size(10);
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("burst of 200,000 failures from 2,000 addresses", |bencher| {
        bencher.iter_batched_ref(
            jails,
            |(jails, id)| {
                let mut out = Vec::new();
                for n in 0..LINES {
                    let at = Timestamp::from_secs(START + i64::from(n / 1000));
                    jails.attempt(at, true, *id, &failure(0x0b00_0000 + n % 2000, at), &mut out);
                }
                black_box(out.len())
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("flood of 200,000 new addresses into a full table", |bencher| {
        let limits = Limits { tracked_keys_max: 100_000, ..Limits::default() };
        bencher.iter_batched_ref(
            || {
                let name = JailName::new("postfix-sasl").expect("a jail's name");
                Jails::new(vec![JailSettings::new(name)], Vec::new(), &limits, 1)
            },
            |jails| {
                let id = jails.id("postfix-sasl").expect("just made");
                let mut out = Vec::new();
                for n in 0..LINES {
                    let at = Timestamp::from_secs(START + i64::from(n / 1000));
                    jails.attempt(at, true, id, &failure(0x0b00_0000 + n, at), &mut out);
                }
                black_box(jails.tracked())
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, burst);
criterion_main!(benches);
