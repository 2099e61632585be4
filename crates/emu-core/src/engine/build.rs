//! Decoding a block: iced's instructions in, our ops out.

use iced_x86::{Code, Decoder, DecoderError, FlowControl, Instruction, OpKind};

use super::block::{Block, Health, InsnPlace};
use super::context::NO_KEY;
use super::op::{Edge, Enters, Guess, Handler, Landing, Op, OpRef, REGISTERS, Seen, Slot, Wide};
use super::polls::Polls;
use super::{ColdInsn, NONE, chain, front, polls};
use crate::System;
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Mode, Model, Outcome, seg};
use crate::exec::hot::Quiet;
use crate::exec::{self, Exec};
use crate::mem::{LinearPage, PAGE_SIZE, Target};
use crate::profile::Event;
use crate::system::Access;

/// Instructions in a block at the most.
pub(super) const MAX_INSNS: usize = 32;
/// The longest instruction [SDM-2 2.3.11].
const MAX_LENGTH: usize = 15;

/// Bytes that the decoder must see to decode any instruction of `model`.
fn most_bytes(model: &Model) -> usize {
    if model.kind == Kind::I8086 { front::MAX_LENGTH } else { MAX_LENGTH }
}

/// Where a block's bytes come from.
struct Source {
    /// Pool offset of the first byte; `None` if it is no memory that the pool holds.
    key: Option<u64>,
    /// Offset of the first byte in its page.
    page_offset: u64,
    /// The bytes end because the code segment does.
    cut_by_limit: bool,
}

/// Collects the ops of one block.
pub(crate) struct Builder<'a> {
    pub(crate) mode: Mode,
    slots: &'a mut Vec<Slot>,
    places: &'a mut Vec<InsnPlace>,
    cold: &'a mut Vec<ColdInsn>,
    /// The ops among the slots, by their number.
    ops: Vec<(u16, Op)>,
    /// Slots that are edges to be linked later.
    edges: Vec<u16>,
    lookup_op: OpRef,
    /// Offset in its page of the block's first byte; `None` if its edges can't be linked.
    link_base: Option<u64>,
    /// Offset in the block of the instruction that is being lowered.
    pub(crate) offset: u16,
    /// Whether somebody can see the flags that the instruction which is being lowered sets.
    pub(crate) flags_needed: bool,
    /// The CPU's model.
    pub(crate) model: Model,
    /// Where the x87 stack is.
    pub(crate) x87: exec::hot::X87Region,
}

