//! `cargo xtask setup`: finds what builds the sensor, or puts it below `target/toolchain`.
//!
//! Unpacked, not installed: Debian's rustc-web conflicts with its rustc and with rustup. Only a missing C
//! compiler is installed into the system.

use crate::apt::{self, Package};
use crate::fault;
use crate::repo::Repo;
use crate::screen::megabytes;
use crate::stages::{Stage, Stages};
use crate::toolchain::{self, Compiler, LINKER_VERSION, LLVM, Toolchain};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Stages of [`run`].
pub(crate) const STAGES: usize = 3;

/// What a C compiler needs where there is none.
const C_PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];

/// The compiler for the kernel's side, in Debian's words.
const COMPILER: &str = "rustc-web";
const CORE_FOR_BPF: &str = "libstd-rust-web-dev-bpf";

/// Sources of the linker and of the crates it needs, and the registry's index of them, as measured.
const LINKER_BYTES: u64 = 20_000_000;

#[derive(clap::Args)]
#[command(
    after_help = "Looks for a Rust compiler with `core` for BPF (Debian's rustc-web, or a rustup nightly \
                        with rust-src), for bpf-linker and for a C compiler. What is missing is named with its \
                        size and then fetched into target/toolchain; without root that works too, but for the \
                        C compiler and old package lists."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub install: Install,
}

/// May anything be installed?
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Install {
    /// Install nothing: stop with the list of what is missing (exit code 3)
    #[arg(long)]
    pub no_install: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let repo = Repo::here()?;
    let mut stages = Stages::new(&repo, STAGES)?;
    let _lock = repo.lock()?;
    run(&repo, &mut stages, arguments.install)?;
    Ok(ExitCode::SUCCESS)
}

/// Finds or installs; the caller holds the repository's lock.
pub(crate) fn run(repo: &Repo, stages: &mut Stages, install: Install) -> Result<Toolchain> {
    let missing = Missing::survey(repo);
    let needs = missing.needs();
    if !needs.is_empty() {
        let list = needs.iter().map(|need| format!("\n  - {need}")).collect::<String>();
        if install.no_install {
            return Err(fault::host(format!(
                "missing, and --no-install was given:{list}\nRun `cargo xtask setup` to get them"
            )));
        }
        if missing.needs_apt() && !apt::available() {
            return Err(fault::host(NO_APT));
        }
        stages.say(&format!("will get:{list}"));
    }
    let mut stage = stages.begin("C compiler");
    if missing.c {
        apt::install(&mut stage, &C_PACKAGES.map(str::to_owned))?;
        stage.done("installed");
    } else {
        stage.done("found");
    }
    let compiler = compiler(repo, stages.begin("BPF compiler"))?;
    let linker = linker(repo, stages.begin("BPF linker"), &compiler)?;
    Ok(Toolchain { compiler, linker })
}

const NO_APT: &str = "this machine has no apt: install gcc, and either a rustup nightly with LLVM 22 and its \
                      sources (`rustup toolchain install nightly --component rust-src`) or your system's \
                      Rust with `core` for bpfel-unknown-none, then run again";

/// What the survey did not find.
struct Missing {
    c: bool,
    compiler: bool,
    linker: bool,
}

impl Missing {
    fn survey(repo: &Repo) -> Self {
        let compiler = Compiler::find(repo);
        let libraries = compiler.as_ref().map(|found| found.libraries.clone()).unwrap_or_default();
        Self {
            c: !toolchain::c_compiler_works(),
            compiler: compiler.is_none(),
            linker: toolchain::linker(repo, &libraries).is_none(),
        }
    }

    fn needs_apt(&self) -> bool {
        self.c || self.compiler
    }

