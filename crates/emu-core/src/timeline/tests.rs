//! Any order of jumps gives the state of the straight run: on a program that writes all over memory and into its own
//! code, with a device that has events, interrupts, bus mastering and a disk, and inputs at random ticks.

use proptest::prelude::*;

use super::{Found, SpinePoint, Stops, Stored, Timeline, TimelineSettings};
use crate::block::RamDisk;
use crate::bus::{Ack, InterruptController, PortDevice, Wire};
use crate::cpu::model::Kind;
use crate::cpu::{Model, Segment, seg};
use crate::mem::{PageImage, Target};
use crate::{
    BlockBackend, Bus, ClockRate, DevCx, Device, Input, PhysMem, Sink, State, StateError, StateHash, StateReader,
    StateWriter, Stop, System, Ticks,
};

/// A device with a bit of everything: bytes from outside raise its interrupt and go to its disk and, a while later, into
/// memory; its port counts.
struct Mailbox {
    irq: Wire,
    disk: Box<dyn BlockBackend>,
    last: u8,
    count: u32,
}

impl State for Mailbox {
    const TAG: [u8; 4] = *b"MBOX";
    const VERSION: u16 = 1;
    fn save(&self, w: &mut StateWriter) {
        let Self { irq: _, disk, last, count } = self;
        w.field(1, last);
        w.field(2, count);
        let mut inner = StateWriter::new();
        disk.save(&mut inner);
        w.field(3, &inner.into_bytes());
    }
    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        (self.last, self.count) = (r.field(1)?, r.field(2)?);
        let bytes: Vec<u8> = r.field(3)?;
        self.disk.load(&mut StateReader::new(&bytes))
    }
}

impl Device for Mailbox {
    fn name(&self) -> &str {
        "mailbox"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        cx.schedule(1, cx.now + 701);
    }
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn interrupt_controller(&mut self) -> Option<&mut dyn InterruptController> {
        Some(self)
    }
    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        if tag == 1 {
            cx.schedule(1, cx.now + 701);
            return cx.set_wire(self.irq, true);
        }
        let mut sector = [0; 512];
        self.disk.read(u64::from(self.last) % 32, &mut sector).unwrap();
        cx.mem.write(0x2_0000 + u64::from(self.last) * 512, &sector);
        self.count += 1;
    }
    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        let Input::Serial { bytes, .. } = input else { return false };
        for &b in bytes {
            self.last = b;
            self.disk.write(u64::from(b) % 32, &[b ^ self.count as u8; 512]).unwrap();
        }
        cx.set_wire(self.irq, true);
        cx.schedule(0, cx.now + u64::from(self.last) * 7);
        true
    }
}

impl PortDevice for Mailbox {
    fn read(&mut self, cx: &mut DevCx<'_>, _: u16, _: u16, _: u8) -> u32 {
        cx.set_wire(self.irq, false);
        self.count += 1;
        self.count ^ u32::from(self.last) ^ cx.now.0 as u32
    }
    fn write(&mut self, _: &mut DevCx<'_>, _: u16, _: u16, _: u8, _: u32) {}
}

impl InterruptController for Mailbox {
    fn acknowledge(&mut self, _: &mut DevCx<'_>, _: u8) -> Ack {
        Ack::Vector(8)
    }
}

mod guest {
    use iced_x86::IcedError;
    use iced_x86::code_asm::*;

