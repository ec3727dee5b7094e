//! Sensor and agent read the same bytes: every struct that passes between them has the same layout in the built
//! object as in the agent. No root.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graven_abi::syscalls::ioctl;
use graven_agent::sensor;
use graven_tests::layout::{self, Layout};
use graven_tests::programs;

/// A struct's path, size and the offset of each of its fields, as this compiler has them.
macro_rules! here {
    ($($name:path { $($field:ident),+ $(,)? })+) => {
        BTreeMap::from([$((
            stringify!($name).replace(' ', ""),
            Layout {
                size: size_of::<$name>() as u64,
                fields: BTreeMap::from([
                    $((stringify!($field).to_owned(), core::mem::offset_of!($name, $field) as u64)),+
                ]),
            },
        )),+])
    };
}

fn shared() -> BTreeMap<String, Layout> {
    here! {
        graven_abi::header::ExecKey { start, pid, exec }
        graven_abi::header::Task {
            id, parent, exe_inode, cgroup, exe_device, tid, uid, gid, euid, egid, fsuid, loginuid, session, flags,
            comm, tty,
        }
        graven_abi::header::Header { abi, kind, tail, time, sequence, cpu, call, ring, entry, error, padding, task }
        graven_abi::path::Path { length, flags, mount, device }
        graven_abi::path::Name { path, base }
        graven_abi::path::Inode { inode, size, generation, mode, uid, gid, links, device, path, base }
        graven_abi::event::open::Open { file, outcome, mode, flags, truncated, device, padding }
        graven_abi::event::modify::Modify { file, command, outcome }
        graven_abi::event::create::Create { file, from, outcome, what, target, padding }
        graven_abi::event::unlink::Unlink { file, outcome, padding }
        graven_abi::event::rename::Rename { from, to, replaced, outcome, flags }
        graven_abi::event::attr::Attr { file, outcome, what, mode, uid, gid, flags, name, padding }
        graven_abi::event::exec::Exec {
            file, before, cwd, arguments, called_as, interpreter, arguments_cut, padding,
        }
        graven_abi::event::truncate::Truncate { file, outcome, padding }
        graven_abi::event::mmap::Mmap { file, outcome, protection }
        graven_abi::event::mount::Mount { target, flags, outcome, what, namespace, source, filesystem }
        graven_abi::event::module::Module { file, outcome, what, name, padding }
        graven_abi::event::bpf::Bpf { command, program_type, outcome, padding, name }
        graven_abi::event::tamper::Tamper { what, number, target, outcome }
        graven_abi::event::fork::Fork { child }
        graven_abi::event::exit::Exit { status, padding }
        graven_abi::event::uncovered::Uncovered { entry, padding, number }
        graven_abi::filter::InodeKey { pointer, inode, generation, padding }
        graven_abi::filter::Mark { inode, generation, class }
        graven_abi::filter::Verdict { generation, class, padding }
        graven_abi::filter::Generation { started, finished, distrust }
        graven_abi::filter::Resolved { key, device, found }
        graven_abi::overflow::Key { who, directory, device, kind, ring, second }
        graven_abi::overflow::Row { count, first, last, task, length, cut, name }
        graven_abi::syscalls::Tables { native, compat, x32 }
        graven_abi::syscalls::op::Shape { deed, what, dirfd, path, dirfd2, path2, value, value2 }
    }
}

/// The builds, as the agent embeds them, without the compiler's debug information.
const BUILDS: [(&str, &[u8]); 3] = [
    ("graven-sensor", sensor::OBJECT),
    ("graven-sensor-cast", sensor::OBJECT_CAST),
    ("graven-sensor-counted", sensor::OBJECT_COUNTED),
];

/// One as the linker left it.
fn linked(build: &str) -> Result<Vec<u8>> {
    let release = programs::path(programs::AGENT)?;
    let target = release.parent().and_then(|folder| folder.parent()).context("no target folder")?;
    let path: PathBuf = target.join("sensor").join(build).with_extension("linked");
    std::fs::read(&path).with_context(|| format!("{}: run cargo xtask build", path.display()))
}

#[test]
fn the_embedded_objects_are_those_that_were_linked() -> Result<()> {
    for (build, object) in BUILDS {
        let (embedded, linked) = (layout::programs(object)?, layout::programs(&linked(build)?)?);
        ensure!(embedded.len() > 5, "only {} sections with programs", embedded.len());
        ensure!(embedded.keys().eq(linked.keys()), "{:?} and {:?}", embedded.keys(), linked.keys());
        let differing: Vec<&String> =
            embedded.keys().filter(|name| embedded[*name] != linked[*name]).collect();
        ensure!(differing.is_empty(), "the embedded {build} is another one: {differing:?}");
    }
    Ok(())
}

