//! One case by hand: ADD of two registers on an 8086, from the state before to the comparison with the state wanted.

use emu_conform::{Case, EmuTarget, End, Environment, Outcome, Reg, Target, compare};
use emu_core::cpu::Model;
use emu_core::cpu::model::Kind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut case = Case::new(Environment::Real, End::Step);
    case.code = vec![0x01, 0xD8]; // ADD AX, BX
    for (reg, value) in [(Reg::Cs, 0x1000), (Reg::Rip, 0x100), (Reg::Rax, 0xFFFF), (Reg::Rbx, 2), (Reg::Rflags, 2)] {
        case.initial.set(reg, value);
    }
    // What must be there afterwards; all else that is named above must be as it was.
    case.last.set(Reg::Rax, 1);
    case.last.set(Reg::Rip, 0x102);
    case.last.set(Reg::Rflags, 0x13); // CF and AF

    let mut cpu = EmuTarget::new(Model::new(Kind::I8086));
    // Step by step, as a program of your own would use it:
    cpu.load(&case)?;
    println!("{} ended with {:?}", cpu.name(), cpu.step(case.end)?);
    // Or all at once, with everything read back that the case names:
    let mut outcome = Outcome::default();
    cpu.run(&case, &mut outcome)?;
    let found = compare(&case, &outcome);
    for d in &found.differences {
        println!("{}: {:x} instead of {:x}", d.place, d.got[0], d.want[0]);
    }
    println!(
        "AX = {:x}; strict {}, masked {}",
        outcome.state.get(Reg::Rax).unwrap_or(0),
        found.strict(),
        found.masked()
    );
    if found.strict() { Ok(()) } else { Err("it differs".into()) }
}
