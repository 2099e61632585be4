//! The PCI PC: i440FX and PIIX3 with PIIX4's power management, as most guests of the last thirty years know it.
//!
//! | PCI | |
//! | --- | --- |
//! | 00:00.0 | i440FX host bridge |
//! | 00:01.0, .1, .3 | PIIX3 ISA bridge, IDE; PIIX4 power management |
//! | 00:02.0 | VGA with dispi |
//! | 00:03.0 | QEMU's `edu`, if it is asked for |
//!
//! An Intel IOMMU, if it is asked for, stands before all of them; no board with these chips had one.

use emu_core::bus::{Bus, Device, DeviceId, PciAddress, Sink, Wire};
use emu_core::cpu::model::{Feature, Kind};
use emu_core::mem::Target;
use emu_core::{PhysMem, System};
use emu_devices::apic::{Apic, ApicConfig, PIN_LINT0, PIN_LINT1};
use emu_devices::debug_ports::{self, DebugPorts};
use emu_devices::edu::Edu;
use emu_devices::fdc::DriveKind;
use emu_devices::ferr::{self, Ferr, FerrWires};
use emu_devices::firmware::{self, Bios, DirectBoot};
use emu_devices::hyperv::{Hyperv, HypervConfig};
use emu_devices::i440fx::{self, I440fx};
use emu_devices::i8042::{self, I8042, KbcWires};
use emu_devices::i8237::{self, Dma, DmaBoard};
use emu_devices::i8254::{I8254, PitWires};
use emu_devices::i8259::{self, DualPic, PicKind, PicWires};
use emu_devices::mc146818::{Mc146818, RtcWires};
use emu_devices::ns16550::{Ns16550, UartWires};
use emu_devices::piix3::isa::REGION_RESET_CONTROL;
use emu_devices::piix3::{IsaBridgeWires, Piix3Isa};
use emu_devices::piix4_pm::{Piix4Pm, PmWires, REGION_APM};
use emu_devices::port61::{self, Port61, Port61Wires};
use emu_devices::port92::{Port92, Port92Wires};
use emu_devices::vga::{Vga, VgaConfig};
use emu_devices::vmware::{Vmware, VmwareConfig};
use emu_devices::vtd::Vtd;

use super::drives::{self, Media};
use super::kernel::kernel_plan;
use super::memory::{BoardMemory, lay_out};
use super::{cmos, rom};
use crate::boot::start;
use crate::config::{HypervisorKind, MachineConfig};
use crate::machine::BuildError;

/// The PCI device number of PIIX3 and the functions of PIIX4.
pub(super) const SOUTH_BRIDGE: u8 = 1;
/// The PCI device number of `edu`.
const EDU_SLOT: u8 = 3;
/// COM1 and COM2: first port, interrupt.
const SERIAL_PORTS: [(u16, u16); 2] = [(0x3F8, 4), (0x2F8, 3)];
/// Video memory: room for 1600x1200 in 32 bits, as the dispi interface's users expect.
const VIDEO_MEMORY: u32 = 16 << 20;

/// Inputs of the I/O APIC that are not those of the same ISA interrupt, as on every board: the 8259As' INTR, and the timer
/// (the ACPI and MP tables say so).
const INTIN_8259: u16 = 0;
const INTIN_TIMER: u16 = 2;

/// Where interrupt requests go: the 8259As, and the I/O APIC where the CPU has a local one.
pub(super) struct Interrupts {
    pic: DeviceId,
    apic: Option<DeviceId>,
    cpus: u8,
}

impl Interrupts {
    /// The interrupt controllers. With a local APIC, INTR and NMI pass through its LINT pins.
    fn install(b: &mut Bus, mem: &mut PhysMem, config: &MachineConfig) -> Interrupts {
        let has_apic = config.cpu.has(Feature::Apic);
        let apic = has_apic.then(|| Apic::install(b, mem, config.cpus, apic_config(config)));
        let intr = b.wire_to(apic.map_or(Sink::Intr(0), |a| Sink::Pin(a, PIN_LINT0)));
        if let Some(apic) = apic {
            (1..u16::from(config.cpus)).for_each(|cpu| b.connect(intr, Sink::Pin(apic, PIN_LINT0 + cpu)));
            b.connect(intr, Sink::Pin(apic, INTIN_8259));
        }
        let pic = b.add(Box::new(DualPic::new(PicKind::Piix, PicWires { intr })));
        b.map_ports(pic, 0x20, 2, i8259::REGION_MASTER, 1);
        b.map_ports(pic, 0xA0, 2, i8259::REGION_SLAVE, 1);
        b.map_ports(pic, 0x4D0, 2, i8259::REGION_ELCR, 1);
        b.add_interrupt_controller(pic);
        Interrupts { pic, apic, cpus: config.cpus }
    }

