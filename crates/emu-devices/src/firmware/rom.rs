//! The ROM: 64 KiB at F0000h. Stubs at the addresses that old software knows [PC/AT TR, "BIOS listing"], each of which
//! calls its service in Rust, and the tables that programs read.
//!
//! All code here is the 8086's.

use crate::font::FONT_8X8;

/// Physical address of the ROM.
pub const BASE: u64 = 0xF_0000;
/// Its size.
pub const SIZE: usize = 0x1_0000;
/// Its segment.
pub const SEGMENT: u16 = 0xF000;

/// Services that are not the body of an interrupt: numbers that no interrupt of the BIOS has.
pub mod service {
    /// Power-on: sets up the machine.
    pub const POST: u8 = 0xE0;
    /// Finds the next option ROM.
    pub const OPTION_ROM: u8 = 0xE1;
    /// Has INT 15h, AH = 86h, waited long enough?
    pub const WAITING: u8 = 0xE5;
    /// Before the first boot attempt.
    pub const READY: u8 = 0xE2;
    /// A key that pauses the machine was pressed.
    pub const PAUSED: u8 = 0xE3;
}

/// Addresses of stubs.
pub mod at {
    /// POST.
    pub const POST: u16 = 0xE05B;
    /// Loop over option ROMs.
    pub const OPTION_ROMS: u16 = 0xE05F;
    /// Waits: by HLT, or in V86 mode by passing time. `WAIT_16` is that of INT 16h.
    pub const WAIT_16: u16 = 0xE100;
    /// The same in V86 mode.
    pub const SPIN_16: u16 = 0xE108;
    /// INT 15h.
    pub const WAIT_15: u16 = 0xE110;
    /// The same in V86 mode.
    pub const SPIN_15: u16 = 0xE118;
    /// Looks whether the wait is over.
    pub const WAITING: u16 = 0xE2B0;
    /// IRQ 1 ends with INT 1Bh (Ctrl-Break).
    pub const BREAK: u16 = 0xE120;
    /// IRQ 1 ends with INT 5 (print screen).
    pub const PRINT: u16 = 0xE130;
    /// IRQ 1 ends with a pause.
    pub const PAUSE: u16 = 0xE140;
    /// IRQ 1 ends with INT 15h, AX = 8500h or 8501h (SysReq), AL being pushed.
    pub const SYS_REQ: u16 = 0xE158;
    /// IRQ 8 ends with INT 4Ah (alarm).
    pub const ALARM: u16 = 0xE170;
    /// Where the routine of a mouse driver returns to.
    pub const MOUSE_END: u16 = 0xE180;
    /// EOI to both controllers.
    pub const EOI_SLAVE: u16 = 0xE1A0;
    /// EOI to the master.
    pub const EOI_MASTER: u16 = 0xE1B0;
    /// IRQ 9 becomes INT 0Ah.
    pub const IRQ9: u16 = 0xE1C0;
    /// IRQ 13 becomes INT 2.
    pub const IRQ13: u16 = 0xE1D0;
    /// INT 70h.
    pub const IRQ8: u16 = 0xE1F0;
    /// INT 74h.
    pub const IRQ12: u16 = 0xE200;
    /// Nothing boots: prints the message, waits for a key, tries again.
    pub const NO_BOOT: u16 = 0xE220;
    /// The message.
    pub const NO_BOOT_TEXT: u16 = 0xE240;
    /// INT 19h's code.
    pub const BOOT: u16 = 0xE2A0;
    /// INT 2.
    pub const NMI: u16 = 0xE2C3;
    /// INT 19h.
    pub const INT_19: u16 = 0xE6F2;
    /// System configuration table.
    pub const CONFIG: u16 = 0xE6F5;
    /// INT 14h.
    pub const INT_14: u16 = 0xE739;
    /// INT 16h.
    pub const INT_16: u16 = 0xE82E;
    /// IRQ 1.
    pub const INT_09: u16 = 0xE987;
    /// INT 13h and 40h.
    pub const INT_13: u16 = 0xEC59;
    /// IRQ 6.
    pub const INT_0E: u16 = 0xEF57;
    /// Floppy parameter table.
    pub const FLOPPY_TABLE: u16 = 0xEFC7;
    /// INT 17h.
    pub const INT_17: u16 = 0xEFD2;
    /// INT 10h.
    pub const INT_10: u16 = 0xF065;
    /// Video parameters.
    pub const VIDEO_TABLE: u16 = 0xF0A4;
    /// INT 12h.
    pub const INT_12: u16 = 0xF841;
    /// INT 11h.
    pub const INT_11: u16 = 0xF84D;
    /// INT 15h.
    pub const INT_15: u16 = 0xF859;
    /// The first half of the 8 × 8 font.
    pub const FONT: u16 = 0xFA6E;
    /// INT 1Ah.
    pub const INT_1A: u16 = 0xFE6E;
    /// IRQ 0.
    pub const INT_08: u16 = 0xFEA5;
    /// IRET.
    pub const IRET: u16 = 0xFF53;
    /// INT 5.
    pub const INT_05: u16 = 0xFF54;
    /// Where the processor starts.
    pub const RESET: u16 = 0xFFF0;
    /// Static state of the VGA (INT 10h, AH = 1Bh).
    pub const VIDEO_STATE: u16 = 0x0FA0;
    /// The card's name.
    pub const VBE_NAME: u16 = 0x0FC0;
    /// Far call that sets a bank.
    pub const VBE_BANK: u16 = 0x0FE0;
    /// The 8 × 8 font, whole.
    pub const FONT_8: u16 = 0x1000;
    /// The 8 × 14 font.
    pub const FONT_14: u16 = 0x1800;
    /// The 8 × 16 font.
    pub const FONT_16: u16 = 0x2600;
}

