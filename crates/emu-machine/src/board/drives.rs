//! Drives with their media: floppies at the controller of port 3F0h, disks and CDs at the two IDE channels.

use emu_core::bus::{Bus, Sink};
use emu_devices::ata::Drive;
use emu_devices::fdc::{self, DriveKind, Fdc, FdcWires, FloppyDrive};
use emu_devices::geometry::Geometry;
use emu_devices::piix3::ide::{
    IdeWires, Piix3Ide, REGION_PRIMARY, REGION_PRIMARY_CONTROL, REGION_SECONDARY, REGION_SECONDARY_CONTROL,
};

use super::pc::{Interrupts, SOUTH_BRIDGE};
use crate::config::MachineConfig;
use crate::image::{Content, Image, ImageError, ImageSpec, Medium, open, open_bytes};

/// The DMA channel of the floppy controller.
const FLOPPY_DMA: u8 = 2;

/// Opened media, before the drives are made for them.
pub(super) struct Media {
    floppies: Vec<Option<Image>>,
    disks: Vec<Image>,
    cdroms: Vec<Option<Image>>,
}

impl Media {
    /// Opens every image of `config`.
    pub(super) fn open(config: &MachineConfig) -> Result<Media, ImageError> {
        let open = |spec: &_, medium| open_image(config, spec, medium);
        let maybe = |spec: &Option<_>, medium| spec.as_ref().map(|s| open(s, medium)).transpose();
        let mut floppies: Vec<Option<Image>> =
            config.floppies.iter().map(|f| maybe(f, Medium::Floppy)).collect::<Result<_, _>>()?;
        if let Some(bytes) = &config.demo {
            floppies.insert(0, Some(open_bytes(bytes.clone(), Medium::Floppy)?));
            floppies.truncate(2);
        }
        let disks = config.disks.iter().map(|d| open(d, Medium::Disk)).collect::<Result<_, _>>()?;
        let cdroms = config.cdroms.iter().map(|c| maybe(c, Medium::Cd)).collect::<Result<_, _>>()?;
        Ok(Media { floppies, disks, cdroms })
    }

    /// The kind of each floppy drive: made for the diskette that lies in it, else for 1.44 MB.
    pub(super) fn floppy_kinds(&self) -> Vec<DriveKind> {
        let geometry = |f: &Option<Image>| {
            let image = f.as_ref()?;
            image.geometry.or(Geometry::of_floppy(image.size / 512))
        };
        self.floppies.iter().map(|f| geometry(f).map_or(DriveKind::K1440, DriveKind::for_geometry)).collect()
    }
}

/// Opens an image, or the one of its name that a recording brought.
fn open_image(config: &MachineConfig, spec: &ImageSpec, medium: Medium) -> Result<Image, ImageError> {
    match config.packed.image(&spec.path) {
        Some(backend) => {
            let size = backend.sectors().saturating_mul(512);
            Ok(Image { backend, content: Content::Unknown, size, geometry: spec.geometry })
        }
        None => open(spec, medium),
    }
}

/// Puts the drives on the bus.
pub(super) fn install(b: &mut Bus, interrupts: &Interrupts, media: Media) {
    let kinds = media.floppy_kinds();
    let mut floppies = [const { None }; 4];
    for (i, (image, kind)) in media.floppies.into_iter().zip(kinds).enumerate().take(2) {
        let geometry = image.as_ref().and_then(|i| i.geometry);
        let disk = image.map(|i| b.add_volume(i.backend));
        floppies[i] = Some(FloppyDrive::new(format!("fd{i}"), kind, disk, geometry));
    }
    let wires = FdcWires { irq: interrupts.wire(b, 6), dreq: b.wire_to(Sink::DmaRequest(FLOPPY_DMA)) };
    let fdc = b.add(Box::new(Fdc::new("fdc", wires, floppies)));
    b.map_ports(fdc, 0x3F0, 6, fdc::REGION_MAIN, 1);
    b.map_ports(fdc, 0x3F7, 1, fdc::REGION_DIR, 1);
    b.set_dma_client(FLOPPY_DMA, fdc);

    let wires = IdeWires { irq: [interrupts.wire(b, 14), interrupts.wire(b, 15)] };
    let drives = ide_drives(b, media.disks, media.cdroms);
    let ide = b.add(Box::new(Piix3Ide::new("ide", SOUTH_BRIDGE, wires, drives)));
    b.map_ports(ide, 0x1F0, 8, REGION_PRIMARY, 4);
    b.map_ports(ide, 0x3F6, 1, REGION_PRIMARY_CONTROL, 1);
    b.map_ports(ide, 0x170, 8, REGION_SECONDARY, 4);
    b.map_ports(ide, 0x376, 1, REGION_SECONDARY_CONTROL, 1);
}

/// The first CD's place among the four, behind so many disks: the secondary master if that is free.
pub(crate) fn first_cd_place(disks: usize, cdroms: usize) -> usize {
    if disks <= 2 && cdroms <= 2 { 2 } else { disks }
}

/// Disks from the primary master on; CDs after them, but from the secondary master on if that is free.
fn ide_drives(b: &mut Bus, disks: Vec<Image>, cdroms: Vec<Option<Image>>) -> [[Option<Drive>; 2]; 2] {
    let mut places = [const { None }; 4];
    let first_cd = first_cd_place(disks.len(), cdroms.len());
    for (i, disk) in disks.into_iter().enumerate().take(4) {
        places[i] = Some(Drive::disk(format!("EMU{:05}", i + 1), b.add_volume(disk.backend), None));
    }
    for (i, cd) in cdroms.into_iter().enumerate() {
        if let Some(place) = places.get_mut(first_cd + i) {
            *place = Some(Drive::cdrom(format!("cd{i}"), cd.map(|c| b.add_volume(c.backend))));
        }
    }
    let [a, b, c, d] = places;
    [[a, b], [c, d]]
}
