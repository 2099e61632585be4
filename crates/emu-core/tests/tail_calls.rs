//! Every handler of the chain ends in a jump: the machine code of this build, disassembled.
//!
//! Nothing in Rust promises it (docs/adr/0002): a local whose address escapes is enough for a call and a frame per op. The
//! handlers looked at are those of the library that `emu` is linked from, by the addresses that go into ops.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::disallowed_methods, reason = "the test reads its own program")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::LazyLock;

use emu_core::cpu::model::Kind;
use emu_core::cpu::{Model, Segment, seg};
use emu_core::mem::Target;
use emu_core::{Bus, ClockRate, PhysMem, System, Ticks, survey};
use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};

/// This program's machine code.
struct Program {
    /// From an address in the file to one in memory.
    slide: u64,
    text: Vec<u8>,
    text_at: u64,
    /// Functions by address, as in the file: length and name.
    functions: BTreeMap<u64, (u64, String)>,
}

impl Program {
    fn load() -> Program {
        let path = std::env::current_exe().expect("this program");
        let bytes = std::fs::read(&path).expect("its file");
        let file = object::File::parse(&*bytes).expect("an ELF file");
        let text = file.section_by_name(".text").expect("code");
        let first = file.segments().map(|s| s.address()).min().expect("a segment");
        Program {
            slide: loaded_at(&path.to_string_lossy()).wrapping_sub(first & !0xFFF),
            text: text.data().expect("its bytes").to_vec(),
            text_at: text.address(),
            functions: functions(&file),
        }
    }

    /// The instructions of the function at `address` in memory, and its name.
    fn function(&self, address: usize) -> (Vec<Instruction>, &str) {
        let at = (address as u64).wrapping_sub(self.slide);
        let (size, name) = self.functions.get(&at).unwrap_or_else(|| panic!("no function begins at {at:#x}"));
        let start = (at - self.text_at) as usize;
        let code = &self.text[start..start + *size as usize];
        (Decoder::with_ip(64, code, at, DecoderOptions::NONE).iter().collect(), name)
    }

    /// What is wrong with the handler at `address`, if anything.
    fn flaw(&self, address: usize, handlers: &survey::Handlers) -> Option<String> {
        let is_handler = |file_address: u64| {
            let at = file_address.wrapping_add(self.slide) as usize;
            handlers.going_on.contains(&at) || handlers.stopping.contains(&at)
        };
        let (insns, name) = self.function(address);
        let mut goes_on = false;
        for insn in &insns {
            let wrong = match insn.flow_control() {
                // A call by way of the linker's table leads to another library.
                FlowControl::IndirectCall => (!insn.is_ip_rel_memory_operand()).then_some("a call through a register"),
                FlowControl::Call if is_handler(insn.near_branch_target()) => Some("a call of a handler"),
                FlowControl::IndirectBranch => {
                    goes_on = true;
                    None
                }
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                    goes_on |= is_handler(insn.near_branch_target());
                    None
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Some(format!("{name} holds {wrong}: {}", text(insn)));
            }
        }
        (!goes_on && !handlers.stopping.contains(&address)).then(|| format!("{name} does not end in a jump"))
    }
}

/// All functions: their extents from the tables for unwinding, which every function has, and names from the symbols, which
/// may have been stripped.
fn functions(file: &object::File<'_>) -> BTreeMap<u64, (u64, String)> {
    let names: BTreeMap<u64, &str> = file.symbols().filter_map(|s| Some((s.address(), s.name().ok()?))).collect();
    let section = file.section_by_name(".eh_frame").expect("tables for unwinding");
    let table = EhFrame::new(section.data().expect("its bytes"), LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let mut all = BTreeMap::new();
    let mut entries = table.entries(&bases);
    while let Some(entry) = entries.next().expect("an entry") {
        if let CieOrFde::Fde(part) = entry {
            let fde = part.parse(EhFrame::cie_from_offset).expect("a function's entry");
            let at = fde.initial_address();
            let name = names.get(&at).map_or_else(|| format!("the function at {at:#x}"), ToString::to_string);
            all.insert(at, (fde.len(), name));
        }
    }
    all
}

/// Where the first byte of this program is mapped.
fn loaded_at(path: &str) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the list of mappings");
    let line = maps.lines().find(|l| l.ends_with(path)).expect("this program's own mapping");
    u64::from_str_radix(line.split('-').next().unwrap_or_default(), 16).expect("an address")
}