/// What is said if nothing boots.
const NO_BOOT: &[u8] = b"No bootable device. Press a key to try again.\r\n\0";
/// The date at FFFF:0005.
const DATE: &[u8; 8] = b"01/01/26";
/// The model byte of a PC/AT.
const MODEL: u8 = 0xFC;

/// Floppy parameters of a 1.44 MB drive [PC/AT TR, "DISK_BASE"].
const FLOPPY_PARAMETERS: [u8; 11] = [0xAF, 0x02, 0x25, 2, 18, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08];
/// Tables of drives by their number in CMOS: sectors, gap when formatting, motor start in 1/8 s; then largest cylinder and
/// data rate.
const FLOPPY_DRIVES: [[u8; 13]; 5] = [
    [0xDF, 0x02, 0x25, 2, 9, 0x2A, 0xFF, 0x50, 0xF6, 0x0F, 0x08, 39, 0x80],
    [0xDF, 0x02, 0x25, 2, 15, 0x1B, 0xFF, 0x54, 0xF6, 0x0F, 0x08, 79, 0x00],
    [0xDF, 0x02, 0x25, 2, 9, 0x2A, 0xFF, 0x50, 0xF6, 0x0F, 0x08, 79, 0x80],
    [0xAF, 0x02, 0x25, 2, 18, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08, 79, 0x00],
    [0xAF, 0x02, 0x25, 2, 36, 0x1B, 0xFF, 0x53, 0xF6, 0x0F, 0x08, 79, 0xC0],
];
/// Modes 0-7 and 0Dh-13h; 200, 350, 400 lines; 2 of 8 fonts; what functions there are [PS/2 TR, INT 10h, AH = 1Bh].
const VIDEO_STATE: [u8; 16] = [0xFF, 0xE0, 0x0F, 0, 0, 0, 0, 0x07, 2, 8, 0xFF, 0x0E, 0, 0, 0x3F, 0];
/// INT 15h, AH = C0h: length, model, submodel, revision, features: 2nd 8259, RTC, keyboard intercept; EBDA.
const CONFIGURATION: [u8; 10] = [8, 0, MODEL, 1, 0, 0x74, 0, 0, 0, 0];

/// The image, under construction.
struct Rom(Vec<u8>);

