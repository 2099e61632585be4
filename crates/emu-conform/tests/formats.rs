//! Files as they come: in both formats of the single-step suites, with chunks nobody knows, cut short, and damaged.

use std::io::Write;
use std::path::Path;

use emu_conform::suite::{Cases, SuiteError, hwvec::Hwvec, json::Json, moo::Moo, unpack};
use emu_conform::{Case, EmuTarget, Model, Outcome, Reg, Target, compare};
use emu_core::cpu::model::Kind;
use proptest::prelude::*;

fn chunk(id: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&id[..], &(payload.len() as u32).to_le_bytes(), payload].concat()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

/// ADD AX, BX at 1000:0100 on an 8086, as a MOO file would have it.
fn test(index: u32) -> Vec<u8> {
    let ram = [&1u32.to_le_bytes()[..], &0x1_0100u32.to_le_bytes(), &[0x01]].concat();
    // AX, BX, CX, DX, CS, SS, DS, ES, SP, BP, SI, DI, IP, FLAGS.
    let values = [0xFFFFu16, 2, 3, 4, 0x1000, 0x2000, 5, 6, 0x100, 7, 8, 9, 0x100, 2];
    let initial: Vec<u8> = [0x3FFFu16].iter().chain(&values).flat_map(|v| v.to_le_bytes()).collect();
    let last: Vec<u8> = [0x3001u16, 1, 0x102, 0x13].iter().flat_map(|v| v.to_le_bytes()).collect();
    let body = [
        index.to_le_bytes().to_vec(),
        chunk(b"NAME", &counted(b"add ax,bx")),
        chunk(b"WHAT", b"a chunk from the future"),
        chunk(b"BYTS", &counted(&[0x01, 0xD8])),
        chunk(b"INIT", &[chunk(b"REGS", &initial), chunk(b"RAM ", &ram), chunk(b"QUEU", &counted(&[]))].concat()),
        chunk(b"FINA", &[chunk(b"REGS", &last), chunk(b"RAM ", &0u32.to_le_bytes())].concat()),
        chunk(b"CYCL", &counted(&[0; 30])),
    ];
    chunk(b"TEST", &body.concat())
}

fn moo_file(tests: u32) -> Vec<u8> {
    let head = [&[1u8, 0, 0, 0][..], &tests.to_le_bytes(), b"8086"].concat();
    let tests: Vec<u8> = (0..tests).flat_map(test).collect();
    [chunk(b"MOO ", &head), chunk(b"XTRA", &[1, 2, 3]), tests].concat()
}

fn json_file() -> Vec<u8> {
    br#"[ {"name": "add ax,bx", "bytes": [1, 216], "idx": 0,
      "initial": {"regs": {"ax": 65535, "bx": 2, "cs": 4096, "ip": 256, "sp": 256, "flags": 2},
                  "ram": [[65792, 1], [65793, 216]], "queue": [1]},
      "final": {"regs": {"ax": 1, "ip": 258, "flags": 19}, "ram": [], "queue": []},
      "cycles": [[1, 2, "--", {"deep": [null]}]], "hash": "00"},
      {"name": "", "bytes": [144],
      "initial": {"regs": {"cs": 0, "ip": 0, "sp": 0, "flags": 2}, "ram": [[0, 144]]},
      "final": {"regs": {"ip": 1}}} ]
"#
    .to_vec()
}

fn hwvec_file() -> Vec<u8> {
    br#"{"group": "alu64", "bits": 64, "cases": 2, "forms": 1}
{"f":"add al,bl","b":"00d8","i":{"r":{"rax":"1","rbx":"2"},"fl":0},"o":{"r":{"rax":"3"},"fl":4}}
{"f":"div bl","b":"f6f3","i":{"r":{"rbx":"0"},"fl":1},"o":{"exc":0,"fl":1,"rip":0},"u":2261}
"#
    .to_vec()
}

type Open = fn(&Path, Vec<u8>) -> Result<Box<dyn Cases>, SuiteError>;