impl<'a> Builder<'a> {
    /// A builder that appends to empty lists; `link_base` as the field says.
    pub(super) fn new(
        mode: Mode,
        model: Model,
        slots: &'a mut Vec<Slot>,
        places: &'a mut Vec<InsnPlace>,
        cold: &'a mut Vec<ColdInsn>,
        lookup_op: OpRef,
        link_base: Option<u64>,
    ) -> Builder<'a> {
        Builder {
            mode,
            slots,
            places,
            cold,
            ops: Vec::with_capacity(2 * MAX_INSNS),
            edges: Vec::new(),
            lookup_op,
            link_base,
            offset: 0,
            flags_needed: true,
            model,
            x87: exec::hot::X87Region::default(),
        }
    }

    /// Begins an instruction `offset` bytes from the block's start.
    fn place(&mut self, offset: usize) {
        let slot = self.slots.len() as u16;
        self.places.push(InsnPlace {
            offset: offset as u16,
            slot,
            fused: false,
            joined: false,
            immediate: 0,
            stale: false,
        });
    }

    /// Notes that the instruction `offset` bytes from the block's start shares its op with the one before it.
    fn place_fused(&mut self, offset: usize) {
        let slot = self.places.last().map_or(0, |p| p.slot);
        self.places.push(InsnPlace {
            offset: offset as u16,
            slot,
            fused: true,
            joined: false,
            immediate: 0,
            stale: false,
        });
    }

    /// Notes whether flags are not what they should be before the instruction just begun.
    fn mark_stale(&mut self, stale: bool) {
        if let Some(place) = self.places.last_mut() {
            place.stale = stale;
        }
    }

    /// The instruction that is being lowered has its last operand, an immediate, in its op's `imm`, and nothing else depends
    /// on that.
    pub(crate) fn immediate(&mut self, insn: &Instruction) {
        let size = match insn.op_kind(insn.op_count() - 1) {
            OpKind::Immediate8 | OpKind::Immediate8to16 | OpKind::Immediate8to32 | OpKind::Immediate8to64 => 1,
            OpKind::Immediate16 => 2,
            OpKind::Immediate32 | OpKind::Immediate32to64 => 4,
            _ => return,
        };
        if let Some(place) = self.places.last_mut() {
            place.immediate = size;
        }
    }

    /// Number of the instruction that is being lowered, in its block.
    pub(crate) fn index(&self) -> u8 {
        self.places.len().wrapping_sub(1) as u8
    }

    /// Appends an op.
    pub(crate) fn op(&mut self, run: Handler, [a, b, c, d]: [u8; 4], imm: u32) {
        let op = Op { run, a, b, c, d, imm };
        self.ops.push((self.slots.len() as u16, op));
        self.slots.push(Slot { op });
    }

    /// Gives ops that stand one behind the other a handler that does both, or more.
    fn join(&mut self, fusions: &exec::hot::Fusions) {
        let mut i = 0;
        while let Some(&(slot, mut op)) = self.ops.get(i) {
            i += 1;
            let first = i;
            while let Some(&(behind, next)) = self.ops.get(i)
                && let Some(run) = fusions.of(op.run, next.run)
            {
                op.run = run;
                let place = self.places.iter_mut().find(|p| p.slot == behind && !p.fused);
                place.into_iter().for_each(|p| p.joined = true);
                i += 1;
            }
            if i > first {
                self.slots[usize::from(slot)] = Slot { op };
            }
        }
    }

    /// Appends an op whose first three fields are those of registers: handlers read them by [`OpRef::ra`] and its kin.
    pub(crate) fn registers_op(&mut self, run: Handler, fields: [u8; 4], imm: u32) {
        assert!(fields[..3].iter().all(|&f| usize::from(f) < REGISTERS), "a field is that of a register");
        self.op(run, fields, imm);
    }

    /// Appends an op whose first field is a place of the x87 stack; so is the second if the op has no data slot, else fields 2
    /// and 3 are those of registers.
    pub(crate) fn x87_op(&mut self, run: Handler, fields: [u8; 4], imm: u32, wide: Option<u64>) {
        let most = if wide.is_some() { REGISTERS } else { 8 };
        assert!(fields[0] < 8 && usize::from(fields[1]) < most, "a field is that of a place");
        self.op(run, fields, imm);
        if let Some(value) = wide {
            assert!(usize::from(fields[2]) < REGISTERS, "a field is that of a register");
            self.wide(value);
        }
    }

    /// Appends a slot in which the op before remembers something.
    pub(crate) fn seen(&mut self) {
        self.slots.push(Slot { seen: Seen::NOTHING });
    }

    /// Slots so far.
    pub(crate) fn next_slot(&self) -> usize {
        self.slots.len()
    }

    /// Replaces the fields of the op in `slot`.
    pub(crate) fn amend(&mut self, slot: usize, [a, b, c, d]: [u8; 4]) {
        if let Some((_, op)) = self.ops.iter_mut().rev().find(|(at, _)| usize::from(*at) == slot) {
            (op.a, op.b, op.c, op.d) = (a, b, c, d);
            self.slots[slot] = Slot { op: *op };
        }
    }

    /// The handlers of all ops.
    pub(super) fn handlers(&self) -> impl Iterator<Item = Handler> + '_ {
        self.ops.iter().map(|(_, op)| op.run)
    }

    /// Appends 64 bits of operand for the op before.
    pub(crate) fn wide(&mut self, value: u64) {
        self.slots.push(Slot { wide: Wide { value } });
    }

    /// Appends a guess for the op before.
    pub(crate) fn guess(&mut self) {
        self.slots.push(Slot { guess: Guess { page: LinearPage::UNKNOWN, strays: 0 } });
    }

    /// Appends an edge to the instruction `delta` bytes from the block's start; it takes two slots. It can be linked if it
    /// stays in the block's page, as the same translation then holds for both.
    pub(crate) fn edge(&mut self, delta: i32) {
        if self.is_near(delta) {
            self.edges.push(self.slots.len() as u16);
        }
        self.slots.push(Slot { edge: Edge { to: self.lookup_op, delta, enters: Enters::NOTHING } });
        self.op(chain::stub, [0; 4], 0);
    }

    /// Whether the instruction `delta` bytes from the block's start is reached by an edge that can be linked.
    pub(crate) fn is_near(&self, delta: i32) -> bool {
        let target = self.link_base.map(|base| (base as i64).wrapping_add(delta.into()));
        target.is_some_and(|t| (0..PAGE_SIZE as i64).contains(&t))
    }

    /// Appends the place where a jump that can't be linked keeps its target; it takes two slots.
    pub(crate) fn landing(&mut self) {
        self.slots.push(Slot { landing: Landing { key: NO_KEY, to: self.lookup_op } });
        self.op(chain::land, [0; 4], 0);
    }

    /// Keeps the decoded form of an instruction for [`super::run_decoded`]; returns its number.
    pub(crate) fn decoded(&mut self, exec: Exec, insn: &Instruction) -> u32 {
        self.x87.close();
        self.cold.push(ColdInsn { exec, insn: *insn });
        (self.cold.len() - 1) as u32
    }

    /// Appends an instruction that is executed from its decoded form.
    pub(crate) fn cold(&mut self, exec: Exec, insn: &Instruction, ends: bool) {
        let index = self.decoded(exec, insn);
        let stack = insn.fpu_stack_increment_info();
        if stack.writes_top() {
            self.x87.turn(stack.increment());
        }
        self.op(if ends { chain::cold_end } else { chain::cold }, [0; 4], index);
    }
}

