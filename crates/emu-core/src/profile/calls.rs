//! Who called whom: a stack of calls for each of the guest's stacks, and the tree that they add up to.
//!
//! A frame is what a call or an interrupt began, with the stack pointer at its first instruction. It is over once the
//! stack pointer is above that: so returns, unwinding and thrown-away frames all end it, and nothing must be matched.
//! A jump of the stack pointer, or another privilege level, is another stack; the old one is kept for when it comes back.

use core::ops::Range;
use std::collections::BTreeMap;

use crate::cpu::{Cpu, Mode, seg};

/// How far the stack pointer moves between two blocks of one stack.
const REACH: u64 = 32 << 10;
/// Stacks are found again by the region that their pointer is in.
const REGION_SHIFT: u32 = 14;
/// Frames of one stack, nodes of the tree, and stacks that are kept.
const DEEPEST: usize = 512;
const NODES: usize = 1 << 20;
const STACKS: usize = 1 << 12;

/// A function in the tree of calls: one called along one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallNode {
    /// Index of the node that called it; the root is its own parent.
    pub parent: u32,
    /// Linear address of its first instruction; 0 for the root.
    pub function: u64,
    /// Ticks in itself, without those it called.
    pub ticks: u64,
}

#[derive(Clone, Copy)]
struct Frame {
    pointer: u64,
    node: u32,
}

pub(super) struct Calls {
    nodes: Vec<CallNode>,
    children: BTreeMap<(u32, u64), u32>,
    frames: Vec<Frame>,
    /// The other stacks, by privilege level and region.
    parked: BTreeMap<(u8, u64), Vec<Frame>>,
    pointer: u64,
    cpl: u8,
    /// The next block is the first of a function, unless it is in this range: then the block that ends in a call was cut
    /// by a deadline, and goes on.
    begins: Option<Range<u64>>,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            nodes: vec![CallNode::default()],
            children: BTreeMap::new(),
            frames: Vec::new(),
            parked: BTreeMap::new(),
            pointer: 0,
            cpl: 0,
            begins: None,
        }
    }
}

impl Calls {
    /// A block ends in a call; `inside` are the addresses in it behind its first.
    pub(super) fn expect_call(&mut self, inside: Range<u64>) {
        self.begins = Some(inside);
    }

    /// An interrupt is about to be delivered.
    pub(super) fn expect_handler(&mut self) {
        self.begins = Some(0..0);
    }

    /// A block at `linear` is entered.
    pub(super) fn enter(&mut self, cpu: &Cpu, linear: u64) {
        let pointer = stack_pointer(cpu);
        self.enter_at(pointer, cpu.cpl, linear);
    }

    fn enter_at(&mut self, pointer: u64, cpl: u8, linear: u64) {
        if cpl != self.cpl || pointer.abs_diff(self.pointer) > REACH {
            self.change_stack(pointer, cpl);
        }
        self.pointer = pointer;
        while self.frames.last().is_some_and(|f| f.pointer < pointer) {
            self.frames.pop();
        }
        let begins = self.begins.take().is_some_and(|inside| !inside.contains(&linear));
        if begins && self.frames.len() < DEEPEST {
            let node = self.child(self.node(), linear);
            self.frames.push(Frame { pointer, node });
        }
    }

    fn node(&self) -> u32 {
        self.frames.last().map_or(0, |f| f.node)
    }

    fn child(&mut self, parent: u32, function: u64) -> u32 {
        if let Some(&node) = self.children.get(&(parent, function)) {
            return node;
        }
        if self.nodes.len() >= NODES {
            return parent;
        }
        let node = self.nodes.len() as u32;
        self.nodes.push(CallNode { parent, function, ticks: 0 });
        self.children.insert((parent, function), node);
        node
    }

    fn change_stack(&mut self, pointer: u64, cpl: u8) {
        let frames = core::mem::take(&mut self.frames);
        if !frames.is_empty() {
            if self.parked.len() >= STACKS {
                self.parked.clear();
            }
            self.parked.insert((self.cpl, self.pointer >> REGION_SHIFT), frames);
        }
        self.cpl = cpl;
        self.frames = self.parked.remove(&(cpl, pointer >> REGION_SHIFT)).unwrap_or_default();
    }

    /// Gives `ticks` to the function that runs.
    pub(super) fn charge(&mut self, ticks: u64) {
        let node = self.node();
        self.nodes[node as usize].ticks += ticks;
    }

    pub(super) fn finish(self) -> Vec<CallNode> {
        self.nodes
    }
}

/// The linear address of the top of the stack.
fn stack_pointer(cpu: &Cpu) -> u64 {
    if cpu.mode.has(Mode::CODE64) {
        return cpu.regs[4];
    }
    let offset = if cpu.mode.has(Mode::STACK32) { cpu.regs[4] & 0xFFFF_FFFF } else { cpu.regs[4] & 0xFFFF };
    cpu.seg[seg::SS].base.wrapping_add(offset) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enters a block and gives it one tick.
    fn step(c: &mut Calls, pointer: u64, cpl: u8, linear: u64) {
        c.enter_at(pointer, cpl, linear);
        c.charge(1);
    }

    fn ways(c: Calls) -> Vec<(Vec<u64>, u64)> {
        let nodes = c.finish();
        let way = |mut i: usize| {
            let mut way = Vec::new();
            while i != 0 {
                way.insert(0, nodes[i].function);
                i = nodes[i].parent as usize;
            }
            way
        };
        (0..nodes.len()).map(|i| (way(i), nodes[i].ticks)).filter(|w| w.1 != 0).collect()
    }

    #[test]
    fn frames_end_when_the_stack_pointer_is_above_them() {
        let mut c = Calls::default();
        step(&mut c, 0x1000, 0, 0x10);
        c.expect_handler();
        step(&mut c, 0x0FF8, 0, 0x20);
        c.expect_handler();
        step(&mut c, 0x0FE0, 0, 0x30);
        // Both at once, as longjmp does.
        step(&mut c, 0x1000, 0, 0x14);
        c.expect_handler();
        step(&mut c, 0x0FF8, 0, 0x30);
        step(&mut c, 0x0FF0, 0, 0x34);
        assert_eq!(ways(c), [(vec![], 2), (vec![0x20], 1), (vec![0x20, 0x30], 1), (vec![0x30], 2)]);
    }

    #[test]
    fn each_stack_has_frames_of_its_own() {
        let mut c = Calls::default();
        step(&mut c, 0x8000_0000, 3, 0x10);
        c.expect_handler();
        step(&mut c, 0x7FFF_FFF8, 3, 0x20);
        c.expect_handler(); // an interrupt
        step(&mut c, 0xC000_1000, 0, 0x90);
        // Another task's kernel stack, and back.
        step(&mut c, 0xC010_0F00, 0, 0x92);
        step(&mut c, 0xC000_1000, 0, 0x94);
        step(&mut c, 0x7FFF_FFF8, 3, 0x24);
        assert_eq!(ways(c), [(vec![], 2), (vec![0x20], 2), (vec![0x90], 2)]);
    }

    #[test]
    fn a_guest_that_only_calls_takes_no_more_than_its_share() {
        let mut c = Calls::default();
        for i in 0..10_000u64 {
            c.expect_handler();
            step(&mut c, 0x100_0000 - 8 * i, 0, 0x10 + i);
        }
        assert!(c.frames.len() <= DEEPEST && c.nodes.len() <= NODES);
    }
}
