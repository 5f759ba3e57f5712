//! A seeded simulation of what decides, enforces and records: jails, recorder, store, enforcer, over a log and a
//! kernel made of memory. Clock jumps, crashes, a failing disk, a firewall that refuses or is flushed by another
//! program. After each step the kernel's set is exactly the bans in force, and nobody was banned whose
//! failures in the log do not make maxretry.
//!
//! A failure prints its seed; `PORTERO_SIM_SEED=n` runs that one, `PORTERO_SIM_SEEDS=n` that many.

mod kernel;
mod world;

use world::World;

/// Steps of one run.
const STEPS: u32 = 600;

#[test]
fn the_kernel_holds_exactly_the_bans_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PORTERO_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PORTERO_SIM_SEEDS").unwrap_or(40),
    };
    let mut bans = 0;
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
            }
            world.settle();
            world.bans_made
        });
        match run {
            Ok(made) => bans += made,
            Err(_) => panic!("seed {seed} failed; PORTERO_SIM_SEED={seed} repeats it"),
        }
    }
    assert!(bans > 0, "a simulation in which nobody is banned shows nothing");
}
