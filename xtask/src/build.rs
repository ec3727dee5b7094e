//! `cargo xtask build`: the sensor for the kernel, then the programs that embed it.

use crate::cargo;
use crate::repo::Repo;
use crate::setup::{self, Install};
use crate::stages::{Stage, Stages};
use crate::toolchain::{TARGET, Toolchain};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Stages of [`run`], those of the setup not counted.
pub(crate) const STAGES: usize = 2;

/// Crates that may name unstable features: aya-ebpf names one, the sensor needs an intrinsic to count.
const UNSTABLE_FOR: &str = "aya_ebpf,graven_sensor";

/// Variables of the caller that would change what the sensor's compiler is told.
const FOREIGN: [&str; 8] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTUP_TOOLCHAIN",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
];

#[derive(clap::Args)]
#[command(
    after_help = "The sensor is built into target/sensor/graven-sensor*.o, and only if something in ebpf/ or \
                        the toolchain changed; the programs are target/release/graven-agent and \
                        target/release/graven."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    install: Install,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let repo = Repo::here()?;
    let mut stages = Stages::new(&repo, setup::STAGES + STAGES)?;
    run(&repo, &mut stages, arguments.install)?;
    let time = crate::screen::elapsed(stages.elapsed());
    println!("built target/release/graven-agent and target/release/graven in {time}");
    Ok(ExitCode::SUCCESS)
}

/// Setup, sensor, programs.
pub(crate) fn run(repo: &Repo, stages: &mut Stages, install: Install) -> Result<()> {
    prepare(repo, stages, install)?;
    let mut stage = stages.begin("programs");
    stage.run(cargo::cargo(repo, &["build", "--release", "--package=graven-agent", "--package=graven"]))?;
    stage.done("built");
    Ok(())
}

/// Setup and sensor: after this, plain cargo works everywhere in the workspace.
pub(crate) fn prepare(repo: &Repo, stages: &mut Stages, install: Install) -> Result<()> {
    let _lock = repo.lock()?;
    let toolchain = setup::run(repo, stages, install)?;
    sensor(repo, stages.begin("sensor"), &toolchain)
}

/// Stages of [`prepare`].
pub(crate) const PREPARE_STAGES: usize = setup::STAGES + 1;

/// One build of the sensor.
struct Variant {
    /// Of the object's file.
    name: &'static str,
    features: &'static [&'static str],
    /// v2 has no atomics that return a value, v3 has.
    cpu: &'static str,
}

/// For kernels from 5.12 on, for those that have bpf_rdonly_cast, and for those before.
const VARIANTS: [Variant; 3] = [
    Variant { name: "graven-sensor", features: &[], cpu: "v3" },
    Variant { name: "graven-sensor-cast", features: &["--features", "cast"], cpu: "v3" },
    Variant { name: "graven-sensor-counted", features: &["--features", "counted"], cpu: "v2" },
];

fn sensor(repo: &Repo, mut stage: Stage, toolchain: &Toolchain) -> Result<()> {
    let folder = repo.target().join("sensor");
    let mut outcome = "unchanged, not built";
    for variant in &VARIANTS {
        let object = folder.join(variant.name).with_extension("o");
        let (stamp, linked) = (object.with_extension("stamp"), object.with_extension("linked"));
        let inputs = inputs(repo, toolchain, variant)?;
        if linked.is_file() && is_current(&object, &stamp, &inputs) {
            continue;
        }
        stage.run(sensor_command(repo, toolchain, variant)?)?;
        let built = builds(repo).join(TARGET).join("release/graven-sensor");
        let whole =
            std::fs::read(&built).with_context(|| format!("the build left no {}", built.display()))?;
        // With the compiler's debug information, for the tests.
        replace(&linked, &whole)?;
        let bytes = crate::strip::debug_information(&whole)?;
        // Written only if it differs: the agent is built anew when this file's time changes.
        if std::fs::read(&object).is_ok_and(|old| old == bytes) {
            outcome = "built, same bytes";
        } else {
            replace(&object, &bytes)?;
            outcome = "built";
        }
        let text = format!("inputs {inputs}\nobject {}\n", digest(&bytes));
        replace(&stamp, text.as_bytes())?;
    }
    stage.done(outcome);
    Ok(())
}

