//! The guest of `scripts/guard`: runs one loop in one function, so that callgrind can count the host's instructions of it.
//! Without a name it lists the loops, each with the guest's instructions that are counted.

use benches::loops::{LOOPS, looped};
use benches::{BUILT, Width, machine, run, straight, video};
use emu_core::System;

/// Guest instructions that are counted, and those before them, in which the loop's blocks are built.
const TICKS: u64 = 20_000;
const WARM_UP: u64 = 2_000;
const BUILD: &str = "block build";

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        LOOPS.iter().chain(&video::LOOPS).for_each(|l| println!("{TICKS} {}", l.name));
        println!("{BUILT} {BUILD}");
        return;
    };
    if name == BUILD {
        // The decoder makes its tables when it is first used.
        run(&mut machine(Width::Protected, &straight()), BUILT);
        counted_by_callgrind(&mut machine(Width::Protected, &straight()), BUILT);
    } else if let Some(l) = LOOPS.iter().chain(&video::LOOPS).find(|l| l.name == name) {
        let mut sys = machine(l.width, &looped(l.width, l.body));
        if let Some(mode) = l.mode {
            video::add_vga(&mut sys, mode);
        }
        run(&mut sys, WARM_UP);
        counted_by_callgrind(&mut sys, TICKS);
    } else {
        eprintln!("no loop is called {name}");
        std::process::exit(2);
    }
}

#[inline(never)]
fn counted_by_callgrind(sys: &mut System, ticks: u64) {
    run(sys, ticks);
    // Or it would jump to `run` and not come back here, and callgrind would not see its end.
    std::hint::black_box(sys);
}