    /// One line for each, with sizes as far as this machine's lists know them.
    fn needs(&self) -> Vec<String> {
        let mut needs = Vec::new();
        if self.c {
            needs.push(format!("a C compiler, installed by apt: {}", C_PACKAGES.join(", ")));
        }
        if self.compiler {
            let sizes = match compiler_packages() {
                Ok(packages) => {
                    let size = packages.iter().map(|package| package.size).sum();
                    let unpacked = packages.iter().map(|package| package.unpacked).sum();
                    let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
                    let (size, unpacked) = (megabytes(size), megabytes(unpacked));
                    format!("{} ({size} to fetch, {unpacked} unpacked)", names.join(", "))
                }
                Err(_) => format!("{COMPILER}, {CORE_FOR_BPF} and what they need, after `apt-get update`"),
            };
            needs.push(format!("a Rust compiler for BPF, unpacked into target/toolchain/root: {sizes}"));
        }
        if self.linker {
            let size = megabytes(LINKER_BYTES);
            needs.push(format!(
                "bpf-linker {LINKER_VERSION}, built into target/toolchain/linker in one or two minutes ({size} to fetch)"
            ));
        }
        needs
    }
}

fn compiler(repo: &Repo, mut stage: Stage) -> Result<Compiler> {
    if let Some(found) = Compiler::find(repo) {
        stage.done(&format!("found {}", found.version));
        return Ok(found);
    }
    let root = apt::unpack(&mut stage, &repo.toolchain(), compiler_packages)?;
    let compiler = Compiler::packaged(&root).map_err(|why| {
        anyhow::anyhow!(
            "the unpacked compiler in {} does not compile for BPF: {why}",
            repo.short(&root).display()
        )
    })?;
    stage.done(&format!("unpacked {}", compiler.version));
    Ok(compiler)
}

/// The compiler, its libraries, `core` for BPF, and libraries this machine lacks. Versions are in the names,
/// so each is asked for the next.
fn compiler_packages() -> Result<Vec<Package>> {
    let lists = "the package lists of this machine do not have";
    let show = |name: &str| apt::show(name).with_context(|| format!("{lists} {name}"));
    let compiler = show(COMPILER)?;
    let std_dev = show(compiler.needs("libstd-rust-web-dev").context("rustc-web needs no libstd")?)?;
    let std = show(std_dev.needs("libstd-rust-web-").context("libstd-rust-web-dev needs no libstd")?)?;
    let llvm = show(std.needs("libllvm").context("rustc-web needs no libllvm")?)?;
    if llvm.name != format!("libllvm{LLVM}") {
        return Err(fault::host(format!(
            "this system's rustc-web {} uses {}, bpf-linker {LINKER_VERSION} needs libllvm{LLVM}: update the \
             system, or install a rustup nightly with rust-src and LLVM {LLVM}",
            compiler.version, llvm.name
        )));
    }
    let core = show(CORE_FOR_BPF)?;
    let own: Vec<Package> = vec![compiler, std, std_dev, core, llvm];
    let mut all = own.clone();
    for name in apt::missing_with(&[&own[4].name]) {
        if own.iter().all(|package| package.name != name) {
            all.push(show(&name)?);
        }
    }
    Ok(all)
}

fn linker(repo: &Repo, mut stage: Stage, compiler: &Compiler) -> Result<std::path::PathBuf> {
    if let Some(found) = toolchain::linker(repo, &compiler.libraries) {
        stage.done(&format!("found bpf-linker {LINKER_VERSION}"));
        return Ok(found);
    }
    let mut command = crate::cargo::cargo(repo, &["install", "bpf-linker", "--locked", "--force"]);
    command.args(["--version", LINKER_VERSION, "--root"]).arg(repo.toolchain().join("linker"));
    command.env("LD_LIBRARY_PATH", &compiler.libraries);
    stage.run(command)?;
    let linker = toolchain::linker(repo, &compiler.libraries).with_context(|| {
        format!("bpf-linker was built and does not start; see {}", stage.shown_log().display())
    })?;
    stage.done(&format!("built bpf-linker {LINKER_VERSION}"));
    Ok(linker)
}