/// Where all variants are built: what they share is compiled once.
fn builds(repo: &Repo) -> PathBuf {
    repo.target().join("sensor/build")
}

/// True if this object was made from these inputs and is whole.
fn is_current(object: &Path, stamp: &Path, inputs: &str) -> bool {
    let (Ok(bytes), Ok(stamp)) = (std::fs::read(object), std::fs::read_to_string(stamp)) else {
        return false;
    };
    stamp == format!("inputs {inputs}\nobject {}\n", digest(&bytes))
}

fn sensor_command(repo: &Repo, toolchain: &Toolchain, variant: &Variant) -> Result<Command> {
    let compiler = &toolchain.compiler;
    let mut command = Command::new(compiler.cargo.clone().map_or_else(cargo::program, Into::into));
    command.current_dir(repo.root.join("ebpf/sensor"));
    cargo::clean(&mut command);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(builds(repo))
        .args(variant.features);
    if compiler.build_core {
        command.args(["-Z", "build-std=core"]);
    }
    let mut path = vec![toolchain.linker.parent().context("the linker is in no folder")?.to_path_buf()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    command
        .env("PATH", std::env::join_paths(path).context("PATH cannot be extended")?)
        .env("LD_LIBRARY_PATH", &compiler.libraries)
        .env("RUSTC", &compiler.rustc)
        // Empty means none, whatever a configuration file says.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_BOOTSTRAP", UNSTABLE_FOR)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(variant).join("\x1f"));
    Ok(command)
}

/// Line numbers and types for the kernel (BTF), offsets for this machine's architecture, the kernels' instructions.
fn flags(variant: &Variant) -> [String; 4] {
    [
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        format!("-Ctarget-cpu={}", variant.cpu),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ]
}

/// A digest of all the sensor is made from: the sources, what the layouts' crate inherits from the workspace,
/// the compiler, the linker, the flags.
fn inputs(repo: &Repo, toolchain: &Toolchain, variant: &Variant) -> Result<String> {
    let mut files = Vec::new();
    list(&repo.root.join("ebpf"), &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    let mut feed = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(bytes);
    };
    for file in &files {
        feed(repo.short(file).as_os_str().as_encoded_bytes());
        feed(&std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    feed(inherited(repo)?.as_bytes());
    feed(toolchain.compiler.version.as_bytes());
    feed(crate::toolchain::LINKER_VERSION.as_bytes());
    for flag in flags(variant).iter().map(String::as_str).chain(variant.features.iter().copied()) {
        feed(flag.as_bytes());
    }
    Ok(hex(&hash.finalize()))
}

/// What the layouts' crate takes from the workspace's manifest.
fn inherited(repo: &Repo) -> Result<String> {
    let read = |path: &str| -> Result<toml::Table> {
        let text =
            std::fs::read_to_string(repo.root.join(path)).with_context(|| format!("cannot read {path}"))?;
        toml::from_str(&text).with_context(|| format!("{path} is not TOML"))
    };
    let table = |of: &toml::Table, key: &str| {
        of.get(key).and_then(toml::Value::as_table).cloned().unwrap_or_default()
    };
    let workspace = table(&read("Cargo.toml")?, "workspace");
    let mut text = table(&workspace, "package").to_string();
    let versions = table(&workspace, "dependencies");
    for name in table(&read("ebpf/abi/Cargo.toml")?, "dependencies").keys() {
        text += &versions.get(name).map(toml::Value::to_string).unwrap_or_default();
    }
    Ok(text)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                list(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes beside and renames, so that no reader sees half a file.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