/// Name, a good file, how it is opened, and its cases.
type Sample = (&'static str, fn() -> Vec<u8>, Open, usize);

const FORMATS: [Sample; 3] = [
    ("moo", || moo_file(3), |p, d| Ok(Box::new(Moo::new(p, d, "01", Vec::new())?)), 3),
    ("json", json_file, |p, d| Ok(Box::new(Json::new(p, d, "01", Vec::new(), false)?)), 2),
    ("jsonl", hwvec_file, |p, d| Ok(Box::new(Hwvec::new(p, d)?)), 2),
];

/// Reads all cases of `data`, and runs them if `target` is given; how many there are, or what is wrong with the file.
fn read_all(open: Open, data: Vec<u8>, mut target: Option<&mut EmuTarget>) -> Result<usize, SuiteError> {
    let (mut case, mut outcome, mut n) = (Case::default(), Outcome::default(), 0);
    let mut cases = open(Path::new("file"), data)?;
    while cases.next(&mut case)? {
        n += 1;
        if let Some(target) = target.as_deref_mut()
            && target.run(&case, &mut outcome).is_ok()
        {
            let _ = compare(&case, &outcome);
        }
    }
    Ok(n)
}

#[test]
fn files_read_as_they_are_meant() {
    for (name, make, open, n) in FORMATS {
        let model = Model::new(if name == "jsonl" { Kind::X64V3 } else { Kind::I8086 });
        let (mut target, mut case, mut outcome) = (EmuTarget::new(model), Case::default(), Outcome::default());
        let mut cases = open(Path::new("file"), make()).unwrap();
        let mut seen = 0;
        while cases.next(&mut case).unwrap() {
            target.run(&case, &mut outcome).unwrap();
            let found = compare(&case, &outcome);
            assert!(found.strict(), "{name} {}: {found:x?}", case.name);
            seen += 1;
        }
        assert_eq!(seen, n, "{name}");
    }
}

/// A register that a state should not have left out, or an address that real mode does not have.
#[test]
fn what_a_target_can_not_do_it_says() {
    let mut case = Case::default();
    case.initial.set(Reg::Cs, 0);
    case.initial.set_bytes(0x20_0000, &[1]);
    let refused = EmuTarget::new(Model::new(Kind::I80386)).run(&case, &mut Outcome::default()).unwrap_err();
    assert!(refused.to_string().contains("200000h"), "{refused}");
}

/// Whatever is cut off, the error names the file and the byte; nothing panics, and what came before is read.
#[test]
fn files_that_are_cut_short_say_where() {
    for (name, make, open, n) in FORMATS {
        let whole = make();
        for len in 0..whole.len() {
            match read_all(open, whole[..len].to_vec(), None) {
                Ok(seen) => {
                    // Only what stands behind the last case was lost.
                    assert!(seen == n && whole.len() - len <= 4, "{name} cut to {len} of {}", whole.len());
                }
                Err(e) => {
                    let text = e.to_string();
                    assert!(text.starts_with("file: at byte ") && !text.contains('\n'), "{name} {len}: {text}");
                }
            }
        }
    }
}

#[test]
fn damaged_gzip_is_told_with_its_place() {
    let folder = std::env::temp_dir().join(format!("emu-conform-gzip-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("00.MOO.gz");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&moo_file(50)).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(&path, &packed).unwrap();
    assert_eq!(unpack(&path).unwrap(), moo_file(50));
    let mut refused = 0;
    for at in 0..packed.len() {
        let mut bad = packed.clone();
        bad[at] ^= 0x40;
        std::fs::write(&path, &bad).unwrap();
        match unpack(&path) {
            // Not a gzip file any more (the reader of MOO refuses it), or a bit that says nothing.
            Ok(data) => assert!(data == moo_file(50) || (at < 2 && data == bad), "{at}"),
            Err(e) => {
                refused += 1;
                assert!(e.to_string().contains("00.MOO.gz: at byte ") && e.to_string().contains("gzip"), "{e}");
            }
        }
        std::fs::write(&path, &packed[..at]).unwrap();
        assert!(at < 2 || unpack(&path).is_err(), "cut to {at}");
    }
    assert!(refused > packed.len() - 20, "{refused} of {}", packed.len());
    std::fs::remove_dir_all(folder).unwrap();
}

/// A length that the file can't hold is refused before anything of that size is allocated.
#[test]
fn absurd_lengths_are_refused() {
    let refused = |data: Vec<u8>| read_all(FORMATS[0].2, data, None).unwrap_err().to_string();
    let mut long = moo_file(1);
    let at = long.windows(4).position(|w| w == b"RAM ").unwrap() + 8;
    long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(long).contains("4294967295 bytes of memory where 1 fit"));
    let mut long = moo_file(1);
    let at = long.windows(4).position(|w| w == b"TEST").unwrap() + 4;
    long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(long).contains("\"TEST\" claims 4294967295 bytes"));
    let mut short = moo_file(2);
    short[12] = 7;
    assert!(refused(short).contains("promises 7 tests, and there are 2"));
    let mut new = moo_file(1);
    new[8] = 2;
    assert!(refused(new).contains("version 2"));
    // Brackets without end are no stack without end.
    let deep = [b"[{\"cycles\":".to_vec(), vec![b'['; 1 << 20]].concat();
    assert!(read_all(FORMATS[1].2, deep, None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Flipped bytes give other cases, or an error; the CPU runs whatever comes out of it.
    #[test]
    fn flipped_bytes_do_no_harm(format in 0..3usize, flips in prop::collection::vec((any::<usize>(), 1..=255u8), 1..8)) {
        let (name, make, open, n) = FORMATS[format];
        let mut data = make();
        for (at, bits) in flips {
            let at = at % data.len();
            data[at] ^= bits;
        }
        let model = Model::new(if name == "jsonl" { Kind::X64V3 } else { Kind::I8086 });
        match read_all(open, data, Some(&mut EmuTarget::new(model))) {
            Ok(seen) => prop_assert!(seen <= n),
            Err(e) => prop_assert!(!e.to_string().contains('\n')),
        }
    }
}
