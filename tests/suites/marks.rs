//! A place is protected as the kernel sees it, whatever stat says: on overlay a file has another inode than the one
//! below it that is written, and on btrfs another device than its file system. What lies beside it on the same mount is
//! not protected.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::place::Place;
use graven_tests::record::{Expected, activity};
use graven_tests::scene::Scene;
use graven_tests::spooled::Tally;
use graven_tests::stage::Stage;
use graven_tests::{sight, skip, words};

const SUITE: &str = "marks";

/// Changes beside the protected place: counted and not recorded.
const BESIDE: u64 = 500;

/// btrfs makes none smaller than 109 MiB.
const DISK: u64 = 128 << 20;

/// A file system of a test's own, unmounted at its end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Processes that are still there keep it until they end.
        if let Err(error) = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}

#[test]
fn on_overlay_the_upper_inode_is_protected_and_not_the_layers() -> Result<()> {
    on("overlay", |place| {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| place.folder(name));
        let (lower, upper, work) = (lower?, upper?, work?);
        std::fs::create_dir(lower.join("watched"))?;
        std::fs::write(lower.join("watched/below"), "from the image\n")?;
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount(place, &["-t", "overlay", "-o", &layers, "overlay"])
    })
}

#[test]
fn on_btrfs_a_subvolume_is_protected_though_stat_gives_it_a_device_of_its_own() -> Result<()> {
    on("btrfs", |place| {
        let disk = place.join("disk");
        std::fs::File::create(&disk)?.set_len(DISK)?;
        run(Command::new("mkfs.btrfs").arg("-q").arg(&disk))?;
        let text = disk.to_string_lossy();
        let mounted = mount(place, &["-t", "btrfs", "-o", "loop", &text])?;
        run(Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(mounted.0.join("watched")))?;
        std::fs::write(mounted.0.join("watched/below"), "from the image\n")?;
        Ok(mounted)
    })
}

/// A mount in which `watched` is there, with the file `below`: it is protected, and the rest is not.
fn on(name: &str, make: impl FnOnce(&Place) -> Result<Mounted>) -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    if let Some(why) = lacks(name)? {
        skip::say(&format!("{SUITE}::{name}"), why);
        return Ok(());
    }
    let mut place = Place::new(name)?;
    let mounted = make(&place)?;
    let watched = mounted.0.join("watched");
    let mut stage = match Stage::guarding(name, &[&watched]) {
        Err(error) if skip::is_refused(SUITE, &error) => {
            place.done();
            return Ok(());
        }
        stage => stage?,
    };
    protects(&stage, &watched)?;
    if sight::of_changes() {
        ignores(&mut stage, &mounted.0.join("beside"))?;
    }
    stage.finish()?;
    drop(mounted);
    place.done();
    Ok(())
}

/// A directory of the same file system is not protected. Without inode-time tracepoints the kernel leaves nothing out.
fn ignores(stage: &mut Stage, beside: &Path) -> Result<()> {
    std::fs::create_dir(beside)?;
    actor()?.act(&words!["storm", beside, BESIDE.to_string(), "100000"])?;
    stage.fence()?;
    let told = stage.records(beside)?;
    ensure!(told.is_empty(), "what is not protected is recorded: {told:#?}");
    stage.agent.stop()?;
    let counters = Tally::of(&stage.agent.spool())?.counters;
    ensure!(counters.is_some_and(|counters| counters.ignored >= BESIDE), "{counters:?}");
    stage.agent.run()
}

fn protects(stage: &Stage, watched: &Path) -> Result<()> {
    let below = watched.join("below");
    // A name that was there before the agent: on overlay it is copied up by this.
    let mut scene = Scene::below(stage, watched, "made", &actor()?)?;
    let opened = Expected::new("open", activity::UPDATE, &below).with("/unmapped/writable", true);
    // O_WRONLY
    scene.act(&words!["open", below, "1", "0"], vec![opened])?;
    let moved = scene.path("moved");
    scene.act(&words!["rename", below, moved], vec![Expected::rename(&below, &moved)])?;
    scene.act(&words!["unlink", moved], vec![Expected::new("unlink", activity::DELETE, &moved)])?;
    let new = scene.path("directory");
    let made = Expected::new("create", activity::CREATE, &new).with("/unmapped/create/kind", "directory");
    scene.act(&words!["mkdir", new, "0755"], vec![made])?;
    let file = scene.file("file")?;
    let mode = Expected::new("attr", activity::SECURITY, &file);
    scene.act(&words!["chmod", file, "0600"], vec![mode])?;
    scene.check()
}

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// Why there can be none here.
fn lacks(name: &str) -> Result<Option<&'static str>> {
    if name == "btrfs" && Command::new("mkfs.btrfs").arg("--version").output().is_err() {
        return Ok(Some("btrfs-progs is not installed"));
    }
    // It may be a module, which mount would load; whether that works shows in the list.
    let _loaded = Command::new("modprobe").args(["-q", name]).status();
    let known = std::fs::read_to_string("/proc/filesystems")?;
    let known = known.lines().any(|line| line.split_whitespace().next_back() == Some(name));
    Ok((!known).then_some("this kernel has no such file system"))
}

/// Mounts something at `mount` in the test's folder.
fn mount(place: &Place, what: &[&str]) -> Result<Mounted> {
    let target = place.folder("mount")?;
    run(Command::new("mount").args(what).arg(&target))?;
    Ok(Mounted(target))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
