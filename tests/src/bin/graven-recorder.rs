//! Records what the `pipeline` suite plays: makes a few changes under the sensor's eyes and keeps the ring's bytes.
//!
//! Run it as root when a layout has changed: `cargo run --release -p graven-tests --bin graven-recorder`.
//! Only records of its own children are kept, so that nothing of the machine it ran on is in the file.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use graven_agent::decode::decode;
use graven_agent::decode::observed::Event;
use graven_agent::sensor::{Drain, Mark, MarkClass, Merge, Raw, Sensor, Wanted};
use graven_tests::actor::NOBODY;
use graven_tests::ring;
use graven_tests::wait::until;

/// What root does, in the protected directory.
///
/// `test` looks at the file: only then does the next write get a time of its own, if it comes within the same tick
/// of the clock.
const LINES: &str = "mkdir conf
echo x > motd
test -s motd
echo y >> motd
chmod 0600 motd
mv motd conf/motd
cp /bin/true program
./program --password=correct-horse-battery
rm conf/motd
rmdir conf
";

fn main() -> Result<()> {
    let demo = Path::new(ring::DEMO);
    std::fs::create_dir(demo).with_context(|| format!("{} must be made by this program", demo.display()))?;
    std::fs::set_permissions(demo, std::fs::Permissions::from_mode(0o777))?;
    let recorded = record(demo);
    std::fs::remove_dir_all(demo)?;
    let records = recorded?;
    ring::write(&ring::path(), &records)?;
    std::fs::write(ring::mountinfo(), root_line()?)?;
    println!("{} records in {}", records.len(), ring::path().display());
    Ok(())
}

fn record(demo: &Path) -> Result<Vec<Raw>> {
    let mut sensor = Sensor::load()?;
    let roots = vec![
        Mark { path: "/".into(), class: MarkClass::Mutable },
        Mark { path: demo.to_owned(), class: MarkClass::Protect },
    ];
    sensor.mark(&Wanted { roots, ..Wanted::default() })?;
    let mut drain = sensor.rings()?;
    sensor.attach()?;
    let mut merge = Merge::default();
    let mut records = Vec::new();
    let root = shell(demo, LINES).spawn()?;
    until_gone(root, &mut drain, &mut merge, &mut records)?;
    let nobody = shell(demo, "echo z > theirs\n").uid(NOBODY).gid(NOBODY).spawn()?;
    until_gone(nobody, &mut drain, &mut merge, &mut records)?;
    let hostile =
        Command::new("/bin/mkdir").arg(OsStr::from_bytes(b"red\x1b[31m\xff\n")).current_dir(demo).spawn()?;
    until_gone(hostile, &mut drain, &mut merge, &mut records)?;
    sensor.detach();
    records.extend(merge.add(drain.take()));
    records.extend(merge.finish());
    let counters = sensor.counters()?;
    ensure!(counters.lost == [0; 3], "something was lost: {counters:?}");
    of_children(records)
}

fn shell(demo: &Path, lines: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-e", "-c", lines]).current_dir(demo).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// Waits for the child and for the record of its end.
fn until_gone(mut child: Child, drain: &mut Drain, merge: &mut Merge, records: &mut Vec<Raw>) -> Result<()> {
    ensure!(child.wait()?.success(), "a change did not succeed");
    until("the record of the end of a child", || {
        records.extend(merge.add(drain.round(false)?));
        let ended = |raw: &Raw| {
            decode(raw)
                .is_ok_and(|seen| matches!(seen.event, Event::Exit { .. }) && seen.task.id.pid == child.id())
        };
        Ok(records.iter().any(ended).then_some(()))
    })
}

/// What this process's children and theirs did, and that they were made.
fn of_children(records: Vec<Raw>) -> Result<Vec<Raw>> {
    let mut family = BTreeSet::from([std::process::id()]);
    let mut kept = Vec::new();
    for raw in records {
        let seen = decode(&raw)?;
        let pid = seen.task.id.pid;
        match seen.event {
            Event::Fork { child } if family.contains(&pid) => {
                family.insert(child.pid);
                kept.push(raw);
            }
            _ if family.contains(&pid) && pid != std::process::id() => kept.push(raw),
            _ => {}
        }
    }
    Ok(kept)
}

/// The mount table's line for `/`, without what only this machine has.
fn root_line() -> Result<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let root = table.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    let fields: Vec<&str> = root.context("no root file system")?.split(' ').collect();
    let kind = fields.iter().skip_while(|field| **field != "-").nth(1).context("no type")?;
    Ok(format!("{} {} {} / / rw - {kind} /dev/root rw\n", fields[0], fields[1], fields[2]))
}