fn raise_ud(_: &mut System, _: &Instruction) -> Outcome {
    Err(Fault::UD)
}

fn raise_gp(_: &mut System, _: &Instruction) -> Outcome {
    Err(Fault::gp(0))
}

/// What the decoder gave up at its limit: #UD if that is an opcode which just fits, #GP if there is more of it.
fn raise_at_limit(sys: &mut System, _: &Instruction) -> Outcome {
    let mut bytes = [0; MAX_LENGTH];
    let start = sys.cpu.seg[seg::CS].base.wrapping_add(sys.insn_ip());
    for (i, byte) in bytes.iter_mut().enumerate() {
        let lin = sys.wrap_linear(start.wrapping_add(i as u64));
        let Some(pa) = sys.peek_translation(lin) else { return Err(Fault::gp(0)) };
        *byte = sys.mem.load(sys.mem.gated(pa));
    }
    // Without its first prefix, what fits ends before the limit.
    let mut decoder = decoder(sys.cpu.mode, &sys.cpu.model, &bytes[1..]);
    let _ = decoder.decode();
    if decoder.last_error() == DecoderError::NoMoreBytes { Err(Fault::gp(0)) } else { Err(Fault::UD) }
}

/// Whether nothing behind `insn` belongs to its block.
fn ends_block(model: &Model, insn: &Instruction) -> bool {
    insn.flow_control() != FlowControl::Next
        || insn.has_rep_prefix()
        || insn.has_repne_prefix()
        || exec::leaves_next(model, insn)
}

impl System {
    /// Decodes the block at RIP for the present mode, with `SINGLE` if only one instruction is wanted.
    ///
    /// # Errors
    /// The fault of fetching its first instruction.
    pub(crate) fn build_block(&mut self, mode: Mode) -> Outcome<u32> {
        let mut bytes = core::mem::take(&mut self.engine.bytes);
        let built = self.build_from(mode, &mut bytes);
        self.engine.bytes = bytes;
        built
    }