    /// A pseudo-random walk of stores, string moves and self-modification; the interrupt's handler reads the mailbox. Sometimes
    /// it waits for the next interrupt.
    pub(super) fn program() -> Result<Vec<u8>, IcedError> {
        let mut a = CodeAssembler::new(16)?;
        let (mut again, mut here, mut on) = (a.create_label(), a.create_label(), a.create_label());
        a.sti()?;
        a.mov(ebx, 0x1234_5678)?;
        a.set_label(&mut again)?;
        a.imul_3(ebx, ebx, 0x0019_660D)?;
        a.add(ebx, 0x3C6E_F35F)?;
        a.mov(eax, ebx)?;
        a.shr(eax, 12)?;
        a.mov(ds, ax)?; // segments all over the first megabyte ...
        a.and(ax, 0x7F00)?;
        a.or(ax, 0x1000)?; // ... but not over the program
        a.mov(ds, ax)?;
        a.mov(es, ax)?;
        a.mov(word_ptr(bx).ds(), bx)?;
        a.test(ebx, 0x70000)?;
        a.jnz(on)?;
        a.mov(cx, 40)?;
        a.mov(si, bx)?;
        a.mov(di, bx)?;
        a.add(di, 6)?;
        a.rep().movsw()?;
        a.call(here)?;
        a.set_label(&mut here)?;
        a.pop(bp)?; // 1 byte, and the next instruction 4; then the second byte of the one behind it
        a.inc(byte_ptr(bp + 6).cs())?;
        a.mov(dl, 0)?;
        a.set_label(&mut on)?;
        a.test(ebx, 0x1F0_0000)?;
        a.jnz(again)?;
        a.hlt()?;
        a.jmp(again)?;
        a.assemble(0x1000)
    }

