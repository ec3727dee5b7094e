//! The compiler and the linker for the kernel's side: where they are, and whether they work.
//!
//! Stable Rust has no `core` for BPF. Two sources do: Debian's rustc-web with its prebuilt `core`, unpacked
//! below `target/toolchain` (or installed), and a rustup nightly with rust-src. A compiler counts as there if
//! it compiles a line for BPF now; no stamp is believed.

use crate::repo::Repo;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The kernel's instruction set, little endian: every machine this runs on.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The linker's version; its LLVM has to be the compiler's.
pub(crate) const LINKER_VERSION: &str = "0.10.3";

/// The LLVM of that linker.
pub(crate) const LLVM: u32 = 22;

/// What builds the sensor.
pub(crate) struct Toolchain {
    pub compiler: Compiler,
    pub linker: PathBuf,
}

/// A Rust compiler that can compile for BPF.
pub(crate) struct Compiler {
    pub rustc: PathBuf,
    /// The cargo that goes with it, where ours does not do.
    pub cargo: Option<PathBuf>,
    /// Folders of the libraries it and the linker load.
    pub libraries: OsString,
    /// Its version line.
    pub version: String,
    /// `core` has to be compiled from source.
    pub build_core: bool,
}

impl Compiler {
    /// The first that works: unpacked, installed, nightly.
    pub(crate) fn find(repo: &Repo) -> Option<Self> {
        [repo.toolchain().join("root"), PathBuf::from("/")]
            .iter()
            .find_map(|prefix| Self::packaged(prefix).ok())
            .or_else(Self::nightly)
    }

    /// Debian's packages below `prefix`, or why they cannot be used.
    pub(crate) fn packaged(prefix: &Path) -> Result<Self, String> {
        let rustc = prefix.join("usr/bin/rustc");
        let core = prefix.join("usr/lib/rustlib").join(TARGET);
        if !rustc.is_file() || !core.is_dir() {
            return Err(format!("no compiler, or no {TARGET}, in {}", prefix.display()));
        }
        let tuple = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let folders = [prefix.join(tuple), prefix.join(format!("usr/lib/llvm-{LLVM}/lib"))];
        let libraries = std::env::join_paths(folders).map_err(|error| error.to_string())?;
        let mut compiler = Self { rustc, cargo: None, libraries, version: String::new(), build_core: false };
        compiler.version =
            compiler.version_line().ok_or_else(|| format!("it does not start, or its LLVM is not {LLVM}"))?;
        compiler.compiles_for_bpf().map(|()| compiler)
    }

    /// rustup's nightly with the sources of `core`.
    fn nightly() -> Option<Self> {
        let which = |tool: &str| -> Option<PathBuf> {
            let text = text_of(Command::new("rustup").args(["which", "--toolchain", "nightly", tool]))?;
            Some(PathBuf::from(text.trim()))
        };
        let rustc = which("rustc")?;
        let sysroot = PathBuf::from(text_of(Command::new(&rustc).args(["--print", "sysroot"]))?.trim());
        if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            return None;
        }
        let cargo = Some(which("cargo")?);
        let libraries = sysroot.join("lib").into_os_string();
        let mut compiler = Self { rustc, cargo, libraries, version: String::new(), build_core: true };
        compiler.version = compiler.version_line()?;
        Some(compiler)
    }

    /// `rustc 1.96.0 …`, if it starts and has the linker's LLVM.
    fn version_line(&self) -> Option<String> {
        let text = text_of(self.command().arg("-vV"))?;
        let llvm = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        let major: u32 = llvm.split('.').next()?.parse().ok()?;
        (major == LLVM).then(|| text.lines().next().map(str::to_owned)).flatten()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.rustc);
        crate::cargo::clean(&mut command);
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// Compiles one line: half an update, or another version's `core`, does not pass. The host's `std` is
    /// needed too: procedural macros run in the compiler.
    fn compiles_for_bpf(&self) -> Result<(), String> {
        let try_target = |target: &str, source: &str| {
            let mut command = self.command();
            command.args(["--crate-type=lib", "--emit=metadata=-", "--target", target, "-"]);
            // The compiler makes a folder of its own where it stands.
            command.current_dir(std::env::temp_dir());
            feed(command, source)
        };
        try_target(TARGET, "#![no_std]\npub fn probe() -> Option<u8> { None }\n")?;
        let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        try_target(&host, "pub fn probe() -> Vec<u8> { Vec::new() }\n")
    }
}

/// The linker, if it is there in the right version.
pub(crate) fn linker(repo: &Repo, libraries: &OsString) -> Option<PathBuf> {
    let own = repo.toolchain().join("linker/bin/bpf-linker");
    [Some(own), in_path("bpf-linker")].into_iter().flatten().find(|path| {
        let text = text_of(Command::new(path).arg("--version").env("LD_LIBRARY_PATH", libraries));
        text.is_some_and(|text| text.split_ascii_whitespace().nth(1) == Some(LINKER_VERSION))
    })
}

/// True if `cc` compiles C: sqlite, zstd and ring are partly written in it. That it links is shown by this
/// program's being there.
pub(crate) fn c_compiler_works() -> bool {
    let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(cc);
    command.args(["-x", "c", "-S", "-o", "-", "-"]);
    feed(command, "#include <stdlib.h>\n#include <sys/types.h>\nint main(void) { return 0; }\n").is_ok()
}

/// The program of that name in `PATH`.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Standard output of a command that succeeds.
fn text_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

/// Gives the text to the command; what it said if it fails.
fn feed(mut command: Command, text: &str) -> Result<(), String> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    // A program that ends without reading is judged by its exit code.
    let _ended_early = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
