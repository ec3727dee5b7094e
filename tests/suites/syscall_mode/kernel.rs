//! Acts on the kernel and on the agent itself: BPF, modules, signals, tracing, the login user.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::{Acted, Attempt, NOBODY};
use graven_tests::calls::Entry;
use graven_tests::missing;
use graven_tests::record::{Expected, Record, activity};
use graven_tests::scene::Scene;
use graven_tests::wait::until;
use graven_tests::words;

use crate::{actor, lacks, scene, skipped};

fn of_process(mut records: Vec<Record>, acted: &Acted) -> Vec<Record> {
    records.retain(|record| record.pid() == Some(acted.pid.into()));
    records
}

#[test]
fn a_bpf_program_that_is_loaded_and_pinned_is_recorded() -> Result<()> {
    scene("bpf", |scene| {
        let place = scene.directory("bpffs")?;
        let pin = place.join("pinned");
        let words: &[OsString] = &words![
            "private",
            "then",
            "mount",
            "none",
            place,
            "bpf",
            "0",
            "NULL",
            "then",
            "bpf-load",
            "graven_test",
            "then",
            "bpf-pin",
            "@3",
            pin,
        ];
        let acted = match scene.actor().attempt(words)? {
            Attempt::Made(acted) => acted,
            Attempt::Lacking(why) => {
                skipped("bpf", &why);
                return Ok(());
            }
        };
        scene.stage().fence()?;
        let records = scene.records(&words!["--kind", "bpf"])?;
        let own = missing::only("BPF", of_process(records, &acted))?;
        Expected::of_process("bpf")
            .reported()
            .by("native", "bpf")
            .with("/unmapped/bpf/command", "prog-load")
            .with("/unmapped/bpf/number", 5)
            .with("/unmapped/bpf/name", "graven_test")
            .with("/unmapped/bpf/program_type", "socket-filter")
            .is(&own, &acted)?;
        // It lies in no place of the policy: its lane is not the fence's.
        let mut pinned = Vec::new();
        let arrived = until("the name that it was pinned under", || {
            pinned = of_process(scene.records(&words!["--kind", "create"])?, &acted);
            pinned.retain(|record| record.text("/unmapped/create/kind") == "pin");
            Ok((!pinned.is_empty()).then_some(()))
        });
        let pinned =
            missing::only("the name that it was pinned under", pinned).map_err(|error| match arrived {
                Err(why) => error.context(why),
                Ok(()) => error,
            })?;
        ensure!(pinned.text("/file/name") == "pinned", "{:#}", pinned.0);
        Ok(())
    })
}

/// A refusal by the kernel, of one call that nobody may make.
fn refused(scene: &mut Scene<'_>, words: &[OsString], expected: Expected) -> Result<()> {
    let nobody = scene.actor().as_user(NOBODY);
    match nobody.attempt(&[&words!["--error", "1"], words].concat())? {
        Attempt::Made(acted) => scene.expect(acted, vec![expected.refused()]),
        Attempt::Lacking(why) => skipped("module", &why),
    }
    Ok(())
}

#[test]
fn kernel_code_that_is_refused_is_recorded() -> Result<()> {
    scene("module", |scene| {
        let file = scene.file("module")?;
        let module = |operation: &str, call: &str| {
            Expected::of_process("module").with("/unmapped/module/operation", operation).by("native", call)
        };
        refused(scene, &words!["init_module", "no module", ""], module("load", "init_module"))?;
        refused(scene, &words!["finit_module", file, "", "0"], module("load", "finit_module"))?;
        refused(
            scene,
            &words!["delete_module", "nothing", "0"],
            module("unload", "delete_module").with("/unmapped/module/name", "nothing"),
        )?;
        refused(scene, &words!["kexec_load", "0", "0", "0", "0"], module("kexec", "kexec_load"))
    })
}

/// One that nothing needs and that needs none, in all of the kernels that have modules.
const MODULE: &str = "ts_kmp";

#[test]
fn kernel_code_that_is_loaded_is_recorded_with_its_file_wherever_that_lies() -> Result<()> {
    scene("modules", |scene| {
        let Some(module) = module(MODULE)? else {
            skipped("module", "this kernel has no modules, or this one is loaded, in it or packed");
            return Ok(());
        };
        let outside = scene.stage().outside("modules")?;
        for (folder, name) in [(scene.folder().to_owned(), "inside.ko"), (outside, "outside.ko")] {
            let file = folder.join(name);
            std::fs::copy(&module, &file)?;
            let operation = |operation: &str, call: &str| {
                Expected::of_process("module")
                    .with("/unmapped/module/operation", operation)
                    .by("native", call)
                    .reported()
            };
            let loaded = operation("load", "finit_module")
                .with("/module/file/path", file.to_string_lossy().into_owned());
            let removed = operation("unload", "delete_module").with("/unmapped/module/name", MODULE);
            let words = words!["finit_module", file, "", "0", "then", "delete_module", MODULE, "0"];
            scene.act(&words, vec![loaded, removed])?;
        }
        Ok(())
    })
}

/// The file of a module that is not loaded.
fn module(name: &str) -> Result<Option<PathBuf>> {
    let is_loaded = match std::fs::read_to_string("/proc/modules") {
        Ok(text) => text.lines().any(|line| line.split(' ').next() == Some(name)),
        Err(_) => return Ok(None),
    };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let file = Path::new("/lib/modules").join(release).join("kernel/lib").join(format!("{name}.ko"));
    Ok((!is_loaded && file.is_file()).then_some(file))
}