    pub(super) fn handler() -> Result<Vec<u8>, IcedError> {
        let mut a = CodeAssembler::new(16)?;
        a.push(ax)?;
        a.in_(ax, 0x40)?;
        a.mov(word_ptr(0x800).cs(), ax)?;
        a.pop(ax)?;
        a.iret()?;
        a.assemble(0x900)
    }
}

fn machine() -> System {
    let mut mem = PhysMem::new(0x10_0000, 0).unwrap();
    mem.map(0, 0x10_0000, Target::Pool(0));
    mem.write(0x1000, &guest::program().unwrap());
    mem.write(0x900, &guest::handler().unwrap());
    mem.store(8 * 4, 0x900u32);
    let mut bus = Bus::new(ClockRate::DEFAULT, 1);
    let irq = bus.wire_to(Sink::Intr(0));
    let disk = bus.add_volume(Box::new(RamDisk::zeroed(32)));
    let mailbox = bus.add(Box::new(Mailbox { irq, disk, last: 0, count: 0 }));
    bus.map_ports(mailbox, 0x40, 2, 0, 2);
    bus.add_interrupt_controller(mailbox);
    let mut sys = System::new(Model::new(Kind::P6), mem, bus);
    sys.reset();
    for s in [seg::ES, seg::CS, seg::SS, seg::DS] {
        sys.cpu.set_segment(s, Segment::real(0));
    }
    sys.cpu.rip = 0x1000;
    sys.cpu.regs[4] = 0x8000;
    sys
}

const LENGTH: u64 = 60_000;

fn byte(b: u8) -> Input {
    Input::Serial { port: 0, bytes: vec![b, b / 2] }
}

/// The straight run: no timeline, and the hash at each tick of `ticks` (ascending), with all inputs up to it.
fn straight(inputs: &[(u64, u8)], ticks: &[u64]) -> Vec<StateHash> {
    let mut sys = machine();
    let mut rest = inputs.iter().peekable();
    let mut run_to = |sys: &mut System, tick: u64| {
        while let Some((t, b)) = rest.next_if(|i| i.0 <= tick) {
            assert_ne!(sys.run(Ticks(*t)), Stop::TripleFault);
            sys.input(&byte(*b));
        }
        sys.run(Ticks(tick));
    };
    ticks
        .iter()
        .map(|&t| {
            run_to(&mut sys, t);
            sys.hash()
        })
        .collect()
}

/// A live run under a timeline.
fn live(inputs: &[(u64, u8)], settings: TimelineSettings) -> (System, Timeline) {
    let mut sys = machine();
    let mut timeline = Timeline::new(&mut sys, settings);
    for (tick, b) in inputs {
        timeline.run(&mut sys, Ticks(*tick));
        assert!(timeline.input(&mut sys, byte(*b)));
    }
    timeline.run(&mut sys, Ticks(LENGTH));
    (sys, timeline)
}

fn inputs() -> impl Strategy<Value = Vec<(u64, u8)>> {
    prop::collection::vec((1..LENGTH, any::<u8>()), 0..40).prop_map(|mut v| {
        v.sort_unstable();
        v
    })
}

const CASES: u32 = if cfg!(debug_assertions) { 5 } else { 60 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_jumps_gives_the_straight_run(
        inputs in inputs(), jumps in prop::collection::vec(0..LENGTH, 1..25),
        interval in 500u64..20_000, budget in prop::sample::select(vec![64usize << 10, 400 << 10, 64 << 20]),
    ) {
        let mut ticks = jumps.clone();
        ticks.sort_unstable();
        let hashes = straight(&inputs, &ticks);
        let settings = TimelineSettings { budget, interval, spine: true, ..TimelineSettings::default() };
        let (mut sys, mut timeline) = live(&inputs, settings);
        for tick in jumps {
            let gone = timeline.seek(&mut sys, Ticks(tick));
            if tick < timeline.start().0 {
                prop_assert!(gone.is_err());
                continue;
            }
            prop_assert_eq!(gone, Ok(()));
            prop_assert_eq!(sys.now(), Ticks(tick));
            let at = ticks.binary_search(&tick).unwrap();
            prop_assert_eq!(sys.hash(), hashes[at], "at {}", tick);
            prop_assert_eq!(sys.tracked_hash().0, hashes[at]);
        }
    }

    #[test]
    fn the_last_stop_is_the_one_that_the_straight_run_made(
        inputs in inputs(), from in 2_000..LENGTH, place in 0usize..6, page in 0x10u64..0x90, interval in 3_000u64..20_000,
    ) {
        // Instructions of the program and of the handler, and memory that both, the device and the stack write.
        let breakpoints = vec![[0x1001, 0x900, 0x1008, 0x903, 0x1010, 0x1030][place]];
        let watches = vec![(page << 12, 0x1000), (0x800, 2)];
        let mut sys = machine();
        sys.set_breakpoints(&breakpoints);
        sys.watch(&watches);
        let (mut breaks, mut writes) = (Vec::new(), Vec::new());
        let log = inputs.iter().map(|i| (i.0, Some(i.1))).filter(|i| i.0 <= from).chain([(from, None)]);
        for (tick, input) in log {
            loop {
                match sys.run(Ticks(tick)) {
                    Stop::Breakpoint => breaks.push(sys.now().0),
                    Stop::Watch => {
                        sys.take_watch_hits();
                        writes.push(sys.now().0 - 1);
                    }
                    _ => break,
                }
            }
            input.map(|b| sys.input(&byte(b)));
        }
        let (mut sys, mut timeline) = live(&inputs, TimelineSettings { interval, ..TimelineSettings::default() });
        timeline.seek(&mut sys, Ticks(from)).unwrap();
        let found = timeline.find_last(&mut sys, &Stops { breakpoints, ..Stops::default() });
        prop_assert_eq!(found, Ok(breaks.last().map(|t| Found::Breakpoint(Ticks(*t)))));
        let at = breaks.last().copied().unwrap_or(0);
        prop_assert_eq!(sys.now(), Ticks(at));
        prop_assert_eq!(straight(&inputs, &[at]), [sys.hash()]);
        timeline.seek(&mut sys, Ticks(from)).unwrap();
        let watches = sys.pool_ranges(&watches);
        let found = timeline.find_last(&mut sys, &Stops { watches, ..Stops::default() });
        prop_assert_eq!(found, Ok(writes.last().map(|t| Found::Write(Ticks(*t)))));
        timeline.seek(&mut sys, Ticks(LENGTH)).unwrap();
        prop_assert_eq!(straight(&inputs, &[LENGTH]), [sys.hash()]);
    }

    #[test]
    fn steps_back_visit_every_state_of_the_run(inputs in inputs(), from in 2_000..LENGTH) {
        let (mut sys, mut timeline) = live(&inputs, TimelineSettings { interval: 9_000, ..TimelineSettings::default() });
        timeline.seek(&mut sys, Ticks(from)).unwrap();
        let mut visited = Vec::new();
        for _ in 0..60 {
            prop_assert_eq!(timeline.step_back(&mut sys), Ok(true));
            visited.push((sys.now().0, sys.hash()));
        }
        visited.reverse();
        prop_assert!(visited.windows(2).all(|w| w[0].0 < w[1].0));
        let ticks: Vec<u64> = visited.iter().map(|v| v.0).collect();
        let hashes: Vec<StateHash> = visited.iter().map(|v| v.1).collect();
        prop_assert_eq!(straight(&inputs, &ticks), hashes);
    }

    #[test]
    fn checkpoints_of_another_timeline_are_as_good_and_lies_are_found_out(
        inputs in inputs(), jumps in prop::collection::vec(0..LENGTH, 1..12), interval in 1_000u64..9_000, store in 1u64..4,
        from_past: bool, lie in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..4)),
    ) {
        let mut ticks = jumps.clone();
        ticks.sort_unstable();
        let hashes = straight(&inputs, &ticks);
        let settings = TimelineSettings { interval, spine: true, store, ..TimelineSettings::default() };
        let (mut sys, mut first) = live(&inputs, settings);
        prop_assert!(first.store_end(&mut sys));
        let (mut stored, spine) = (first.take_stored(), first.take_spine());
        let (mut other, mut unstored) = live(&inputs, TimelineSettings { spine: false, ..settings });
        let past = unstored.store_past(&mut other, store as usize);
        prop_assert!(!past.is_empty());
        for found in &past {
            let same = |s: &&SpinePoint| s.at == found.at;
            prop_assert_eq!(spine.iter().find(same).map(|s| s.hash), Some(found.hash), "at {:?}", found.at);
        }
        if lie.is_none() && from_past {
            stored = past;
        }
        prop_assert_eq!(stored.last().map(|s| (s.at.tick, s.hash)), Some((Ticks(LENGTH), sys.hash())));
        if let Some((which, page, what)) = lie {
            let liar = which.index(stored.len());
            let Stored { pages, devices, a20, hash, .. } = &mut stored[liar];
            match what {
                0 => *a20 ^= true,
                1 => hash.0 ^= 1,
                2 => *devices = devices[..devices.len() / 2].into(),
                _ => {
                    if let Some(changed) = (!pages.is_empty()).then(|| page.index(pages.len())) {
                        pages[changed].1 = PageImage::of(&[0xAB; 4096]);
                    }
                }
            }
        }
        let mut sys = machine();
        let mut timeline = Timeline::new(&mut sys, TimelineSettings::default());
        timeline.expect(first.log().to_vec(), 0, spine, Ticks(LENGTH));
        let count = stored.len();
        for checkpoint in stored {
            if timeline.adopt(&sys, checkpoint).is_err() {
                prop_assert!(lie.is_some());
                break;
            }
        }
        for tick in [LENGTH].into_iter().chain(jumps) {
            prop_assert_eq!(timeline.seek(&mut sys, Ticks(tick)), Ok(()));
            if let Ok(at) = ticks.binary_search(&tick) {
                prop_assert_eq!(sys.hash(), hashes[at], "at {}", tick);
            }
        }
        for checkpoint in (0..LENGTH).step_by(interval as usize) {
            prop_assert_eq!(timeline.seek(&mut sys, Ticks(checkpoint)), Ok(()));
        }
        let lies = timeline.take_lies();
        prop_assert!(lies.len() <= count);
        prop_assert!(lie.is_some() || lies.is_empty(), "{:?}", lies);
        prop_assert!(lie.is_none_or(|l| l.2 == 0 || l.2 > 1) || !lies.is_empty());
    }
}

