//! A kernel on this disk: its image, and a disk with its modules.
//!
//! In: packages. Out: `target/vm/kernels/SERIES` with `vmlinuz`, `modules.ext4` and `kernel.json`. Always: the
//! folder gets its name when it is whole. The packages are not kept.

use crate::folder;
use crate::stages::Stage;
use crate::vm::disk;
use crate::vm::mirror::Mirror;
use crate::vm::needs::in_sbin;
use crate::vm::wanted::{Offer, Wanted};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Free room on the modules' disk, which is never written to.
const SPARE: u64 = 0;

/// Modules are decompressed so many at a time: a command line's length is bounded.
const BATCH: usize = 200;

/// The folder of all kernels.
pub(crate) struct Kernels {
    folder: PathBuf,
}

/// One kernel.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// `6.12`
    pub series: String,
    /// What `uname -r` says.
    pub release: String,
    folder: PathBuf,
}

/// `kernel.json`
#[derive(Serialize, Deserialize)]
struct Origin {
    package: String,
    version: String,
    release: String,
}

impl Kernels {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The kernel, if it was fetched before.
    pub(crate) fn cached(&self, wanted: Wanted) -> Option<Kernel> {
        let series = match wanted {
            Wanted::Newest => std::fs::read_to_string(self.newest()).ok()?.trim().to_owned(),
            Wanted::Series(..) => wanted.to_string(),
        };
        let place = self.folder.join(&series);
        let origin: Origin = serde_json::from_slice(&std::fs::read(place.join("kernel.json")).ok()?).ok()?;
        let kernel = Kernel { series, release: origin.release, folder: place };
        (kernel.image().is_file() && kernel.modules().is_file()).then_some(kernel)
    }

    /// Fetches and unpacks it, unless this very package is here.
    pub(crate) fn fetch(
        &self,
        stage: &mut Stage,
        mirror: &Mirror,
        wanted: Wanted,
        offer: &Offer,
    ) -> Result<Kernel> {
        let series = offer.series();
        let place = self.folder.join(&series);
        if !self.has(&place, offer) {
            let work = self.folder.join(format!("{series}.new"));
            folder::remake(&work)?;
            unpack(stage, &work, mirror, offer)?;
            folder::remove(&place)?;
            std::fs::rename(&work, &place).with_context(|| format!("cannot make {}", place.display()))?;
        }
        if wanted == Wanted::Newest {
            std::fs::write(self.newest(), &series).context("cannot note the newest kernel")?;
        }
        self.cached(wanted).with_context(|| format!("kernel {series} is not whole once fetched"))
    }

    fn newest(&self) -> PathBuf {
        self.folder.join("newest")
    }

    fn has(&self, place: &Path, offer: &Offer) -> bool {
        let text = std::fs::read(place.join("kernel.json")).ok();
        let origin: Option<Origin> = text.and_then(|text| serde_json::from_slice(&text).ok());
        origin.is_some_and(|origin| {
            origin.package == offer.package.name && origin.version == offer.package.version
        })
    }
}

impl Kernel {
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// An ext4 image of `/lib/modules`.
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.join("modules.ext4")
    }
}

/// Everything but the name of the folder.
fn unpack(stage: &mut Stage, work: &Path, mirror: &Mirror, offer: &Offer) -> Result<()> {
    let (fetched, root) = (work.join("fetched"), work.join("root"));
    folder::remake(&fetched)?;
    folder::remake(&root)?;
    mirror.download(stage, &mirror.whole(offer)?, &fetched)?;
    for entry in std::fs::read_dir(&fetched).context("cannot list what apt fetched")? {
        let mut command = Command::new("dpkg-deb");
        command.arg("-x").arg(entry?.path()).arg(&root);
        stage.run(command)?;
    }
    let modules = modules_in(&root)?;
    let release = modules.file_name().and_then(|name| name.to_str()).context("a release that is not text")?;
    // The image lay in /boot until Linux 7.
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.iter().find(|path| path.is_file());
    let image = image.with_context(|| format!("{} holds no kernel image", offer.package.name))?;
    std::fs::rename(image, work.join("vmlinuz")).context("cannot move the kernel")?;
    decompress(stage, &modules)?;
    index(stage, &modules, release)?;
    let all = modules.parent().context("modules are in no folder")?;
    disk::ext4(stage, &work.join("modules.ext4"), all, SPARE)?;
    let Offer { package, .. } = offer;
    let origin = Origin {
        package: package.name.clone(),
        version: package.version.clone(),
        release: release.to_owned(),
    };
    std::fs::write(work.join("kernel.json"), serde_json::to_vec_pretty(&origin)?)
        .context("cannot write kernel.json")?;
    folder::remove(&fetched)?;
    folder::remove(&root)
}

/// `lib/modules/RELEASE`, in `usr` since Debian 13.
fn modules_in(root: &Path) -> Result<PathBuf> {
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder));
    let mut entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    Ok(entries.next().context("the packages hold no modules")?.context("cannot list modules")?.path())
}

/// So that the guest's tools, which know no xz, can load them.
fn decompress(stage: &mut Stage, modules: &Path) -> Result<()> {
    let mut files = Vec::new();
    folder::list(modules, &mut files)?;
    files.retain(|file| file.extension().is_some_and(|end| end == "xz"));
    for batch in files.chunks(BATCH) {
        let mut command = Command::new("xz");
        command.arg("-d").args(batch);
        stage.run(command)?;
    }
    Ok(())
}

/// Writes what a package's installation would have written: who needs whom, and who is meant by which name.
fn index(stage: &mut Stage, modules: &Path, release: &str) -> Result<()> {
    let base = modules.ancestors().nth(3).context("modules are in no lib/modules")?;
    let mut command = Command::new(in_sbin("depmod"));
    command.arg("-b").arg(base).arg(release);
    stage.run(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_kernel_is_taken_from_the_cache() -> Result<()> {
        let place = std::env::temp_dir().join(format!("graven-xtask-kernels-{}", std::process::id()));
        folder::remake(&place)?;
        let kernels = Kernels::new(place.clone());
        let kernel = place.join("6.12");
        std::fs::create_dir(&kernel)?;
        std::fs::write(
            kernel.join("kernel.json"),
            r#"{"package":"p","version":"6.12.1-1","release":"6.12.1"}"#,
        )?;
        std::fs::write(kernel.join("vmlinuz"), "")?;
        let wanted = Wanted::Series(6, 12);
        assert!(kernels.cached(wanted).is_none());
        std::fs::write(kernel.join("modules.ext4"), "")?;
        assert_eq!(kernels.cached(wanted).map(|kernel| kernel.release).as_deref(), Some("6.12.1"));
        assert!(kernels.cached(Wanted::Newest).is_none());
        std::fs::write(place.join("newest"), "6.12\n")?;
        assert_eq!(kernels.cached(Wanted::Newest).map(|kernel| kernel.series).as_deref(), Some("6.12"));
        folder::remove(&place)
    }
}