    fn build_from(&mut self, mode: Mode, bytes: &mut Vec<u8>) -> Outcome<u32> {
        let source = self.code_source(mode, bytes)?;
        let mut second = None;
        let first_length = self.first_length(mode, bytes);
        let wraps = first_length.is_none() && source.cut_by_limit && self.cpu.model.kind.wraps();
        if wraps {
            self.append_segment_start(bytes)?;
        } else if first_length.is_none() && bytes.len() < most_bytes(&self.cpu.model) {
            if source.cut_by_limit {
                return Err(Fault::gp(0));
            }
            second = self.append_next_page(bytes)?;
        }
        let key = source.key.filter(|_| !wraps);
        let crosses = second.is_some();
        let index = self.engine.next_index();
        let mode_key = mode.0;
        let firmware = key.is_some() && self.firmware_at(self.code_physical);
        let engine = &mut self.engine;
        let longest = engine.longest_block;
        let stops = !wraps && engine.breaks_at(source.page_offset);
        let near = engine.breaks_behind(source.page_offset);
        let (mut slots, mut places) = (core::mem::take(&mut engine.slots), core::mem::take(&mut engine.places));
        let linkable = !crosses && mode.has(Mode::OPEN_LIMIT) && !mode.has(Mode::SINGLE) && key.is_some();
        let link_base = linkable.then_some(source.page_offset);
        let lookup_op = engine.lookup_op;
        let model = self.cpu.model;
        let mut b = Builder::new(mode, model, &mut slots, &mut places, &mut engine.cold, lookup_op, link_base);
        b.edges = core::mem::take(&mut engine.edges);
        b.x87.begin_at(self.cpu.fpu.present_place());
        let alone = crosses || mode.has(Mode::SINGLE) || key.is_none() || near;
        let max = if alone { 1 } else { longest };
        b.slots.push(Slot { wide: Wide { value: 0 } }); // the entry, once the counts are known
        let len = decode_into(&mut b, bytes, &engine.table, firmware, &mut engine.insns[..max]);
        if !mode.has(Mode::ALIGN | Mode::SINGLE | Mode::WATCH) {
            b.join(&engine.fusions);
        }
        let mut edges = core::mem::take(&mut b.edges);
        let n = places.len();
        slots[0] = chain::entry_slot(engine.entry_handler(mode_key, wraps), index, n, len);
        let ops = slots.len() as u16;
        let entry = engine.push_slots(&mut slots);
        let plain = linkable && !stops && !firmware && !mode.has(Mode::WATCH | Mode::ALIGN);
        let polls = if plain { polls::polls(&engine.insns[..n]) } else { Polls::No };
        if stops {
            entry.set_run(chain::break_handler(mode_key));
        } else if polls.any() && engine.profile.is_none() {
            entry.set_run(chain::poll_handler(mode_key));
        }
        let has_edges = !edges.is_empty();
        for slot in edges.drain(..) {
            let edge = entry.step(slot.into());
            edge.set_edge(edge.step(1), Enters::NOTHING);
        }
        engine.edges = edges;
        let block = Block {
            key: key.unwrap_or(u64::MAX),
            mode: mode_key,
            health: if key.is_some() { Health::Good } else { Health::Dead },
            second_page: second.filter(|_| len as u64 > PAGE_SIZE - source.page_offset),
            entry,
            ops,
            has_edges,
            insns: places.as_slice().into(),
            polls,
            bytes: bytes[..len].into(),
            edges: Vec::new(),
            next_in_bucket: NONE,
            next_in_page: NONE,
        };
        places.clear();
        engine.slots = slots;
        engine.places = places;
        Ok(engine.insert(&mut self.mem, block))
    }

    /// Block `index`, at whose entry the chain stands, is suspect: makes it good again, with its bytes as they are now. If
    /// the answer is false, its place can't hold what is there now, and nothing has changed.
    #[inline(never)]
    pub(crate) fn revive_in_place(&mut self, index: u32) -> bool {
        if self.engine.block(index).second_page.is_some() {
            return false;
        }
        let same = self.engine.is_unchanged(&self.mem, index);
        let changed = if same { None } else { self.engine.change_immediate(&self.mem, index) };
        if !same && changed.is_none() && !self.rebuild_in_place(index) {
            return false;
        }
        self.engine.note(if same { Event::Unchanged } else { Event::Changed });
        self.engine.rehabilitate(&mut self.mem, index);
        self.protect_fresh_code();
        if let Some(n) = changed {
            self.engine.enter_site(index, n);
        }
        true
    }

