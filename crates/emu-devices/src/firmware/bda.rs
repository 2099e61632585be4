//! Offsets in the BIOS data area at 0040:0000 [PC/AT TR, "BIOS data area"].

/// Bases of four serial ports.
pub(super) const COM_PORTS: u64 = 0x00;
/// Bases of three parallel ports.
pub(super) const LPT_PORTS: u64 = 0x08;
/// Segment of the extended BIOS data area.
pub(super) const EBDA_SEGMENT: u64 = 0x0E;
/// Installed hardware.
pub(super) const EQUIPMENT: u64 = 0x10;
/// KiB of base memory.
pub(super) const MEMORY: u64 = 0x13;
/// Shift, control and lock state.
pub(super) const SHIFT: u64 = 0x17;
/// Keys held.
pub(super) const SHIFT_HELD: u64 = 0x18;
/// Alt and keypad digits.
pub(super) const ALT_CODE: u64 = 0x19;
/// Head and tail of the keyboard buffer.
pub(super) const KEY_HEAD: u64 = 0x1A;
pub(super) const KEY_TAIL: u64 = 0x1C;
/// The keyboard buffer itself.
pub(super) const KEY_BUFFER: u64 = 0x1E;
/// Floppy drives that are calibrated; bit 7: interrupt has come.
pub(super) const FLOPPY_SEEK: u64 = 0x3E;
/// Motors that run.
pub(super) const FLOPPY_MOTOR: u64 = 0x3F;
/// Ticks until motors stop.
pub(super) const FLOPPY_COUNT: u64 = 0x40;
/// Status of the last floppy operation.
pub(super) const FLOPPY_STATUS: u64 = 0x41;
/// Video mode, columns, bytes of a page, start of the page.
pub(super) const VIDEO_MODE: u64 = 0x49;
pub(super) const COLUMNS: u64 = 0x4A;
pub(super) const PAGE_BYTES: u64 = 0x4C;
pub(super) const PAGE_START: u64 = 0x4E;
/// Cursor positions of eight pages: column, row.
pub(super) const CURSOR: u64 = 0x50;
/// Cursor shape: last line, first line.
pub(super) const CURSOR_SHAPE: u64 = 0x60;
/// Active page.
pub(super) const PAGE: u64 = 0x62;
/// CRTC port; mode and colour registers of the CGA.
pub(super) const CRTC: u64 = 0x63;
pub(super) const CGA_MODE: u64 = 0x65;
pub(super) const CGA_COLOR: u64 = 0x66;
/// Ticks since midnight, and whether midnight has passed.
pub(super) const TICKS: u64 = 0x6C;
pub(super) const MIDNIGHT: u64 = 0x70;
/// Bit 7: Ctrl-Break.
pub(super) const BREAK: u64 = 0x71;
/// 1234h: no memory test.
pub(super) const WARM_START: u64 = 0x72;
/// Status of the last disk operation, and number of disks.
pub(super) const DISK_STATUS: u64 = 0x74;
pub(super) const DISKS: u64 = 0x75;
/// Time-outs of parallel and serial ports.
pub(super) const LPT_TIMEOUT: u64 = 0x78;
pub(super) const COM_TIMEOUT: u64 = 0x7C;
/// Start and end of the keyboard buffer.
pub(super) const KEY_START: u64 = 0x80;
pub(super) const KEY_END: u64 = 0x82;
/// Rows less one, lines of a character, video control and switches.
pub(super) const ROWS: u64 = 0x84;
pub(super) const CHAR_HEIGHT: u64 = 0x85;
pub(super) const VIDEO_CONTROL: u64 = 0x87;
pub(super) const VIDEO_SWITCHES: u64 = 0x88;
pub(super) const VIDEO_FLAGS: u64 = 0x89;
/// Index of the display combination.
pub(super) const DISPLAY: u64 = 0x8A;
/// Media state of two floppy drives.
pub(super) const FLOPPY_MEDIA: u64 = 0x90;
/// Keyboard: E0, E1, right Ctrl and Alt; 101 keys.
pub(super) const KEYBOARD_FLAGS: u64 = 0x96;
/// Keyboard lamps.
pub(super) const LAMPS: u64 = 0x97;
/// The caller's flag for a wait (INT 15h, AH = 83h), microseconds left, and whether one runs.
pub(super) const WAIT_FLAG: u64 = 0x98;
pub(super) const WAIT_LEFT: u64 = 0x9C;
pub(super) const WAIT_ACTIVE: u64 = 0xA0;
/// Print screen: 0 = idle, 1 = it prints, FFh = it failed.
pub(super) const PRINTING: u64 = 0x100;