#[test]
fn the_guest_is_alive() {
    let (sys, _) = live(&[(30_000, 9)], TimelineSettings::default());
    let mut still = machine();
    still.run(Ticks(LENGTH / 2));
    assert!(sys.mem.page_sum() != still.mem.page_sum());
    let touched = (0x10..0x100).filter(|p| sys.mem.pool(p << 12, 4096).iter().any(|&b| b != 0)).count();
    assert!(touched > 30, "{touched}");
    assert!(sys.mem.load::<u16>(0x800) != still.mem.load::<u16>(0x800));
}

/// Stopping at an instruction changes nothing, and nothing is passed over: without interrupts the stops are the ticks at
/// which RIP is there.
#[test]
fn breakpoints_stop_before_every_execution() {
    let start = || {
        let mut sys = machine();
        sys.cpu.regs[3] = 0x777;
        sys.cpu.rip = 0x1001; // behind STI
        sys
    };
    for at in 0x1001..0x1060 {
        let (mut sys, mut steps) = (start(), start());
        let mut there = Vec::new();
        for t in 0..600 {
            steps.run(Ticks(t));
            if steps.cpu.rip == at && steps.cpu.activity == crate::cpu::Activity::Running {
                there.push(t);
            }
        }
        let mut stops = Vec::new();
        sys.set_breakpoints(&[at]);
        while sys.run(Ticks(599)) == Stop::Breakpoint {
            stops.push(sys.now().0);
        }
        // Iterations of a string instruction are ticks, but no new executions of it.
        assert!(stops.iter().all(|s| there.contains(s)), "at {at:x}");
        let first = |v: &[u64]| v.iter().filter(|&&t| !v.contains(&t.wrapping_sub(1)) && t < 599).count();
        assert_eq!(first(&stops), first(&there), "at {at:x}");
        assert_eq!(sys.hash(), steps.hash(), "at {at:x}");
    }
}