    /// Decodes suspect block `index` anew into its own ops, if they are enough.
    fn rebuild_in_place(&mut self, index: u32) -> bool {
        let block = self.engine.block(index);
        let (key, mode) = (block.key, Mode(block.mode));
        let room = PAGE_SIZE - key % PAGE_SIZE;
        let plain = mode == self.cpu.mode
            && mode.has(Mode::OPEN_LIMIT)
            && mode.has(Mode::CODE32 | Mode::CODE64)
            && !mode.has(Mode::SINGLE)
            && room >= (2 * MAX_LENGTH) as u64;
        let Some(page) = self.engine.contexts.translation(self.code_linear()) else { return false };
        let firmware = self.firmware_at(self.mem.gated(page | key % PAGE_SIZE));
        if !plain || firmware || !self.engine.can_rebuild() {
            return false;
        }
        let len = room.min((MAX_INSNS * MAX_LENGTH) as u64) as usize;
        let (model, engine) = (self.cpu.model, &mut self.engine);
        let (mut slots, mut places) = (core::mem::take(&mut engine.slots), core::mem::take(&mut engine.places));
        let (lookup_op, base) = (engine.lookup_op, Some(key % PAGE_SIZE));
        let mut b = Builder::new(mode, model, &mut slots, &mut places, &mut engine.cold, lookup_op, base);
        b.edges = core::mem::take(&mut engine.edges);
        b.x87.begin_at(self.cpu.fpu.present_place());
        b.slots.push(Slot { wide: Wide { value: 0 } });
        let bytes = self.mem.pool(key, len);
        let longest = engine.longest_block;
        let len = decode_into(&mut b, bytes, &engine.table, false, &mut engine.insns[..longest]);
        if !mode.has(Mode::ALIGN | Mode::WATCH) {
            b.join(&engine.fusions);
        }
        let edges = core::mem::take(&mut b.edges);
        slots[0] = chain::entry_slot(engine.entry_handler(mode.0, false), index, places.len(), len);
        let plain = !mode.has(Mode::WATCH | Mode::ALIGN);
        let polls = if plain { polls::polls(&engine.insns[..places.len()]) } else { Polls::No };
        let fits = engine.replace_ops(index, &slots, &edges, &places, &bytes[..len], polls);
        slots.clear();
        places.clear();
        (engine.slots, engine.places, engine.edges) = (slots, places, edges);
        engine.edges.clear();
        fits
    }

    /// The bytes at RIP, up to the end of their page or of the code segment.
    fn code_source(&mut self, mode: Mode, bytes: &mut Vec<u8>) -> Outcome<Source> {
        let rip = self.cpu.rip;
        let limit = match (mode.has(Mode::CODE64), mode.has(Mode::CODE32)) {
            (true, _) => u64::MAX,
            (_, true) => self.cpu.seg[seg::CS].limit.into(),
            _ => u64::from(self.cpu.seg[seg::CS].limit).min(0xFFFF),
        };
        if rip > limit || (mode.has(Mode::CODE64) && !crate::system::is_canonical(rip)) {
            return Err(Fault::gp(0));
        }
        let lin = self.code_linear();
        let pa = self.translate_code(lin)?;
        self.code_physical = self.mem.gated(pa);
        let page_offset = lin % PAGE_SIZE;
        let room = PAGE_SIZE - page_offset;
        let allowed = (limit - rip).saturating_add(1);
        let len = room.min(allowed).min((MAX_INSNS * MAX_LENGTH) as u64) as usize;
        bytes.clear();
        let key = match self.mem.target(pa).0 {
            Target::Pool(pool) => {
                bytes.extend_from_slice(self.mem.pool(pool + page_offset, len));
                Some(pool + page_offset)
            }
            _ => {
                for i in 0..len.min(most_bytes(&self.cpu.model)) {
                    bytes.push(self.load_physical(pa + i as u64, 1) as u8);
                }
                None
            }
        };
        Ok(Source { key, page_offset, cut_by_limit: allowed <= room })
    }

    /// Length of the first instruction; `None` if the bytes end inside of it.
    fn first_length(&self, mode: Mode, bytes: &[u8]) -> Option<usize> {
        if self.cpu.model.kind == Kind::I8086 {
            return front::decode(bytes, 0).map(|insn| insn.len());
        }
        if bytes.len() >= MAX_LENGTH {
            return Some(MAX_LENGTH);
        }
        if bytes.len() >= 3 && bytes[..2] == [0x0F, 0x3F] {
            return Some(3);
        }
        let mut decoder = decoder(mode, &self.cpu.model, bytes);
        let insn = decoder.decode();
        if decoder.last_error() == DecoderError::NoMoreBytes { None } else { Some(insn.len()) }
    }

