//! The x87 unit against what a real CPU did, one instruction at a time (hwvec/x87.jsonl.gz of the shared vectors).
//!
//! Everything must agree to the bit; the transcendental results of an Intel CPU are themselves only good to within
//! one unit in the last place, so there a neighbour is accepted in few of the cases.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use emu_core::fpu::constants::Constant;
use emu_core::fpu::round::{Ctl, Out};
use emu_core::fpu::{F80, Fpu, Operand, Store, arith, int, trans};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use serde_json::Value;

/// Memory as the vectors have it: 256 bytes, of which the operand is at the start.
struct Case {
    fpu: Fpu,
    mem: [u8; 16],
    flags: u32,
    ax: Option<u16>,
}

fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("EMU_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let file = root.join(path);
    file.exists().then_some(file)
}

fn number(v: &Value, key: &str) -> u64 {
    v.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn hex(s: &str) -> Vec<u8> {
    (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

fn f80(v: &Value) -> F80 {
    let s = v.as_str().expect("a register");
    F80::new(u16::from_str_radix(&s[..4], 16).expect("hex"), u64::from_str_radix(&s[4..], 16).expect("hex"))
}

fn case(input: &Value) -> Case {
    let mut fpu = Fpu::new();
    fpu.set_control(number(input, "cw") as u16);
    fpu.set_status(number(input, "sw") as u16);
    for (i, v) in input["st"].as_array().into_iter().flatten().enumerate() {
        fpu.set_st(i as u8, f80(v));
    }
    fpu.set_abridged_tags(number(input, "tw") as u8);
    let mut mem = [0; 16];
    let bytes = hex(input.get("mem").and_then(Value::as_str).unwrap_or(""));
    mem[..bytes.len()].copy_from_slice(&bytes);
    Case { fpu, mem, flags: number(input, "fl") as u32, ax: None }
}

impl Case {
    fn bytes<const N: usize>(&self) -> [u8; N] {
        self.mem[..N].try_into().expect("at most 16 bytes")
    }

    fn operand(&self, i: &Instruction) -> Operand {
        use iced_x86::MemorySize::*;
        match i.memory_size() {
            Float32 => Operand::f32(u32::from_le_bytes(self.bytes())),
            Float64 => Operand::f64(u64::from_le_bytes(self.bytes())),
            Int16 => Operand::int(i16::from_le_bytes(self.bytes()).into()),
            Int32 => Operand::int(i32::from_le_bytes(self.bytes()).into()),
            Int64 => Operand::int(i64::from_le_bytes(self.bytes())),
            other => panic!("no operand of {other:?}"),
        }
    }

    fn write<T: Copy>(&mut self, store: Store<T>, pops: u8, bytes: impl Fn(T) -> Vec<u8>) {
        if let Some(v) = store.value {
            let v = bytes(v);
            self.mem[..v.len()].copy_from_slice(&v);
        }
        self.fpu.stored(store, pops);
    }

    fn arith(&mut self, i: &Instruction, pops: u8, f: fn(F80, F80, Ctl) -> Out) {
        if i.op0_kind() == OpKind::Memory {
            let operand = self.operand(i);
            self.fpu.binary_mem(operand, f);
        } else {
            let (a, b) = (st(i, 0), st(i, 1));
            self.fpu.binary(a, a, b, pops, f);
        }
    }

    fn store(&mut self, i: &Instruction, pops: u8, truncate: bool) {
        use iced_x86::MemorySize::*;
        if i.op0_kind() != OpKind::Memory {
            self.fpu.store_st(st(i, 0), pops);
            return;
        }
        match i.memory_size() {
            Float32 => self.write(self.fpu.prepare_f32(), pops, |v| v.to_le_bytes().to_vec()),
            Float64 => self.write(self.fpu.prepare_f64(), pops, |v| v.to_le_bytes().to_vec()),
            Float80 => self.write(self.fpu.prepare_f80(), pops, |v| v.to_bytes().to_vec()),
            Bcd => self.write(self.fpu.prepare_bcd(), pops, |v| v.to_vec()),
            size => {
                let bytes = size.size();
                let store = self.fpu.prepare_int(8 * bytes as u32, truncate);
                self.write(store, pops, |v| v.to_le_bytes()[..bytes].to_vec());
            }
        }
    }

    fn compare(&mut self, i: &Instruction, quiet: bool, pops: u8) {
        if i.op0_kind() == OpKind::Memory {
            let operand = self.operand(i);
            self.fpu.compare_mem(operand, pops);
        } else {
            self.fpu.compare(st(i, 1), quiet, pops);
        }
    }

    fn compare_flags(&mut self, i: &Instruction, quiet: bool, pops: u8) {
        self.flags = self.flags & !0x8d5 | self.fpu.compare_flags(st(i, 1), quiet, pops);
    }

    fn load(&mut self, i: &Instruction) {
        use iced_x86::MemorySize::*;
        if i.op0_kind() != OpKind::Memory {
            self.fpu.load_st(st(i, 0).max(st(i, 1)));
            return;
        }
        match i.memory_size() {
            Float80 => self.fpu.load_exact(F80::from_bytes(self.bytes())),
            Bcd => self.fpu.load_exact(int::from_bcd(self.bytes())),
            _ => self.fpu.load(self.operand(i)),
        }
    }

    fn move_if(&mut self, i: &Instruction, condition: bool) {
        self.fpu.move_if(st(i, 1), condition);
    }

    fn run(&mut self, i: &Instruction) {
        use Mnemonic::*;
        let flag = |bits: u32| self.flags & bits != 0;
        match i.mnemonic() {
            Fadd | Fiadd => self.arith(i, 0, arith::add),
            Fsub | Fisub => self.arith(i, 0, arith::sub),
            Fsubr | Fisubr => self.arith(i, 0, arith::subr),
            Fmul | Fimul => self.arith(i, 0, arith::mul),
            Fdiv | Fidiv => self.arith(i, 0, arith::div),
            Fdivr | Fidivr => self.arith(i, 0, arith::divr),
            Faddp => self.arith(i, 1, arith::add),
            Fsubp => self.arith(i, 1, arith::sub),
            Fsubrp => self.arith(i, 1, arith::subr),
            Fmulp => self.arith(i, 1, arith::mul),
            Fdivp => self.arith(i, 1, arith::div),
            Fdivrp => self.arith(i, 1, arith::divr),
            Fsqrt => self.fpu.unary(arith::sqrt),
            Frndint => self.fpu.unary(int::round_to_int),
            F2xm1 => self.fpu.unary(trans::f2xm1),
            Fyl2x => self.fpu.binary(1, 1, 0, 1, trans::yl2x),
            Fyl2xp1 => self.fpu.binary(1, 1, 0, 1, trans::yl2xp1),
            Fpatan => self.fpu.binary(1, 1, 0, 1, trans::atan2),
            Fsin => self.fpu.trigonometric(trans::sin),
            Fcos => self.fpu.trigonometric(trans::cos),
            Fptan => self.fpu.tangent(),
            Fsincos => self.fpu.sine_cosine(),
            Fprem => self.fpu.remainder(false),
            Fprem1 => self.fpu.remainder(true),
            Fscale => self.fpu.scale(),
            Fxtract => self.fpu.extract(),
            Fabs => self.fpu.change_sign(|s| s & 0x7fff),
            Fchs => self.fpu.change_sign(|s| s ^ 0x8000),
            Fxam => self.fpu.examine(),
            Ftst => self.fpu.compare_mem(Operand::int(0), 0),
            Fcom | Ficom => self.compare(i, false, 0),
            Fcomp | Ficomp => self.compare(i, false, 1),
            Fcompp => self.fpu.compare(1, false, 2),
            Fucom => self.compare(i, true, 0),
            Fucomp => self.compare(i, true, 1),
            Fucompp => self.fpu.compare(1, true, 2),
            Fcomi => self.compare_flags(i, false, 0),
            Fcomip => self.compare_flags(i, false, 1),
            Fucomi => self.compare_flags(i, true, 0),
            Fucomip => self.compare_flags(i, true, 1),
            Fcmovb => self.move_if(i, flag(1)),
            Fcmovnb => self.move_if(i, !flag(1)),
            Fcmove => self.move_if(i, flag(0x40)),
            Fcmovne => self.move_if(i, !flag(0x40)),
            Fcmovbe => self.move_if(i, flag(0x41)),
            Fcmovnbe => self.move_if(i, !flag(0x41)),
            Fcmovu => self.move_if(i, flag(4)),
            Fcmovnu => self.move_if(i, !flag(4)),
            Fld | Fild | Fbld => self.load(i),
            Fst | Fist => self.store(i, 0, false),
            Fstp | Fistp | Fbstp => self.store(i, 1, false),
            Fisttp => self.store(i, 1, true),
            _ => self.control(i),
        }
    }

    fn control(&mut self, i: &Instruction) {
        use Mnemonic::*;
        match i.mnemonic() {
            Fld1 => self.fpu.load_constant(Constant::One),
            Fldl2t => self.fpu.load_constant(Constant::Log2Of10),
            Fldl2e => self.fpu.load_constant(Constant::Log2OfE),
            Fldpi => self.fpu.load_constant(Constant::Pi),
            Fldlg2 => self.fpu.load_constant(Constant::Log10Of2),
            Fldln2 => self.fpu.load_constant(Constant::LnOf2),
            Fldz => self.fpu.load_constant(Constant::Zero),
            Fxch => self.fpu.exchange(st(i, 0).max(st(i, 1))),
            Ffree => self.fpu.free(st(i, 0)),
            Fincstp => self.fpu.rotate(1),
            Fdecstp => self.fpu.rotate(7),
            Fldcw => self.fpu.set_control(u16::from_le_bytes(self.bytes())),
            Fnstcw => self.mem[..2].copy_from_slice(&self.fpu.control().to_le_bytes()),
            Fnstsw if i.op0_kind() == OpKind::Memory => self.mem[..2].copy_from_slice(&self.fpu.status().to_le_bytes()),
            Fnstsw => self.ax = Some(self.fpu.status()),
            Fnclex => self.fpu.clear_exceptions(),
            Fninit => self.fpu.init(),
            Wait | Fnop => {}
            other => panic!("{other:?} is not in the driver"),
        }
    }
}

fn st(i: &Instruction, operand: u32) -> u8 {
    if operand >= i.op_count() {
        return 0;
    }
    (i.op_register(operand) as u32 - Register::ST0 as u32) as u8
}

/// What differs from the silicon, in words; empty if nothing.
fn differences(c: &Case, input: &Value, output: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what} {ours} silicon {theirs}"));
        }
    };
    check("cw", format!("{:04x}", c.fpu.control()), format!("{:04x}", number(output, "cw")));
    check("sw", format!("{:04x}", c.fpu.status()), format!("{:04x}", number(output, "sw")));
    check("tw", format!("{:02x}", c.fpu.abridged_tags()), format!("{:02x}", number(output, "tw")));
    check("flags", format!("{:x}", c.flags & 0xcd5), format!("{:x}", number(output, "fl") & 0xcd5));
    let mut mem = [0u8; 16];
    let bytes = hex(input.get("mem").and_then(Value::as_str).unwrap_or(""));
    mem[..bytes.len()].copy_from_slice(&bytes);
    if let Some(changed) = output.get("mem") {
        let (at, bytes) = (changed[0].as_u64().unwrap_or(0) as usize, hex(changed[1].as_str().unwrap_or("")));
        mem[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    check("mem", format!("{:x?}", c.mem), format!("{mem:x?}"));
    if let Some(rax) = output.get("r").and_then(|r| r.get("rax")) {
        check("ax", format!("{:x}", c.ax.unwrap_or(0)), rax.as_str().unwrap_or("").to_string());
    }
    for i in 0..8 {
        let theirs = output["st"].get(i.to_string()).unwrap_or(&input["st"][i]);
        let ours = c.fpu.st(i as u8);
        check(
            &format!("st{i}"),
            format!("{:04x}{:016x}", ours.sign_exp, ours.sig),
            theirs.as_str().unwrap_or("").to_string(),
        );
    }
    found
}

/// True if the only differences are results next to the silicon's, and C1, which tells how they were rounded.
fn within_one_ulp(c: &Case, input: &Value, output: &Value) -> bool {
    let mut near = number(output, "tw") as u8 == c.fpu.abridged_tags();
    near &= (number(output, "sw") as u16 ^ c.fpu.status()) & !0x200 == 0;
    for i in 0..8 {
        let theirs = f80(output["st"].get(i.to_string()).unwrap_or(&input["st"][i]));
        let ours = c.fpu.st(i as u8);
        let key = |v: F80| (u128::from(v.sign_exp) << 63) + u128::from(v.sig & !(1 << 63));
        near &= key(ours).abs_diff(key(theirs)) <= 1;
    }
    near
}

fn waits(i: &Instruction) -> bool {
    !matches!(i.mnemonic(), Mnemonic::Fnstcw | Mnemonic::Fnstsw | Mnemonic::Fnclex | Mnemonic::Fninit)
}

#[test]
fn agrees_with_silicon() {
    let Some(file) = shared("conformance/hwvec/x87.jsonl.gz") else {
        println!("skipped: no shared vectors (set EMU_SHARED)");
        return;
    };
    let mut text = String::new();
    let packed = std::fs::File::open(file).expect("readable vectors");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    // Form: cases, equal, near, the first difference.
    let mut forms: BTreeMap<String, (u32, u32, u32, String)> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let v: Value = serde_json::from_str(line).expect("JSON");
        let (input, output) = (&v["i"], &v["o"]);
        let bytes = hex(v["b"].as_str().expect("bytes"));
        let instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
        let mut c = case(input);
        let faults = waits(&instruction) && c.fpu.exception_pending();
        if !faults {
            c.run(&instruction);
        }
        let mut found = differences(&c, input, output);
        if faults != (output.get("exc").is_some()) {
            found.push("#MF".into());
        }
        let entry = forms.entry(v["f"].as_str().unwrap_or("?").to_string()).or_default();
        entry.0 += 1;
        if found.is_empty() {
            entry.1 += 1;
        } else if within_one_ulp(&c, input, output) {
            entry.2 += 1;
            entry.3 += &format!("    near {}\n    in {input}\n", found.join("; "));
        } else {
            entry.3 += &format!("    {}\n    in {input}\n", found.join("; "));
        }
    }
    judge(&forms);
}

const TRANSCENDENTAL: [&str; 8] = ["f2xm1", "fcos", "fpatan", "fptan", "fsin", "fsincos", "fyl2x", "fyl2xp1"];

fn judge(forms: &BTreeMap<String, (u32, u32, u32, String)>) {
    let (mut wrong, mut approximated, mut near) = (0, 0, 0);
    for (form, (cases, equal, close, first)) in forms {
        if cases != equal {
            println!("{form}: {equal}/{cases} equal, {close} near\n{first}");
        }
        let transcendental = TRANSCENDENTAL.contains(&form.as_str());
        wrong += cases - equal - if transcendental { *close } else { 0 };
        if transcendental {
            approximated += cases;
            near += close;
        }
    }
    println!("transcendental: {near} of {approximated} one unit off");
    assert_eq!(wrong, 0, "cases differ from silicon");
    assert!(near * 100 <= approximated * 3, "{near} of {approximated} transcendental results are not the silicon's");
}
