//! A kernel on this disk: its image, and a disk with its modules.
//!
//! In: packages. Out: `target/vm/kernels/NAME` with `vmlinuz`, `modules.ext4`, `kernel.json`, and in `first` the
//! modules without which it finds no disk. Always: the folder gets its name when it is whole. The packages are
//! not kept.

use crate::folder;
use crate::stages::Stage;
use crate::vm::disk;
use crate::vm::mirror::Mirror;
use crate::vm::needs::in_sbin;
use crate::vm::wanted::{Offer, Release, Wanted};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Free room on the modules' disk, which is never written to.
const SPARE: u64 = 0;

/// Modules are decompressed so many at a time: a command line's length is bounded.
const BATCH: usize = 200;

/// What the disks are on and what is on them. The flavour for virtual machines has both built in.
const FOR_DISKS: [&str; 2] = ["nvme", "ext4"];

/// The folder of all kernels.
pub(crate) struct Kernels {
    folder: PathBuf,
}

/// One kernel.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// `6.12`, `6.12-amd64`
    pub name: String,
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
        let name = match wanted.release {
            Release::Newest => std::fs::read_to_string(self.note(wanted)).ok()?.trim().to_owned(),
            Release::Series(..) => wanted.to_string(),
        };
        let place = self.folder.join(&name);
        let origin: Origin = serde_json::from_slice(&std::fs::read(place.join("kernel.json")).ok()?).ok()?;
        let kernel = Kernel { name, release: origin.release, folder: place };
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
        let name = offer.name();
        let place = self.folder.join(&name);
        if !self.has(&place, offer) {
            let work = self.folder.join(format!("{name}.new"));
            folder::remake(&work)?;
            unpack(stage, &work, mirror, offer)?;
            folder::remove(&place)?;
            std::fs::rename(&work, &place).with_context(|| format!("cannot make {}", place.display()))?;
        }
        if wanted.release == Release::Newest {
            std::fs::write(self.note(wanted), &name).context("cannot note the newest kernel")?;
        }
        self.cached(wanted).with_context(|| format!("kernel {name} is not whole once fetched"))
    }

    /// Says which one is the newest of its flavour.
    fn note(&self, newest: Wanted) -> PathBuf {
        self.folder.join(newest.to_string())
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

    /// Modules that the guest's first program loads, in this order, before it can look for a disk.
    pub(crate) fn first(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let folder = self.folder.join("first");
        if folder.is_dir() {
            folder::list(&folder, &mut files)?;
        }
        files.sort();
        Ok(files)
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
    set_aside(stage, &modules, release, &work.join("first"))?;
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
    let mut command = Command::new(in_sbin("depmod"));
    command.arg("-b").arg(base(modules)?).arg(release);
    stage.run(command)
}

/// Copies what finds the disks, and what that needs, to a folder where names are in the order of loading. What is
/// built in is not there.
fn set_aside(stage: &mut Stage, modules: &Path, release: &str, into: &Path) -> Result<()> {
    folder::remake(into)?;
    let mut command = Command::new(in_sbin("modprobe"));
    // What this machine's administrator has set for its own modules is not asked.
    command.args(["-C", "/dev/null", "-S", release, "-d"]).arg(base(modules)?);
    command.args(["--show-depends", "-a"]).args(FOR_DISKS);
    let text = stage.output(command)?;
    for (number, file) in inserted(&text).into_iter().enumerate() {
        let name = file.file_name().context("a module without a name")?.to_string_lossy();
        std::fs::copy(file, into.join(format!("{number:02}-{name}")))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

/// The files in what modprobe would do: `insmod FILE OPTIONS`, or `builtin NAME`. It names one again for each that
/// needs it.
fn inserted(text: &str) -> Vec<&Path> {
    let mut files = Vec::new();
    for line in text.lines() {
        let file = line.strip_prefix("insmod ").map(|file| Path::new(file.trim_end()));
        files.extend(file.filter(|file| !files.contains(file)));
    }
    files
}

/// The root of a tree with modules.
fn base(modules: &Path) -> Result<&Path> {
    modules.ancestors().nth(3).context("modules are in no lib/modules")
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
        let (wanted, newest) = (Wanted::parse("6.12")?, Wanted::parse("newest")?);
        assert!(kernels.cached(wanted).is_none());
        std::fs::write(kernel.join("modules.ext4"), "")?;
        assert_eq!(kernels.cached(wanted).map(|kernel| kernel.release).as_deref(), Some("6.12.1"));
        assert!(kernels.cached(newest).is_none());
        std::fs::write(place.join("newest"), "6.12\n")?;
        assert_eq!(kernels.cached(newest).map(|kernel| kernel.name).as_deref(), Some("6.12"));
        for other in ["6.12-amd64", "newest-amd64"] {
            assert!(kernels.cached(Wanted::parse(other)?).is_none(), "{other}");
        }
        folder::remove(&place)
    }

    #[test]
    fn modules_for_the_disks_are_loaded_in_the_order_that_modprobe_says() -> Result<()> {
        let text = "builtin nvme\ninsmod /m/crc16.ko \ninsmod /m/a b/ext4.ko \ninsmod /m/crc16.ko \n";
        assert_eq!(inserted(text), [Path::new("/m/crc16.ko"), Path::new("/m/a b/ext4.ko")]);
        let place = std::env::temp_dir().join(format!("graven-xtask-first-{}", std::process::id()));
        folder::remake(&place.join("first"))?;
        for name in ["10-c.ko", "00-a.ko", "09-b.ko"] {
            std::fs::write(place.join("first").join(name), "")?;
        }
        let kernel = Kernel { name: String::new(), release: String::new(), folder: place.clone() };
        let names = kernel.first()?.into_iter().map(|file| file.file_name().map(std::ffi::OsStr::to_owned));
        assert!(names.eq(["00-a.ko", "09-b.ko", "10-c.ko"].map(|name| Some(name.into()))));
        folder::remove(&place)
    }
}