    /// Appends the first bytes of the page behind RIP's; returns its pool offset.
    fn append_next_page(&mut self, bytes: &mut Vec<u8>) -> Outcome<Option<u64>> {
        let lin = self.wrap_linear(self.code_linear().wrapping_add(bytes.len() as u64));
        let pa = self.translate_code(lin)?;
        match self.mem.target(pa).0 {
            Target::Pool(pool) => {
                bytes.extend_from_slice(self.mem.pool(pool, most_bytes(&self.cpu.model)));
                Ok(Some(pool))
            }
            _ => {
                bytes.resize(bytes.len() + most_bytes(&self.cpu.model), 0xFF);
                Ok(None)
            }
        }
    }

    /// Appends the first bytes of the code segment: where an instruction goes on that passes its end, up to the 80186.
    fn append_segment_start(&mut self, bytes: &mut Vec<u8>) -> Outcome {
        for i in 0..most_bytes(&self.cpu.model) as u64 {
            bytes.push(self.read::<u8>(seg::CS, i)?);
        }
        Ok(())
    }

    fn translate_code(&mut self, lin: u64) -> Outcome<u64> {
        if let Some(page) = self.engine.contexts.translation(lin) {
            return Ok(page | (lin & (PAGE_SIZE - 1)));
        }
        let t = self.translate(lin, Access::code(self.cpu.cpl))?;
        self.hold(lin, &t, true);
        self.engine.contexts.note(lin, t.pa, t.global, self.cpu.cr3);
        Ok(t.pa)
    }

    /// Where code at `lin` is fetched from, if fetching it changes nothing.
    fn peek_code(&mut self, lin: u64) -> Option<u64> {
        if let Some(page) = self.engine.contexts.translation(lin) {
            return Some(page | (lin & (PAGE_SIZE - 1)));
        }
        let t = self.silent_fetch(lin)?;
        self.hold(lin, &t, true);
        self.engine.contexts.note(lin, t.pa, t.global, self.cpu.cr3);
        Some(t.pa)
    }

    /// Makes the context of the present mode and address space the present one.
    #[inline(always)]
    pub(crate) fn select_context(&mut self) {
        if !self.engine.contexts.is_present(self.cpu.mode.0) && !self.engine.contexts.swap(self.cpu.mode.0) {
            self.change_context();
        }
    }

    #[inline(never)]
    fn change_context(&mut self) {
        if self.engine.contexts.run_out() {
            self.engine.renumber_contexts(&mut self.mem);
        }
        let (mode, cr3) = (self.cpu.mode.0, self.cpu.cr3);
        while let Some(pages) = self.engine.contexts.select(mode, cr3) {
            let same = pages.iter().all(|&(lin, pa)| self.leads_to(lin, pa));
            self.engine.contexts.walked(pages, same);
        }
    }

    /// Whether code at `lin` is fetched from `pa`, and fetching it changes nothing.
    fn leads_to(&mut self, lin: u64, pa: u64) -> bool {
        let Some(t) = self.silent_fetch(lin).filter(|t| t.pa == pa) else { return false };
        self.hold(lin, &t, true);
        true
    }

    /// Linear address of RIP.
    #[inline(always)]
    pub(crate) fn code_linear(&self) -> u64 {
        if self.cpu.mode.has(Mode::CODE64) {
            self.cpu.rip
        } else {
            self.cpu.seg[seg::CS].base.wrapping_add(self.cpu.rip) & 0xFFFF_FFFF
        }
    }