fn text(insn: &Instruction) -> String {
    let mut out = String::new();
    IntelFormatter::new().format(insn, &mut out);
    out
}

fn handlers() -> &'static survey::Handlers {
    static ALL: LazyLock<survey::Handlers> = LazyLock::new(survey::all);
    &ALL
}

#[test]
fn every_handler_ends_in_a_jump() {
    if !survey::CHAINED {
        println!("skipped: this build's handlers return to a loop");
        return;
    }
    let program = Program::load();
    let handlers = handlers();
    // 1,900 when this was written; a survey that finds only a few proves nothing.
    assert!(handlers.going_on.len() > 1500, "only {} handlers", handlers.going_on.len());
    let all = handlers.going_on.iter().chain(&handlers.stopping);
    let flaws: Vec<String> = all.filter_map(|&address| program.flaw(address, handlers)).collect();
    assert!(flaws.is_empty(), "{} handlers are broken:\n{}", flaws.len(), flaws.join("\n"));
}

/// Something of an op's shape, for handlers that are wrong on purpose.
struct FakeOp {
    run: fn(&mut u64, &FakeOp),
}

fn good(sys: &mut u64, op: &FakeOp) {
    *sys += 1;
    (op.run)(sys, op);
}

/// The address of a local leaves the handler, so that its frame must outlive the call.
fn leaks_a_local(sys: &mut u64, op: &FakeOp) {
    let local = [*sys; 3];
    black_box(&local);
    (op.run)(sys, op);
}

/// Something is left to do after the call.
fn counts_afterwards(sys: &mut u64, op: &FakeOp) {
    (op.run)(sys, op);
    *sys += 1;
}

/// A direct call of a handler.
fn calls_a_handler(sys: &mut u64, op: &FakeOp) {
    black_box(&sys);
    good_not_inlined(sys, op);
    *sys += 1;
}

#[inline(never)]
fn good_not_inlined(sys: &mut u64, op: &FakeOp) {
    *sys += 3;
    (op.run)(sys, op);
}

fn returns(sys: &mut u64, _: &FakeOp) {
    *sys += 2;
}

#[test]
fn broken_handlers_are_found() {
    if !survey::CHAINED {
        println!("skipped: without optimisation no call is a jump");
        return;
    }
    let program = Program::load();
    let address = |f: fn(&mut u64, &FakeOp)| black_box(f) as *const () as usize;
    let handlers = survey::Handlers { going_on: [address(good_not_inlined)].into(), stopping: BTreeSet::new() };
    let flaw = |f| program.flaw(address(f), &handlers);
    assert_eq!(flaw(good), None);
    assert!(flaw(leaks_a_local).unwrap().contains("holds a call through a register"));
    assert!(flaw(counts_afterwards).unwrap().contains("holds a call through a register"));
    assert!(flaw(calls_a_handler).unwrap().contains("holds a call of a handler"));
    assert!(flaw(returns).unwrap().contains("does not end in a jump"));
}

/// A machine about to run random bytes as 32-bit code in flat segments, up to the first fault.
fn random_machine(seed: u64) -> System {
    let mut rng = emu_core::bus::rig::TestRng(seed);
    let mut mem = PhysMem::new(0x10_0000, 0).expect("memory");
    mem.map(0, 0x10_0000, Target::Pool(0));
    let code: Vec<u8> = (0..0x4000).map(|_| rng.next() as u8).collect();
    mem.write(0x4000, &code);
    let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
    sys.reset();
    sys.cpu.cr0 |= 1;
    sys.cpu.set_segment(seg::CS, Segment::from_descriptor(8, 0xFFFF, 0x00CF_9B00));
    for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        sys.cpu.set_segment(s, Segment::from_descriptor(16, 0xFFFF, 0x00CF_9300));
    }
    sys.cpu.refresh_segments();
    sys.cpu.rip = 0x4000 + seed % 0x3000;
    sys.cpu.regs[4] = 0xF000;
    sys
}

#[test]
fn the_survey_knows_every_handler_that_random_code_uses() {
    let known = handlers();
    let mut used = BTreeSet::new();
    for seed in 0..if cfg!(debug_assertions) { 30 } else { 3000 } {
        let mut sys = random_machine(seed);
        sys.run(Ticks(300));
        used.append(&mut survey::in_use(&sys));
    }
    assert!(used.len() > 100, "only {} handlers in use", used.len());
    let known = known.going_on.union(&known.stopping).copied().collect();
    let unknown: Vec<&usize> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "the survey does not find {} handlers: {unknown:#x?}", unknown.len());
}
