//! The store: frames made durable, and sled brought up to date.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use portero::addr::{Host, Net};
use portero::jail::{Ban, JailName, Origin};
use portero::limits::Limits;
use portero::store::{Change, DiskStore, Frame, JournalSettings, Store};
use portero::time::Timestamp;

fn bans(first: u32, count: u32) -> Frame {
    let jail = JailName::new("postfix-sasl").expect("it is a jail's name");
    let at = Timestamp::from_secs(1_795_300_000);
    let ban = |n: u32| Ban {
        jail: jail.clone(),
        target: Net::host(Host::new(std::net::Ipv4Addr::from(n).into())),
        since: at,
        until: None,
        failures: 5,
        count: 1,
        origin: Origin::Jail,
        reason: None,
        effective: true,
    };
    Frame {
        at,
        changes: (first..first + count).map(|n| Change::Ban(ban(n.wrapping_mul(2_654_435_761)))).collect(),
    }
}

fn store(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let limits = Limits::default();
    let mut store = DiskStore::open(dir.path(), &limits, JournalSettings::default(), Timestamp::default())
        .expect("an empty directory opens");
    let mut next = 0;
    for size in [1u32, 100] {
        criterion.bench_function(&format!("store/append {size} bans"), |bencher| {
            bencher.iter_batched(
                || {
                    next += size;
                    [bans(next, size)]
                },
                |mut frames| store.commit(&mut frames).expect("there is room"),
                BatchSize::SmallInput,
            );
        });
    }
    while store.settle().expect("there is room") {}
    criterion.bench_function("store/settle 1000 bans", |bencher| {
        bencher.iter_custom(|turns| {
            let clock = portero::time::SystemClock::new();
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..turns {
                next += 1000;
                store.commit(&mut [bans(next, 1000)]).expect("there is room");
                let start = portero::time::Clock::monotonic(&clock);
                while store.settle().expect("there is room") {}
                spent += portero::time::Clock::monotonic(&clock) - start;
            }
            spent
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(2));
    targets = store
}
criterion_main!(benches);