    /// A wire to ISA interrupt `irq`. Each driver needs one of its own; the inputs see their OR.
    pub(super) fn wire(&self, b: &mut Bus, irq: u16) -> Wire {
        let wire = b.wire_to(Sink::Pin(self.pic, irq));
        if let Some(apic) = self.apic {
            b.connect(wire, Sink::Pin(apic, if irq == 0 { INTIN_TIMER } else { irq }));
        }
        wire
    }

    /// A wire to the CPUs' NMI.
    fn nmi(&self, b: &mut Bus) -> Wire {
        let wire = b.wire_to(self.apic.map_or(Sink::Nmi(0), |a| Sink::Pin(a, PIN_LINT1)));
        if let Some(apic) = self.apic {
            (1..u16::from(self.cpus)).for_each(|cpu| b.connect(wire, Sink::Pin(apic, PIN_LINT1 + cpu)));
        }
        wire
    }
}

/// With an IOMMU, the I/O APIC has the entries that go with it.
fn apic_config(config: &MachineConfig) -> ApicConfig {
    ApicConfig { remappable: config.devices.intel_iommu, ..ApicConfig::default() }
}

/// Builds the board of `config`.
pub(crate) fn build(config: &MachineConfig) -> Result<System, BuildError> {
    let firmware = match &config.bios {
        Some(path) => rom::read_firmware(&config.packed, path)?,
        None => firmware::rom::image(),
    };
    let video = config
        .vga_bios
        .as_deref()
        .map(|path| rom::read_video_bios(&config.packed, path))
        .transpose()?
        .unwrap_or_default();
    let media = Media::open(config)?;
    let BoardMemory { mut mem, rom, low } = lay_out(config.memory, &firmware, &video)?;
    if config.cpu.kind == Kind::I80286 {
        // Its reset vector lies at the end of its 16 MiB.
        mem.map_split(0xFF_0000, 0x1_0000, Some(rom[i440fx::SEGMENTS - 1]), Some(Target::Open));
    }
    let mut bus = Bus::new(config.rate, config.cpus.into());
    let b = &mut bus;
    let interrupts = Interrupts::install(b, &mut mem, config);
    core_chips(b, &interrupts, config, &media.floppy_kinds(), low);
    hypervisor(b, config);
    peripherals(b, &interrupts);
    // No SMI# line: SeaBIOS without QEMU's fw_cfg installs no handler, and the chip then does by itself what one would do.
    pci_chips(b, &interrupts, rom, Wire::NONE);
    drives::install(b, &interrupts, media);
    extra_devices(b, &mut mem, config);
    let vga = VgaConfig { vram: VIDEO_MEMORY, pci: Some(PciAddress { bus: 0, device: 2, function: 0 }), rom: video };
    Vga::install(b, &mut mem, &vga).ok_or(BuildError::Memory(config.memory))?;
    let mut system = System::new(config.cpu, mem, bus);
    system.set_cpus(config.cpus);
    system.seed_random(config.seed);
    if config.bios.is_none() {
        let plan = kernel_plan(config)?;
        let direct = plan.map(|plan| Box::new(move |sys: &mut System| start(&plan, sys)) as DirectBoot);
        Bios::new(direct).install(&mut system);
    }
    Ok(system)
}

/// The chips of the system board that every AT has.
fn core_chips(b: &mut Bus, interrupts: &Interrupts, config: &MachineConfig, floppies: &[DriveKind], low_memory: u64) {
    let (gate2, out2) = (b.wire(), b.wire());
    let out0 = interrupts.wire(b, 0);
    let pit = b.add(Box::new(I8254::new(PitWires { out0, out2 })));
    b.map_ports(pit, 0x40, 4, 0, 1);
    b.connect(gate2, Sink::Pin(pit, 2));
    let nmi = interrupts.nmi(b);
    let port61 = b.add(Box::new(Port61::new(Port61Wires { gate2, nmi })));
    b.map_ports(port61, 0x61, 1, 0, 1);
    b.connect(out2, Sink::Pin(port61, port61::PIN_OUT2));

    let nmi_mask = b.wire_to(Sink::Pin(port61, port61::PIN_NMI_MASK));
    let mut rtc = Mc146818::new(RtcWires { irq: interrupts.wire(b, 8), nmi_mask }, config.rtc.to_unix());
    cmos::fill(&mut rtc, config, floppies, low_memory);
    let rtc = b.add(Box::new(rtc));
    b.map_ports(rtc, 0x70, 2, 0, 1);

    let dma = b.add(Box::new(Dma::new(DmaBoard::At)));
    b.map_ports(dma, 0x00, 32, i8237::REGION_BYTE, 1);
    b.map_ports(dma, 0xC0, 32, i8237::REGION_WORD, 1);
    b.map_ports(dma, 0x80, 16, i8237::REGION_PAGE, 1);
    b.set_dma_controller(dma);

    let wires = Port92Wires { a20: b.wire_to(Sink::A20), reset: b.wire_to(Sink::CpuReset) };
    let port92 = b.add(Box::new(Port92::new(wires)));
    b.map_ports(port92, 0x92, 1, 0, 1);

    let ignne = b.wire_to(Sink::Ignne(0));
    (1..config.cpus).for_each(|cpu| b.connect(ignne, Sink::Ignne(cpu)));
    let wires = FerrWires { irq13: interrupts.wire(b, 13), ignne };
    let ferr = b.add(Box::new(Ferr::new(wires)));
    b.map_ports(ferr, 0xF0, 1, 0, 1);
    b.connect_ferr(Sink::Pin(ferr, ferr::PIN_FERR));

    let debug = b.add(Box::new(DebugPorts::new()));
    b.map_ports(debug, 0xE9, 1, debug_ports::REGION_E9, 1);
    b.map_ports(debug, 0x402, 1, debug_ports::REGION_402, 1);
    b.map_ports(debug, 0xF4, 4, debug_ports::REGION_EXIT, 4);
}

