//! A kernel that is started directly: its files, read, and the plan made from them.

use super::rom::read_file;
use crate::boot::{KernelFiles, LoadPlan, pc_memory_map, plan};
use crate::config::MachineConfig;
use crate::machine::BuildError;

/// The plan for the kernel of `config`, if it has one.
pub(super) fn kernel_plan(config: &MachineConfig) -> Result<Option<LoadPlan>, BuildError> {
    let Some(kernel) = &config.kernel else { return Ok(None) };
    // Nothing larger than RAM can be loaded; the files are read whole.
    let read = |path: &std::path::Path| read_file(&config.packed, path, config.memory);
    let files = KernelFiles {
        image: read(&kernel.image)?,
        initrd: kernel.initrd.as_deref().map(read).transpose()?,
        command_line: kernel.append.clone(),
        modules: kernel
            .modules
            .iter()
            .map(|(path, text)| Ok((read(path)?, text.clone())))
            .collect::<Result<_, BuildError>>()?,
    };
    let made = plan(&files, &pc_memory_map(config.memory));
    made.map(Some).map_err(|error| BuildError::Boot { path: kernel.image.clone(), error })
}
