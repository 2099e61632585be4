use super::super::super::memory::Memory;
use super::super::super::model::{
    Shelf, behaves_like_bytes, chains, contents, everything, grows, grows_or_stays, survives_crashes,
    truncations_are_noticed,
};
use super::super::super::ops::NewImage;
use super::*;
use header::{HEADERS, seal};

fn new(size: u64) -> NewImage {
    NewImage::new(Kind::Vhdx, size).with("block_size", "1M")
}

#[test]
fn dynamic_images() {
    everything(&new(3 << 20));
    truncations_are_noticed(&new(3 << 20), 0);
}

#[test]
fn fixed_images_and_large_sectors() {
    behaves_like_bytes(&new(2 << 20).with("subformat", "fixed"), 30);
    behaves_like_bytes(&new(2 << 20).with("logical_sector_size", "4096"), 30);
    survives_crashes(&new(2 << 20).with("logical_sector_size", "4096"), 10);
}

#[test]
fn a_table_that_is_too_small_moves() {
    // 1 MiB of entries of 8 bytes, for blocks of 1 MiB.
    grows(&new(3 << 20), 140 << 30);
    grows_or_stays(&new(3 << 20), 140 << 30);
}

#[test]
fn chains_of_parents() {
    chains(Kind::Vhdx, 2 << 20, &[("block_size", "1M")], 3);
}

/// An image whose log says that the first page of block 0 is FFh, and that a page of block 1 is zeros.
fn with_log(damage: impl FnOnce(&mut Vec<u8>)) -> Shelf {
    let mut shelf = Shelf::default();
    shelf.make("a.001", &new(2 << 20), None);
    let mut disk = shelf.open("a.001", true);
    disk.write(0, &[1; 2 << 20]).unwrap();
    drop(disk);
    let mut bytes = shelf.0[0].bytes();
    let store = Memory::new("a.001", bytes.clone());
    let mut image = Vhdx::open(Box::new(store), false).unwrap();
    let at = [0, 1].map(|i| image.entry(i).unwrap() >> 20 << 20);
    let id = Uuid::from_u128(7);
    let head = HEADERS[image.header.slot] as usize;
    bytes[head + 48..head + 64].copy_from_slice(&id.to_bytes_le());
    seal(&mut bytes[head..head + 4096]);
    let mut entry = vec![0; 8192];
    let len = bytes.len() as u64;
    let mut put = |at: usize, b: &[u8]| entry[at..at + b.len()].copy_from_slice(b);
    put(0, b"loge");
    put(8, &8192u32.to_le_bytes());
    put(16, &5u64.to_le_bytes());
    put(24, &2u32.to_le_bytes());
    put(32, &id.to_bytes_le());
    put(48, &len.to_le_bytes());
    put(56, &len.to_le_bytes());
    put(64, b"desc\xFF\xFF\xFF\xFF");
    put(72, &[0xFF; 8]);
    put(80, &at[0].to_le_bytes());
    put(88, &5u64.to_le_bytes());
    put(96, b"zero");
    put(104, &4096u64.to_le_bytes());
    put(112, &at[1].to_le_bytes());
    put(120, &5u64.to_le_bytes());
    put(4096, b"data\0\0\0\0");
    put(4104, &[0xFF; 4084]);
    put(8188, &5u32.to_le_bytes());
    damage(&mut entry);
    seal(&mut entry);
    bytes[MIB as usize..MIB as usize + 8192].copy_from_slice(&entry);
    Shelf(vec![Memory::new("a.001", bytes)])
}

fn replayed(disk: &mut super::super::super::Disk) {
    let all = contents(disk);
    assert!(all[..4096].iter().all(|b| *b == 0xFF) && all[4096] == 1);
    assert!(all[1 << 20..(1 << 20) + 4096].iter().all(|b| *b == 0) && all[(1 << 20) + 4096] == 1);
}

#[test]
fn a_log_is_replayed() {
    let shelf = with_log(|_| {});
    let before = shelf.0[0].bytes();
    replayed(&mut shelf.open("a.001", false));
    assert_eq!(shelf.0[0].bytes(), before); // a reader writes nothing
    replayed(&mut shelf.open("a.001", true));
    let bytes = shelf.0[0].bytes();
    assert_ne!(bytes, before);
    let image = Vhdx::open(Box::new(Memory::new("b", bytes)), false).unwrap();
    assert!(image.header.log_id.is_nil());
    replayed(&mut shelf.open("a.001", false));
}

#[test]
fn a_broken_log_is_an_error() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] = [
        |e| e[16] = 6,                                              // data of another sequence number
        |e| e[64] = 0,                                              // no descriptor
        |e| e[24..28].copy_from_slice(&u32::MAX.to_le_bytes()),     // absurdly many descriptors
        |e| e[48..56].copy_from_slice(&(1u64 << 40).to_le_bytes()), // the file was longer
        |e| e[12..16].copy_from_slice(&4096u32.to_le_bytes()),      // its tail is missing
    ];
    for (i, damage) in damages.into_iter().enumerate() {
        let shelf = with_log(damage);
        let error = shelf.try_open("a.001", false).map(|_| i).unwrap_err().to_string();
        assert!(error.contains("vhdx log at 0x100000"), "{error}");
        let before = shelf.0[0].bytes();
        assert!(shelf.try_open("a.001", true).is_err());
        assert_eq!(shelf.0[0].bytes(), before);
    }
}