#[test]
fn a_spine_is_the_hash_of_the_straight_run() {
    let inputs = [(5_000, 7), (5_000, 9), (31_000, 200)];
    let (_, mut timeline) = live(&inputs, TimelineSettings { interval: 4_000, spine: true, ..Default::default() });
    let spine = timeline.take_spine();
    assert!(spine.len() > 14);
    let ticks: Vec<u64> = spine.iter().map(|s| s.at.tick.0).collect();
    assert_eq!(straight(&inputs, &ticks), spine.iter().map(|s| s.hash).collect::<Vec<_>>());

    // Another machine under the same log is found right, and one with another input is found wrong in the right place.
    for wrong in [false, true] {
        let mut sys = machine();
        let mut other = Timeline::new(&mut sys, TimelineSettings::default());
        let mut log = timeline.log().to_vec();
        if wrong {
            log[2].1 = byte(201);
        }
        other.expect(log, 0, spine.clone(), timeline.end());
        other.run(&mut sys, Ticks(LENGTH));
        let found = other.divergence().map(|d| (d.good.unwrap().tick.0, d.expected.at.tick.0));
        assert_eq!(found, wrong.then_some((28_000, 32_000)));
        let parts = other.divergence().map(|d| d.parts.join(" ")).unwrap_or_default();
        assert_eq!(parts.contains("mailbox"), wrong, "{parts}");
    }
}

#[test]
fn the_past_takes_no_inputs_until_the_future_is_discarded() {
    let inputs = [(5_000, 7), (31_000, 200)];
    let (mut sys, mut timeline) = live(&inputs, TimelineSettings { interval: 3_000, ..Default::default() });
    let end = sys.hash();
    timeline.seek(&mut sys, Ticks(20_000)).unwrap();
    assert!(timeline.is_past(&sys) && !timeline.input(&mut sys, byte(1)));
    timeline.seek(&mut sys, Ticks(LENGTH)).unwrap();
    assert_eq!(sys.hash(), end);
    timeline.seek(&mut sys, Ticks(20_000)).unwrap();
    timeline.discard_future(&sys);
    assert!(timeline.input(&mut sys, byte(1)));
    timeline.run(&mut sys, Ticks(LENGTH));
    let other = [(5_000, 7), (20_000, 1)];
    assert_eq!(straight(&other, &[LENGTH]), [sys.hash()]);
    timeline.seek(&mut sys, Ticks(19_999)).unwrap();
    assert_eq!(straight(&other, &[19_999]), [sys.hash()]);
    assert_eq!(timeline.log().len(), 2);
}

