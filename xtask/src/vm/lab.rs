//! Kernels and a root disk, ready to boot.
//!
//! In: which kernels, which files. Out: a machine for each. Always: one command at a time boots here.

use crate::folder;
use crate::repo::Repo;
use crate::setup::Install;
use crate::stages::{Stage, Stages};
use crate::vm::boot::{self, Machine, Outcome};
use crate::vm::job::Job;
use crate::vm::kernel::{Kernel, Kernels};
use crate::vm::mirror::Mirror;
use crate::vm::wanted::Wanted;
use crate::vm::{disk, needs, payload};
use crate::{fault, screen};
use anyhow::{Context, Result};
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// Stages of [`Lab::open`] and [`Lab::furnish`].
pub(crate) const STAGES: usize = 3;

/// What a person or `cargo xtask test` may choose of a machine.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Choice {
    /// Processors of a guest
    #[arg(long, value_name = "N", default_value_t = PROCESSORS)]
    pub smp: u32,
    /// Added to the kernel's command line, such as preempt=full
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub append: String,
    /// How long one boot with its command may take
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = screen::duration)]
    pub limit: Duration,
}

impl Default for Choice {
    fn default() -> Self {
        Self { smp: PROCESSORS, append: String::new(), limit: LIMIT }
    }
}

/// What a boot with a short command takes, many times over.
const LIMIT: Duration = Duration::from_secs(120);

/// Two, so that what runs at once does run at once.
const PROCESSORS: u32 = 2;

/// Fetched kernels.
pub(crate) struct Lab {
    folder: PathBuf,
    kernels: Vec<(Wanted, Kernel)>,
    /// Until the end: disks and results are this command's.
    _lock: File,
}

impl Lab {
    /// The emulator and these kernels, fetched if they are not here; with `refresh`, the last releases.
    pub(crate) fn open(
        repo: &Repo,
        stages: &mut Stages,
        install: Install,
        wanted: &[Wanted],
        refresh: bool,
    ) -> Result<Self> {
        let folder = repo.machines();
        let lock = Repo::lock_in(&folder)?;
        needs::get(stages.begin("emulator"), install)?;
        let mut stage = stages.begin("kernels");
        let cache = Kernels::new(folder.join("kernels"));
        let mut kernels: Vec<(Wanted, Option<Kernel>)> =
            wanted.iter().map(|wanted| (*wanted, cache.cached(*wanted).filter(|_| !refresh))).collect();
        if let Some((wanted, _)) = kernels.iter().find(|(_, kernel)| kernel.is_none()) {
            if install.no_install {
                return Err(fault::host(format!(
                    "kernel {wanted} is not here, and --no-install was given: run `cargo xtask vm {wanted}` to \
                     fetch it"
                )));
            }
            let mirror = Mirror::open(&mut stage, &folder.join("apt"))?;
            let offers = mirror.offers()?;
            for (wanted, kernel) in kernels.iter_mut().filter(|(_, kernel)| kernel.is_none()) {
                let offer = wanted.choose(&offers).ok_or_else(|| {
                    fault::host(format!("the Debian mirror of this machine offers no kernel {wanted}"))
                })?;
                *kernel = Some(cache.fetch(&mut stage, &mirror, *wanted, offer)?);
            }
        }
        let kernels: Vec<(Wanted, Kernel)> =
            kernels.into_iter().filter_map(|(wanted, kernel)| Some((wanted, kernel?))).collect();
        let names: Vec<&str> = kernels.iter().map(|(_, kernel)| kernel.release.as_str()).collect();
        stage.done(&names.join(" "));
        Ok(Self { folder, kernels, _lock: lock })
    }

    /// The disks, with these files of this machine on the root.
    pub(crate) fn furnish(&self, mut stage: Stage, choice: &Choice, files: &[PathBuf]) -> Result<Machine> {
        let work = self.disks();
        std::fs::create_dir_all(&work)
            .map_err(|error| fault::host(format!("{}: {error}", work.display())))?;
        let root = payload::disk(&mut stage, &work, files)?;
        let btrfs = work.join("btrfs");
        disk::btrfs(&mut stage, &btrfs)?;
        stage.done("made");
        let Choice { smp, append, limit } = choice.clone();
        Ok(Machine { processors: smp, append, limit, root, btrfs })
    }

    /// What was asked for, in that order.
    pub(crate) fn kernels(&self) -> &[(Wanted, Kernel)] {
        &self.kernels
    }

    /// The kernel of that name.
    pub(crate) fn kernel(&self, wanted: Wanted) -> Result<&Kernel> {
        let found = self.kernels.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, kernel)| kernel).with_context(|| format!("kernel {wanted} was not opened"))
    }

    /// One boot; what comes of it stays in the folder until the next of that name.
    pub(crate) fn boot(
        &self,
        stage: &mut Stage,
        kernel: &Kernel,
        machine: &Machine,
        job: &Job,
        name: &str,
    ) -> Result<Outcome> {
        boot::run(stage, kernel, machine, job, &self.results(name))
    }

    fn disks(&self) -> PathBuf {
        self.folder.join("disks")
    }

    /// Where what comes of a boot is.
    pub(crate) fn results(&self, name: &str) -> PathBuf {
        self.folder.join("results").join(name)
    }
}

impl Drop for Lab {
    /// The disks are large, and made anew for every command.
    fn drop(&mut self) {
        if let Err(error) = folder::remove(&self.disks()) {
            eprintln!("{error:#}");
        }
    }
}
