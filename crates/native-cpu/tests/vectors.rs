//! The adapter against what another CPU did: hardware vectors, some of each form, through the protocol.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::{Path, PathBuf};

use emu_conform::against::{Against, Patience};
use emu_conform::suite::Cases;
use emu_conform::suite::hwvec::Hwvec;
use emu_conform::{Case, Comparison, End, Environment, Event, Outcome, Place, Reg, Target, TargetError, compare};

/// The adapter; `None`, said aloud, if this host lets no process trace another.
fn adapter() -> Option<Against> {
    let mut target = Against::start(env!("CARGO_BIN_EXE_emu-native-cpu"), Patience::default()).expect("the adapter");
    let mut nop = Case::new(Environment::Flat64, End::Step);
    nop.code = vec![0x90];
    nop.initial.set(Reg::Rip, 0x1000_0100);
    match target.run(&nop, &mut Outcome::default()) {
        Ok(()) => Some(target),
        Err(TargetError::Failed(why)) => {
            println!("SKIPPED: this host allows no ptrace: {why}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn run(target: &mut Against, case: &Case) -> (Outcome, Comparison) {
    let mut outcome = Outcome::default();
    target.run(case, &mut outcome).unwrap_or_else(|e| panic!("{}: {e}", case.row));
    let found = compare(case, &outcome);
    (outcome, found)
}

/// A case of `code` with some registers, at the vectors' address.
fn case(environment: Environment, code: &[u8], registers: &[(Reg, u64)]) -> Case {
    let mut case = Case::new(environment, End::Step);
    (case.code, case.status) = (code.to_vec(), 0xCD5);
    case.initial.set(Reg::Rip, 0x1000_0100);
    registers.iter().for_each(|(reg, value)| case.initial.set(*reg, *value));
    case
}

#[test]
fn both_widths_run_and_fault() {
    let Some(mut target) = adapter() else { return };
    let wide = case(Environment::Flat64, &[0x48, 0xFF, 0xC0], &[(Reg::Rax, u64::MAX), (Reg::Rflags, 1)]);
    let (outcome, _) = run(&mut target, &wide); // INC RAX
    let get = |reg| outcome.state.get(reg).unwrap_or(u64::MAX);
    assert_eq!((get(Reg::Rax), get(Reg::Rflags), get(Reg::Rip)), (0, 0x55, 0x1000_0103));
    let narrow = case(Environment::Flat32, &[0x48], &[(Reg::Rax, 0)]);
    let (outcome, _) = run(&mut target, &narrow); // DEC EAX
    assert_eq!(outcome.state.get(Reg::Rax), Some(0xFFFF_FFFF));
    for (code, vector) in [
        (&[0x0F, 0x0B][..], 6),    // UD2
        (&[0xF4], 13),             // HLT
        (&[0xF7, 0xF0], 0),        // DIV EAX
        (&[0xA1, 0, 0, 0, 0], 14), // MOV EAX, [0]
        (&[0xCC], 3),              // INT3
    ] {
        let faulting = case(Environment::Flat32, code, &[(Reg::Rax, 0)]);
        assert_eq!(run(&mut target, &faulting).0.event, Event::Exception(vector), "{code:x?}");
    }
    let call = case(Environment::Flat32, &[0xCD, 0x80], &[(Reg::Rax, 1)]);
    assert!(matches!(target.run(&call, &mut Outcome::default()), Err(TargetError::Unsupported(_))));
    // And it is alive after all that.
    assert_eq!(run(&mut target, &wide).0.event, Event::Retired);
}

/// What is known to differ from maker to maker: [SDM-2 DPPS] leaves open which NaN comes out.
fn implementation_defined(case: &Case, found: &Comparison) -> bool {
    case.row.contains("dpps") && found.differences.iter().all(|d| matches!(d.place, Place::Ymm(_)))
}

fn replay(group: &str, step: u64) {
    let Some(mut target) = adapter() else { return };
    let shared = std::env::var_os("EMU_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join(format!("conformance/hwvec/{group}.jsonl.gz"));
    if !path.exists() {
        println!("SKIPPED: no {}", path.display());
        return;
    }
    let data = emu_conform::suite::unpack(&path).expect("a readable file");
    let mut cases = Hwvec::new(Path::new(&path), data).expect("a file of vectors");
    let (mut case, mut n, mut ran, mut missing) = (Case::default(), 0, 0, 0);
    while cases.next(&mut case).expect("a vector") {
        n += 1;
        if n % step != 0 {
            continue;
        }
        let (outcome, found) = run(&mut target, &case);
        if outcome.event == Event::Exception(6) && case.exception.is_none() {
            // This CPU does not have the instruction.
            missing += 1;
            continue;
        }
        ran += 1;
        assert!(found.masked() || implementation_defined(&case, &found), "{group} {}: {found:?}", case.row);
    }
    println!("{group}: {ran} of {n} vectors agree, {missing} are of instructions that this CPU does not have");
    assert!(ran + missing >= 250, "{ran} {missing}");
}

#[test]
fn integers() {
    replay("alu64", 101);
    replay("alu32", 97);
}

#[test]
fn x87_and_mmx() {
    replay("x87", 23);
    replay("mmx", 7);
}

#[test]
fn vectors() {
    replay("sse", 41);
    replay("avx", 43);
}