/// PTRACE_SEIZE does not stop a process, and ends with the actor.
const SEIZE: u64 = 0x4206;

fn tamper(operation: &str, number: u64, target: &str) -> Expected {
    let target: u64 = target.parse().unwrap_or_default();
    Expected::of_process("tamper")
        .with("/unmapped/tamper/operation", operation)
        .with("/unmapped/tamper/number", number)
        .with("/unmapped/tamper/target", target)
}

#[test]
fn whoever_acts_on_the_agents_processes_is_recorded() -> Result<()> {
    scene("tamper", |scene| {
        let agent = scene.stage().agent.pid().context("the agent is not running")?;
        let (watch, ship) = (agent.to_string(), scene.stage().agent.children()?[0].to_string());
        const CONTINUE: u64 = 18;
        let number = CONTINUE.to_string();
        for (pid, call) in [(&watch, "kill"), (&ship, "kill"), (&watch, "tkill")] {
            scene.act(&words![call, pid, number], vec![tamper("signal", CONTINUE, pid)])?;
        }
        scene.act(&words!["tgkill", watch, watch, number], vec![tamper("signal", CONTINUE, &watch)])?;
        let words: &[OsString] =
            &words!["pidfd_open", watch, "0", "then", "pidfd_send_signal", "@1", number, "0", "0"];
        scene.act(words, vec![tamper("signal", CONTINUE, &watch)])?;
        let seize = SEIZE.to_string();
        scene.act(
            &words!["ptrace", seize, watch, "0", "0"],
            vec![tamper("ptrace", SEIZE, &watch).reported()],
        )?;
        let nobody = scene.actor().as_user(NOBODY);
        let expected = tamper("process_vm_writev", 0, &watch).refused();
        scene.act_by(&nobody, &words!["--error", "1", "write-into", watch], vec![expected])?;
        // Of another process, nothing is said.
        let own = std::process::id().to_string();
        scene.act(&words!["kill", own, number], Vec::new())
    })
}

/// x32 has numbers of its own for calls whose structs have pointers; the families make the others.
#[test]
fn by_x32_too_whoever_acts_on_the_agent_or_the_kernel_is_recorded() -> Result<()> {
    let actor = actor()?.by(Entry::X32);
    if let Some(why) = lacks(Entry::X32, &actor)? {
        skipped("x32", why);
        return Ok(());
    }
    scene("tamper-x32", |scene| {
        let watch = scene.stage().agent.pid().context("the agent is not running")?.to_string();
        let seized = tamper("ptrace", SEIZE, &watch).reported().by("x32", "ptrace");
        scene.act_by(&actor, &words!["ptrace", SEIZE.to_string(), watch, "0", "0"], vec![seized])?;
        let nobody = actor.as_user(NOBODY);
        // `struct iovec` of x32: no address, one byte. Whoever may not is refused before it is written.
        let byte = "0x0000000001000000";
        scene.act_by(
            &nobody,
            &words!["--error", "1", "process_vm_writev", watch, byte, "1", byte, "1", "0"],
            vec![tamper("process_vm_writev", 0, &watch).refused().by("x32", "process_vm_writev")],
        )?;
        let kexec = Expected::of_process("module").with("/unmapped/module/operation", "kexec");
        scene.act_by(
            &nobody,
            &words!["--error", "1", "kexec_load", "0", "0", "0", "0"],
            vec![kexec.refused().by("x32", "kexec_load")],
        )
    })
}

#[test]
fn whoever_sets_the_login_user_is_recorded() -> Result<()> {
    scene("login", |scene| {
        let acted = {
            let mut shell = Command::new(scene.actor().program());
            shell.args(["append", "/proc/self/loginuid", &NOBODY.to_string()]);
            match scene.actor().run(shell) {
                Ok(acted) => acted,
                Err(error) => {
                    skipped("login", &format!("{error:#}"));
                    return Ok(());
                }
            }
        };
        scene.stage().fence()?;
        let records = scene.records(&words!["--kind", "login"])?;
        let login = missing::only("the login", of_process(records, &acted))?;
        Expected::of_process("login")
            .with("/unmapped/login/loginuid", NOBODY)
            .with("/unmapped/login/user", "nobody")
            .is(&login, &acted)
    })
}

#[test]
fn a_call_beyond_every_table_that_succeeds_is_said() -> Result<()> {
    scene("beyond", |scene| {
        // A filter answers in the kernel's place: no kernel has this call.
        let acted = scene.actor().act(&["faked-number", "1000"])?;
        scene.stage().fence()?;
        let records = scene.records(&words!["--kind", "uncovered"])?;
        let record = missing::only("the call", of_process(records, &acted))?;
        ensure!(record.text("/unmapped/entry") == "unknown-call", "{:#}", record.0);
        ensure!(record.number("/unmapped/number") == Some(1000), "{:#}", record.0);
        record.is_by(&acted)
    })
}

#[test]
fn what_a_file_system_refuses_for_its_own_reasons_is_no_record() -> Result<()> {
    scene("clone", |scene| {
        let (from, to) = (scene.file("from")?, scene.file("to")?);
        // FICLONE on a file system that cannot: EOPNOTSUPP, or EINVAL across file systems.
        let words: &[OsString] = &words![
            "open",
            from,
            "0",
            "0",
            "then",
            "open",
            to,
            "1",
            "0",
            "then",
            "--error",
            "95",
            "ioctl",
            "@2",
            "0x40049409",
            "@1",
        ];
        let opened = Expected::new("open", activity::UPDATE, &to).by("native", "open");
        scene.act(words, vec![opened])
    })
}