#[test]
fn a_fork_goes_its_own_way() {
    let inputs = [(5_000, 7), (31_000, 200)];
    let (mut sys, mut timeline) = live(&inputs, TimelineSettings { interval: 3_000, ..Default::default() });
    timeline.seek(&mut sys, Ticks(20_000)).unwrap();
    let fork = timeline.fork(&sys);
    let mut other = machine();
    other.load(&mut StateReader::new(&fork.state)).unwrap();
    assert_eq!((other.hash(), other.now(), fork.log.len()), (sys.hash(), Ticks(20_000), 1));
    let mut own = Timeline::new(&mut other, TimelineSettings::default());
    own.input(&mut other, byte(1));
    own.run(&mut other, Ticks(LENGTH));
    assert_eq!(straight(&[(5_000, 7), (20_000, 1)], &[LENGTH]), [other.hash()]);
    timeline.seek(&mut sys, Ticks(LENGTH)).unwrap();
    assert_eq!(straight(&inputs, &[LENGTH]), [sys.hash()]);
}

#[test]
fn memory_stays_within_the_budget() {
    let budget = 300 << 10;
    let (mut sys, mut timeline) = live(&[(5_000, 7)], TimelineSettings { interval: 200, budget, ..Default::default() });
    assert!(timeline.cost() <= budget, "{}", timeline.cost());
    for tick in (0..LENGTH).rev().step_by(1_777) {
        if tick >= timeline.start().0 {
            timeline.seek(&mut sys, Ticks(tick)).unwrap();
            assert!(timeline.cost() <= budget + budget / 10, "{} at {tick}", timeline.cost());
        }
    }
}

/// What another run stored is taken as far as memory goes, and no way about in it takes more.
#[test]
fn adopted_checkpoints_and_searches_stay_within_the_budget() {
    let inputs = [(5_000, 7), (31_000, 200)];
    let settings = TimelineSettings { interval: 1_500, spine: true, store: 2, ..TimelineSettings::default() };
    let (mut sys, mut first) = live(&inputs, settings);
    assert!(first.store_end(&mut sys));
    let (stored, whole) = (first.take_stored(), first.cost());
    let watches = sys.pool_ranges(&[(0x3_0000, 0x1000)]);
    let mut adopted = Vec::new();
    for budget in [whole / 20, whole / 5, whole / 2, 4 * whole] {
        let mut sys = machine();
        let mut timeline = Timeline::new(&mut sys, TimelineSettings { budget, ..TimelineSettings::default() });
        timeline.expect(first.log().to_vec(), 0, Vec::new(), Ticks(LENGTH));
        let within = |timeline: &Timeline| assert!(timeline.cost() <= budget + budget / 10, "{}", timeline.cost());
        adopted.push(0);
        for checkpoint in stored.clone() {
            if !timeline.adopt(&sys, checkpoint).unwrap() {
                break;
            }
            *adopted.last_mut().unwrap() += 1;
            within(&timeline);
        }
        for tick in [LENGTH - 1, 20_000, 55_555, 31_000, 3, 44_444, 12_345] {
            if tick < timeline.start().0 {
                continue; // given up
            }
            timeline.seek(&mut sys, Ticks(tick)).unwrap();
            within(&timeline);
            assert_eq!(straight(&inputs, &[tick]), [sys.hash()], "at {tick}, {budget} bytes");
            let found = timeline.find_last(&mut sys, &Stops { watches: watches.clone(), ..Stops::default() }).unwrap();
            within(&timeline);
            let (mut other, mut big) = live(&inputs, TimelineSettings::default());
            big.seek(&mut other, Ticks(tick)).unwrap();
            let right = big.find_last(&mut other, &Stops { watches: watches.clone(), ..Stops::default() }).unwrap();
            assert!(
                found == right || right.is_none_or(|f| f.tick() < timeline.start()),
                "{found:?} {right:?} at {tick}"
            );
        }
    }
    assert!(adopted.is_sorted() && adopted[0] < stored.len() && adopted[3] == stored.len(), "{adopted:?}");
}

#[test]
fn without_handlers_the_run_is_the_same() {
    let mut sys = machine();
    sys.use_handlers(false);
    sys.run(Ticks(LENGTH));
    assert_eq!(straight(&[], &[LENGTH]), [sys.hash()]);
}
