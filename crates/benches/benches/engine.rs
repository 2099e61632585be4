//! What the engine's parts cost: guest instructions (ticks) per second of small loops, each of which leans on one part.
//!
//! `cargo bench -p benches`, or with a name to run only what contains it. `scripts/guard` counts the host's instructions for
//! the same loops.

use std::hint::black_box;
use std::time::Duration;

use benches::loops::{LOOPS, looped};
use benches::{BUILT, CODE, Width, machine, run, straight};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Instructions of one measured call: enough that entering and leaving `System::run` does not count.
const TICKS: u64 = 100_000;

fn loops(c: &mut Criterion) {
    let mut group = c.benchmark_group("loop");
    group.throughput(Throughput::Elements(TICKS));
    for l in LOOPS {
        let mut sys = machine(l.width, &looped(l.width, l.body));
        group.bench_function(l.name, |b| b.iter(|| run(&mut sys, TICKS)));
    }
}

/// Straight code that runs once: the cost of decoding it, per instruction.
fn block_build(c: &mut Criterion) {
    let code = straight();
    let mut group = c.benchmark_group("build");
    group.throughput(Throughput::Elements(BUILT));
    group.bench_function("straight code", |b| {
        b.iter_batched_ref(|| machine(Width::Protected, &code), |sys| run(sys, BUILT), BatchSize::PerIteration);
    });
    group.bench_function("machine", |b| b.iter(|| black_box(machine(Width::Protected, &code).cpu.rip == CODE)));
}

criterion_group! {
    name = engine;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    targets = loops, block_build
}
criterion_main!(engine);