    /// The block at RIP, decoded now if need be.
    ///
    /// # Errors
    /// The fault of fetching its first instruction.
    pub(crate) fn find_block(&mut self, mode: Mode) -> Outcome<u32> {
        if self.engine.is_full() {
            self.engine.clear(&mut self.mem);
        }
        let lin = self.code_linear();
        let fits = !mode.has(Mode::CODE64) || crate::system::is_canonical(lin);
        if fits && self.cpu.rip <= self.rip_limit() {
            let pa = self.translate_code(lin)?;
            if let Target::Pool(pool) = self.mem.target(pa).0 {
                let found = self.engine.find(&mut self.mem, pool + lin % PAGE_SIZE, mode.0);
                let found = found.filter(|&index| self.second_page_still_follows(index, lin));
                if let Some(index) = found {
                    self.protect_fresh_code();
                    return Ok(index);
                }
            }
        }
        let index = self.build_block(mode)?;
        self.protect_fresh_code();
        Ok(index)
    }

    /// Whether the page behind that of `lin` is still the one that block `index` crosses into, if it crosses.
    fn second_page_still_follows(&mut self, index: u32, lin: u64) -> bool {
        let Some(expected) = self.engine.block(index).second_page else { return true };
        let next_page = self.wrap_linear((lin & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE));
        let now = self.peek_code(next_page).map(|pa| self.mem.target(pa).0);
        let follows = now == Some(Target::Pool(expected));
        if !follows {
            self.engine.kill(index);
        }
        follows
    }

    fn rip_limit(&self) -> u64 {
        if self.cpu.mode.has(Mode::CODE64) { u64::MAX } else { self.cpu.seg[seg::CS].limit.into() }
    }

    /// Pages that hold code now, or are page tables, must not be written silently.
    pub(crate) fn protect_fresh_code(&mut self) {
        while let Some(page) = self.mem.take_fresh_code() {
            self.tlb.protect(page);
            self.parked.iter_mut().for_each(|other| other.tlb.protect(page));
        }
    }
}

/// Decodes and lowers up to `insns.len()` instructions; returns how many bytes they are.
fn decode_into(
    b: &mut Builder<'_>,
    bytes: &[u8],
    table: &exec::ExecTable,
    firmware: bool,
    insns: &mut [Instruction],
) -> usize {
    let (n, len, end) = decode(b.mode, &b.model, bytes, firmware, insns);
    lower_all(b, &insns[..n], table, end);
    match end {
        End::Firmware(number) => {
            b.place(len);
            b.op(chain::firmware, [0; 4], number.into());
            return len + 3;
        }
        End::Jump => {}
        End::Open => {
            if b.is_near(len as i32) {
                exec::hot::lower_jump(len as i32, b);
            } else {
                b.op(chain::fall_away, [0; 4], len as u32);
                b.landing();
            }
        }
    }
    len
}

/// What stands behind the instructions of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing: the last one jumps, or raises a fault.
    Jump,
    /// The next block.
    Open,
    /// A call of the firmware's service.
    Firmware(u8),
}

/// A decoder as `model` needs it.
fn decoder<'a>(mode: Mode, model: &Model, bytes: &'a [u8]) -> Decoder<'a> {
    Decoder::with_ip(mode.bitness(), bytes, 0, exec::decoder_options(model))
}

/// Decodes up to `insns.len()` instructions: how many, their bytes, and what is behind them.
fn decode(mode: Mode, model: &Model, bytes: &[u8], firmware: bool, insns: &mut [Instruction]) -> (usize, usize, End) {
    if model.kind == Kind::I8086 {
        return decode_i8086(model, bytes, firmware, insns);
    }
    let mut decoder = decoder(mode, model, bytes);
    let (mut n, mut at) = (0, 0);
    while n < insns.len() && decoder.can_decode() {
        if let Some(end) = firmware_call(&bytes[at..], firmware) {
            return (n, at, end);
        }
        let insn = &mut insns[n];
        decoder.decode_out(insn);
        if decoder.last_error() == DecoderError::NoMoreBytes && n > 0 {
            break;
        }
        if !exec::accepts(model, insn) || (model.kind < Kind::I80386 && front::has_late_prefix(&bytes[at..])) {
            insn.set_code(Code::INVALID);
        }
        n += 1;
        at += insn.len().max(1);
        if insn.code() == Code::INVALID || ends_block(model, insn) {
            return (n, at, End::Jump);
        }
    }
    (n, at, End::Open)
}

/// The firmware's opcode at the start of `bytes`, where it counts.
fn firmware_call(bytes: &[u8], firmware: bool) -> Option<End> {
    (firmware && bytes.len() >= 3 && bytes[..2] == [0x0F, 0x3F]).then(|| End::Firmware(bytes[2]))
}

