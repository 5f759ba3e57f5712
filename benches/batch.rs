//! Building batches for nftables, and as root what the kernel does with them, in a network namespace of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use portero::addr::{Host, Net};
use portero::firewall::{Firewall, JailRules, KernelBan, Nftables, Plan, Ports, TableOwner, encode_bans};
use portero::jail::JailName;
use portero::time::{Span, SystemClock};

const HOUR: Span = Span::For(Duration::from_secs(3600));

fn address(n: u32, ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::from(0xc612_0000 + n).into()
    } else {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) + (u128::from(n) << 64)).into()
    }
}

fn bans(jail: &JailName, count: u32) -> impl Iterator<Item = KernelBan> {
    (0..count).map(|n| {
        let ipv4 = n % 10 != 0;
        let host = Host::new(address(n, ipv4));
        let target = if ipv4 { Net::host(host) } else { Net::of(host, 64) };
        KernelBan { jail: jail.clone(), target, left: HOUR }
    })
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for (name, ipv4) in [("ipv4", true), ("ipv6", false)] {
        for count in [1, 10_000] {
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(format!("{name}/{count}"), |bench| {
                bench.iter(|| encode_bans("postfix-sasl4", (0..count).map(|n| (address(n, ipv4), HOUR))));
            });
        }
    }
    group.finish();
}

fn kernel(criterion: &mut Criterion) {
    // Everything below happens where no packet of this host goes.
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        println!("kernel benches skipped: need root");
        return;
    }
    let jail = JailName::new("mail").expect("a name");
    let mail = JailRules {
        ports: Ports::of(&[25, 465, 587]),
        ipv6_prefix: 64,
        ..JailRules::all_ports(jail.clone())
    };
    let plan = Plan { jails: vec![mail], allow: Vec::new(), table_owner: TableOwner::Off };
    let mut firewall = Nftables::new(Arc::new(SystemClock::new()));
    firewall.open(&plan).expect("a table");

    let mut group = criterion.benchmark_group("kernel");
    group.sample_size(10);
    for count in [10_000, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(format!("restore/{count}"), |bench| {
            bench.iter_batched(
                || {
                    let clock = Arc::new(SystemClock::new());
                    let mut firewall = Nftables::new(clock);
                    firewall.flush().expect("flushed");
                    firewall.open(&plan).expect("a table");
                    firewall
                },
                |mut firewall| {
                    firewall.replace_all(&plan, &mut bans(&jail, count)).expect("restored");
                    firewall
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Elements(1));
    let mut firewall = Nftables::new(Arc::new(SystemClock::new()));
    firewall.flush().expect("flushed");
    firewall.open(&plan).expect("a table");
    group.bench_function("ban/one", |bench| {
        let mut n = 0;
        bench.iter(|| {
            n += 1;
            let target = Net::host(Host::new(address(n % 1_000_000, true)));
            firewall.apply(&[KernelBan { jail: jail.clone(), target, left: HOUR }], &[]).expect("banned")
        });
    });
    group.bench_function("cut/one", |bench| {
        let target = [(Net::host(Host::new(address(1, true))), Ports::of(&[25, 465, 587]))];
        bench.iter(|| firewall.cut(&target).expect("cut"));
    });
    group.bench_function("in_step", |bench| bench.iter(|| firewall.in_step().expect("checked")));
    group.finish();
}

criterion_group!(benches, building, kernel);
criterion_main!(benches);