/// What a guest finds that looks for a hypervisor. It comes before the keyboard controller, as it sees the mouse first.
fn hypervisor(b: &mut Bus, config: &MachineConfig) {
    let bus_hz = ApicConfig::default().bus_hz;
    let device: Box<dyn Device> = match config.hypervisor {
        HypervisorKind::None => return,
        HypervisorKind::Vmware => {
            Box::new(Vmware::new(VmwareConfig { memory: config.memory, bus_hz, start: config.rtc.to_unix() }))
        }
        HypervisorKind::HyperV => {
            let reset = b.wire_to(Sink::MachineReset);
            Box::new(Hyperv::new(HypervConfig { bus_hz, cpus: config.cpus.into(), reset }))
        }
    };
    let id = b.add(device);
    b.set_hypervisor(id);
}

/// Keyboard controller and serial ports.
fn peripherals(b: &mut Bus, interrupts: &Interrupts) {
    let wires = KbcWires {
        irq1: interrupts.wire(b, 1),
        irq12: interrupts.wire(b, 12),
        a20: b.wire_to(Sink::A20),
        reset: b.wire_to(Sink::CpuReset),
    };
    let kbc = b.add(Box::new(I8042::new(wires)));
    b.map_ports(kbc, 0x60, 1, i8042::REGION_DATA, 1);
    b.map_ports(kbc, 0x64, 1, i8042::REGION_COMMAND, 1);
    for (number, (base, irq)) in SERIAL_PORTS.into_iter().enumerate() {
        let wires = UartWires { irq: interrupts.wire(b, irq) };
        let uart = b.add(Box::new(Ns16550::new(number as u8, wires)));
        b.map_ports(uart, base, 8, 0, 1);
    }
}

/// The chipset.
fn pci_chips(b: &mut Bus, interrupts: &Interrupts, rom: [Target; i440fx::SEGMENTS], smi: Wire) {
    let host = b.add(Box::new(I440fx::new("i440fx", rom)));
    b.map_ports(host, 0xCF8, 4, i440fx::REGION_ADDRESS, 4);
    b.map_ports(host, 0xCFC, 4, i440fx::REGION_DATA, 4);

    let mut irq = [Wire::NONE; 16];
    for n in [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15] {
        irq[usize::from(n)] = interrupts.wire(b, n);
    }
    let wires =
        IsaBridgeWires { irq, hard_reset: b.wire_to(Sink::MachineReset), soft_reset: b.wire_to(Sink::CpuReset) };
    let isa = b.add(Box::new(Piix3Isa::new("piix3", SOUTH_BRIDGE, wires)));
    b.map_ports(isa, 0xCF9, 1, REGION_RESET_CONTROL, 1);

    let sci = interrupts.wire(b, 9);
    let pm = b.add(Box::new(Piix4Pm::new("piix4pm", SOUTH_BRIDGE, PmWires { sci, smi })));
    b.map_ports(pm, 0xB2, 2, REGION_APM, 1);
}

/// What the configuration adds to the board.
fn extra_devices(b: &mut Bus, mem: &mut PhysMem, config: &MachineConfig) {
    if config.devices.intel_iommu {
        Vtd::install(b, mem, PciAddress { bus: 0, device: SOUTH_BRIDGE, function: 0 });
    }
    let bridge = b.devices().find(|(_, name)| *name == "piix3").map(|(id, _)| id);
    if let (true, Some(bridge)) = (config.devices.edu, bridge) {
        let inta = b.wire_to(Sink::Pin(bridge, firmware::pirq_of(EDU_SLOT, 0) as u16));
        b.add(Box::new(Edu::new(EDU_SLOT, inta)));
    }
}