/// [`decode`] for the 8086.
fn decode_i8086(model: &Model, bytes: &[u8], firmware: bool, insns: &mut [Instruction]) -> (usize, usize, End) {
    let (mut n, mut at) = (0, 0);
    while n < insns.len() && at < bytes.len() {
        if let Some(end) = firmware_call(&bytes[at..], firmware) {
            return (n, at, end);
        }
        let Some(insn) = front::decode(&bytes[at..], at) else { break };
        insns[n] = insn;
        n += 1;
        at += insn.len();
        if ends_block(model, &insn) {
            return (n, at, End::Jump);
        }
    }
    (n, at, End::Open)
}

/// Which instructions set flags that nobody can see: a later one overwrites them, and nothing between can stop the chain.
/// With what each quiet one does to the flags.
fn unseen_flags(insns: &[Instruction], model: &Model) -> [(bool, Option<Quiet>); MAX_INSNS] {
    let mut all = [(false, None); MAX_INSNS];
    let mut live = u32::MAX;
    for (i, insn) in insns.iter().enumerate().rev() {
        let quiet = exec::hot::quiet(insn, model);
        let mut unseen = false;
        match quiet {
            Some(q) => {
                unseen = q.changes != 0 && live & q.changes == 0;
                live = live & !q.replaces | q.reads;
            }
            None => live = u32::MAX,
        }
        all[i] = (unseen, quiet);
    }
    all
}

/// Lowers what was decoded.
pub(super) fn lower_all(b: &mut Builder<'_>, insns: &[Instruction], table: &exec::ExecTable, end: End) {
    let fast = table.handlers && !b.mode.has(Mode::ALIGN | Mode::SINGLE | Mode::WATCH);
    let flags = if fast { unseen_flags(insns, &b.model) } else { [(false, None); MAX_INSNS] };
    let (mut at, mut stale, mut i) = (0, 0, 0);
    while let Some(insn) = insns.get(i) {
        b.offset = at as u16;
        b.flags_needed = !flags[i].0;
        b.place(at);
        b.mark_stale(stale != 0);
        if insn.code() == Code::INVALID {
            b.cold(
                match insn.len() {
                    n if n > exec::longest(&b.model) => raise_gp,
                    n if n >= MAX_LENGTH => raise_at_limit,
                    _ => raise_ud,
                },
                insn,
                true,
            );
            return;
        }
        if fast
            && let Some(second) = insns.get(i + 1)
            && table.is_ordinary(insn.code())
            && table.is_ordinary(second.code())
        {
            let behind = at + insn.len();
            b.offset = behind as u16;
            if exec::hot::lower_pair(insn, second, b) {
                b.place_fused(behind);
                (at, i) = (behind + second.len(), i + 2);
                continue;
            }
            b.offset = at as u16;
        }
        // What the model does not have is not in the table, and must not be lowered either.
        let exec = table.get(insn.code());
        let last = i + 1 == insns.len() && end == End::Jump;
        // A stray REP ends its block too, whatever it stands before; a handler would go on behind the block's end.
        let strays = last && insn.flow_control() == FlowControl::Next;
        let special = fast && !strays && table.is_ordinary(insn.code());
        let transit =
            special && last && exec.is_some_and(|exec| exec::hot::transit::lower(insn, b, |b| b.decoded(exec, insn)));
        let by_system = |b: &mut Builder<'_>| {
            exec.is_some_and(|exec| {
                exec::hot::segment::lower(insn, b, |b| b.decoded(exec, insn))
                    || exec::hot::control::lower(insn, b, |b| b.decoded(exec, insn))
            })
        };
        if !(transit || special && (exec::hot::lower(insn, b) || by_system(b))) {
            b.cold(exec.unwrap_or(raise_ud), insn, last);
        }
        stale = match flags[i] {
            (true, Some(q)) => stale | q.changes,
            (false, Some(q)) => stale & !q.replaces,
            // Nothing is stale where no flags are left away.
            (_, None) if !fast => 0,
            (_, None) => stale & !insn.rflags_modified(),
        };
        (at, i) = (at + insn.len(), i + 1);
    }
}