#[test]
fn every_struct_has_the_same_layout_on_both_sides() -> Result<()> {
    let (sensor, agent) = (layout::of_crate(&linked("graven-sensor")?, "graven_abi")?, shared());
    let unknown: BTreeSet<&String> = sensor.keys().filter(|name| !agent.contains_key(*name)).collect();
    let offsets = "graven_abi::offsets::Offsets".to_owned();
    ensure!(unknown == BTreeSet::from([&offsets]), "structs that this test does not compare: {unknown:?}");
    for (name, here) in &agent {
        let there = sensor.get(name).with_context(|| format!("the sensor does not use {name}"))?;
        ensure!(there == here, "{name} in the sensor: {there:?}, in the agent: {here:?}");
    }
    Ok(())
}

#[test]
fn the_kernels_offsets_lie_in_the_objects_btf_where_the_agent_writes_them() -> Result<()> {
    BUILDS.iter().try_for_each(|(build, object)| lie_where_written(object).with_context(|| build.to_string()))
}

fn lie_where_written(object: &[u8]) -> Result<()> {
    let structs = layout::of_btf(object)?;
    let found: Vec<&Layout> =
        structs.iter().filter(|(name, _)| name == "Offsets").map(|(_, layout)| layout).collect();
    ensure!(found.len() == 1, "{} structs Offsets in the BTF", found.len());
    let count = graven_abi::offsets::COUNT;
    ensure!(found[0].size == size_of::<graven_abi::offsets::Offsets>() as u64, "{:?}", found[0]);
    // The agent writes them as an array, in the order of FIELDS.
    let mut places: Vec<u64> = found[0].fields.values().copied().collect();
    places.sort_unstable();
    ensure!(places == (0..count as u64).map(|n| n * 4).collect::<Vec<_>>(), "{:?}", found[0]);
    for (n, (structure, field)) in graven_abi::offsets::FIELDS.iter().enumerate() {
        let here = found[0].fields.iter().find(|(_, at)| **at == n as u64 * 4);
        let (here, _) = here.with_context(|| format!("{structure}.{field} has no place"))?;
        // `inode_mode` is for `inode.i_mode`. Some fields had another name in older kernels (`|`), some are not
        // in all (`?`).
        let fits = field.trim_end_matches('?').split('|').any(|field| {
            let last = field.rsplit('.').next().unwrap_or(field);
            here.ends_with(last) || here.ends_with(last.split_once('_').map_or(last, |(_, bare)| bare))
        });
        ensure!(fits, "{structure}.{field} stands where {here} is");
    }
    Ok(())
}

/// Headers of the kernel's in which commands are defined.
const HEADERS: [&str; 15] = [
    "linux/fs.h",
    "linux/btrfs.h",
    "linux/ext4.h",
    "linux/f2fs.h",
    "linux/fsverity.h",
    "linux/msdos_fs.h",
    "linux/loop.h",
    "linux/nbd.h",
    "linux/raid/md_u.h",
    "linux/mmc/ioctl.h",
    "linux/hdreg.h",
    "linux/dm-ioctl.h",
    "linux/nvme_ioctl.h",
    "linux/blkdev.h",
    "scsi/sg.h",
];

#[test]
fn every_command_has_the_number_that_the_kernels_headers_give_it() -> Result<()> {
    let place = tempfile::tempdir()?;
    let (source, program) = (place.path().join("commands.c"), place.path().join("commands"));
    let listed: Vec<_> = ioctl::CHANGES.iter().chain(ioctl::WHOLE).collect();
    let mut text = "#include <stdio.h>\n".to_owned();
    for header in HEADERS {
        writeln!(text, "#if __has_include(<{header}>)\n#include <{header}>\n#endif")?;
    }
    text += "int main(void) {\n";
    for (_, name) in &listed {
        writeln!(text, "#ifdef {name}\nprintf(\"{name} %u\\n\", (unsigned)({name}));\n#endif")?;
    }
    std::fs::write(&source, text + "}\n")?;
    let compiled = Command::new("cc").arg("-o").arg(&program).arg(&source).output()?;
    ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let said = Command::new(&program).output()?;
    let mut known = 0;
    for line in String::from_utf8(said.stdout)?.lines() {
        let (name, number) = line.split_once(' ').context("no number")?;
        let ours = listed.iter().find(|(_, ours)| *ours == name).context("not listed")?.0;
        ensure!(number.parse::<u32>()? == ours, "{name} is {number} and not {ours}");
        known += 1;
    }
    println!("{known} of {} commands are in the headers", listed.len());
    // Those of ext4 and XFS, and the newest, are in few.
    ensure!(known >= 60, "only {known} commands are in the kernel's headers");
    Ok(())
}