impl Rom {
    fn put(&mut self, at: u16, bytes: &[u8]) {
        let at = usize::from(at);
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A service whose caller gets its flags from the stack. It lets interrupts in, as every BIOS does: there are programs
    /// that run with interrupts off, and ask for the time or a key until there is news.
    fn service(&mut self, at: u16, number: u8) {
        self.put(at, &[0xFB, 0x0F, 0x3F, number, 0xCF]);
    }

    /// A near jump that stands at `at`.
    fn jump(&mut self, at: u16, to: u16) {
        let [low, high] = to.wrapping_sub(at).wrapping_sub(3).to_le_bytes();
        self.put(at, &[0xE9, low, high]);
    }

    fn services(&mut self) {
        let all = [
            (at::INT_05, 0x05),
            (at::INT_10, 0x10),
            (at::INT_11, 0x11),
            (at::INT_12, 0x12),
            (at::INT_13, 0x13),
            (at::INT_14, 0x14),
            (at::INT_15, 0x15),
            (at::INT_16, 0x16),
            (at::INT_17, 0x17),
            (at::INT_1A, 0x1A),
        ];
        all.into_iter().for_each(|(at, number)| self.service(at, number));
        // STI; HLT; JMP or STI; NOP; JMP.
        self.service(at::WAITING, service::WAITING);
        for (wait, spin, to) in [(at::WAIT_16, at::SPIN_16, at::INT_16), (at::WAIT_15, at::SPIN_15, at::WAITING)] {
            self.put(wait, &[0xFB, 0xF4]);
            self.jump(wait + 2, to);
            self.put(spin, &[0xFB, 0x90]);
            self.jump(spin + 2, to);
        }
    }

    /// Power-on and boot.
    fn start(&mut self) {
        use service::{OPTION_ROM, POST, READY};
        // JMP F000:E05B
        self.put(at::RESET, &[0xEA, at::POST as u8, (at::POST >> 8) as u8, 0, 0xF0]);
        self.put(at::RESET + 5, DATE);
        self.put(0xFFFE, &[MODEL]);
        // CLI; POST; then option ROMs, each of which returns here; INT 19h.
        self.put(at::POST, &[0xFA, 0x0F, 0x3F, POST]);
        self.put(at::OPTION_ROMS, &[0x0F, 0x3F, OPTION_ROM, 0x0F, 0x3F, READY, 0xFB, 0xCD, 0x19]);
        self.put(at::OPTION_ROMS + 9, &[0xF4, 0xEB, 0xFD]);
        self.jump(at::INT_19, at::BOOT);
        // STI; the service jumps away if it has something to boot; INT 18h.
        self.put(at::BOOT, &[0xFB, 0x0F, 0x3F, 0x19, 0xCD, 0x18, 0xEB, 0xF8]);
        self.no_boot();
    }

    /// INT 18h: prints the message with INT 10h, waits for a key, and boots again.
    fn no_boot(&mut self) {
        let [low, high] = at::NO_BOOT_TEXT.to_le_bytes();
        let code = [
            0xFB, 0xFC, 0xBE, low, high, // STI; CLD; MOV SI, text
            0x2E, 0xAC, 0x08, 0xC0, 0x74, 0x09, // next: LODSB CS:; OR AL, AL; JZ done
            0xBB, 0x07, 0x00, 0xB4, 0x0E, 0xCD, 0x10, 0xEB, 0xF1, // MOV BX, 7; MOV AH, 0Eh; INT 10h; JMP next
            0x31, 0xC0, 0xCD, 0x16, 0xCD, 0x19, // done: XOR AX, AX; INT 16h; INT 19h
        ];
        self.put(at::NO_BOOT, &code);
        self.put(at::NO_BOOT_TEXT, NO_BOOT);
    }

    /// Hardware interrupts.
    fn interrupts(&mut self) {
        // MOV AL, 20h; OUT 20h, AL; POP AX
        const EOI: [u8; 5] = [0xB0, 0x20, 0xE6, 0x20, 0x58];
        // MOV AL, 20h; OUT A0h, AL; OUT 20h, AL; POP AX
        const EOI_BOTH: [u8; 7] = [0xB0, 0x20, 0xE6, 0xA0, 0xE6, 0x20, 0x58];
        let with = |parts: &[&[u8]]| parts.concat();
        self.put(at::EOI_MASTER, &with(&[&[0x50], &EOI, &[0xCF]]));
        self.put(at::EOI_SLAVE, &with(&[&[0x50], &EOI_BOTH, &[0xCF]]));
        self.put(at::INT_08, &with(&[&[0xFB, 0x0F, 0x3F, 0x08, 0xCD, 0x1C, 0xFA, 0x50], &EOI, &[0xCF]]));
        // PUSH AX; IN AL, 60h; MOV AH, 4Fh; STC; INT 15h; JNC end; service; end:
        let intercept = [0x50, 0xE4, 0x60, 0xB4, 0x4F, 0xF9, 0xCD, 0x15, 0x73, 0x03, 0x0F, 0x3F, 0x09];
        self.put(at::INT_09, &with(&[&intercept, &EOI, &[0xCF]]));
        self.put(at::BREAK, &with(&[&EOI, &[0xCD, 0x1B, 0xCF]]));
        self.put(at::PRINT, &with(&[&EOI, &[0xCD, 0x05, 0xCF]]));
        // EOI; wait: STI; NOP; service, which goes on behind the jump when the pause is over; JMP wait; IRET
        self.put(at::PAUSE, &with(&[&EOI, &[0xFB, 0x90, 0x0F, 0x3F, service::PAUSED, 0xEB, 0xF9, 0xCF]]));
        // PUSH AX; EOI; MOV AH, 85h; INT 15h; POP AX; IRET: AL tells make or break.
        self.put(at::SYS_REQ, &[0x50, 0xB0, 0x20, 0xE6, 0x20, 0x58, 0xB4, 0x85, 0xFB, 0xCD, 0x15, 0x58, 0xCF]);
        self.put(at::INT_0E, &with(&[&[0x0F, 0x3F, 0x0E, 0x50], &EOI, &[0xCF]]));
        self.put(at::IRQ8, &with(&[&[0x50, 0x0F, 0x3F, 0x70], &EOI_BOTH, &[0xCF]]));
        self.put(at::ALARM, &with(&[&EOI_BOTH, &[0xCD, 0x4A, 0xCF]]));
        self.put(at::IRQ9, &[0x50, 0xB0, 0x20, 0xE6, 0xA0, 0x58, 0xCD, 0x0A, 0xCF]);
        // XOR AL, AL; OUT F0h, AL
        self.put(at::IRQ13, &with(&[&[0x50, 0x30, 0xC0, 0xE6, 0xF0], &EOI_BOTH, &[0xCD, 0x02, 0xCF]]));
        self.mouse(&EOI_BOTH);
        self.put(at::NMI, &[0xCF]);
        self.put(at::IRET, &[0xCF]);
    }

    /// IRQ 12: all registers are kept for the mouse driver's routine, which is called with four words on the stack.
    fn mouse(&mut self, eoi: &[u8]) {
        // PUSH AX, BX, CX, DX, SI, DI, BP, DS, ES; service; then as if the routine had returned, without its words.
        let code = [0x50, 0x53, 0x51, 0x52, 0x56, 0x57, 0x55, 0x1E, 0x06, 0x0F, 0x3F, 0x74];
        self.put(at::IRQ12, &code);
        self.jump(at::IRQ12 + 12, at::MOUSE_END + 3);
        let end = [0x83, 0xC4, 0x08, 0xFA, 0x07, 0x1F, 0x5D, 0x5F, 0x5E, 0x5A, 0x59, 0x5B];
        self.put(at::MOUSE_END, &end);
        self.put(at::MOUSE_END + 12, eoi);
        self.put(at::MOUSE_END + 19, &[0xCF]);
    }

    fn tables(&mut self) {
        self.put(at::CONFIG, &CONFIGURATION);
        self.put(at::FLOPPY_TABLE, &FLOPPY_PARAMETERS);
        for (number, table) in (1..).zip(FLOPPY_DRIVES) {
            self.put(floppy_table(number), &table);
        }
        self.put(at::VIDEO_STATE, &VIDEO_STATE);
        self.put(at::VBE_NAME, b"emu VBE\0");
        // MOV AX, 4F05h; INT 10h; RETF
        self.put(at::VBE_BANK, &[0xB8, 0x05, 0x4F, 0xCD, 0x10, 0xCB]);
        self.put(at::FONT, &FONT_8X8[..1024]);
        self.put(at::FONT_8, FONT_8X8);
        self.put(at::FONT_14, crate::font::FONT_8X14);
        self.put(at::FONT_16, crate::font::FONT_8X16);
    }
}

/// Offset of the parameter table for a floppy drive with this number in CMOS.
pub(super) fn floppy_table(cmos_type: u8) -> u16 {
    0x0F00 + 16 * u16::from(cmos_type.clamp(1, 5))
}

/// Builds the ROM.
#[must_use]
pub fn image() -> Vec<u8> {
    let mut rom = Rom(vec![0; SIZE]);
    rom.services();
    rom.start();
    rom.interrupts();
    rom.tables();
    rom.0
}
