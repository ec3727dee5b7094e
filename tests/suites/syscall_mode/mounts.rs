//! Mounts, each in a mount namespace of the actor's own: nothing of them is seen by the host.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use graven_tests::actor::NOBODY;
use graven_tests::record::{Expected, activity};
use graven_tests::words;

use crate::{Take, scene, skipped};

/// Of mount(2): MS_BIND, MS_REMOUNT | MS_RDONLY, the same of one mount only, MS_MOVE, MS_SHARED.
const BIND: &str = "4096";
const REMOUNT: &str = "33";
const REMOUNT_BIND: &str = "4129";
const MOVE: &str = "8192";
const SHARED: &str = "1048576";

/// What a mount in the actor's own namespace is recorded as: context, and no violation.
fn mounted(kind: &str, target: &Path) -> Expected {
    let activity = match kind {
        "mount" | "bind" | "move" => activity::MOUNT,
        "unmount" => activity::UNMOUNT,
        _ => activity::UPDATE,
    };
    // What a mount really did is in no inode that the sensor watches.
    Expected::new("mount", activity, target).recorded().reported().with("/unmapped/mount/kind", kind)
}

/// unshare(2) is no record; that its mounts are private is one, by the native call.
fn made_private() -> Expected {
    elsewhere("propagation", Path::new("/")).by("native", "mount")
}

/// Not in the host's namespace.
fn elsewhere(kind: &str, target: &Path) -> Expected {
    mounted(kind, target).with("/unmapped/mount/initial_namespace", false)
}

/// Everything that a process does after it has a namespace of its own.
fn privately(
    take: &mut Take<'_, '_>,
    words: &[OsString],
    expected: Vec<(Expected, &'static str)>,
) -> Result<()> {
    let all = [&words!["private", "then"], words].concat();
    let entry = take.entry.name();
    let calls = expected.into_iter().map(|(expected, call)| expected.by(entry, call));
    let expected = [made_private()].into_iter().chain(calls).collect();
    if let Some(why) = take.scene.act_if_there(&all, expected)? {
        skipped("mounts", &why);
    }
    Ok(())
}

pub(crate) fn a_mount_of_its_own_namespace_is_recorded_by_kind(take: &mut Take<'_, '_>) -> Result<()> {
    let (place, other) = (take.scene.directory("place")?, take.scene.directory("other")?);
    let tmpfs = |target: &Path| {
        elsewhere("mount", target)
            .with("/unmapped/mount/filesystem", "tmpfs")
            .with("/unmapped/mount/source", "none")
    };
    privately(
        take,
        &words![
            "mount", "none", place, "tmpfs", "0", "NULL", "then", "mount", "NULL", place, "NULL", REMOUNT,
            "NULL", "then", "umount2", place, "2",
        ],
        vec![
            (tmpfs(&place), "mount"),
            (elsewhere("remount", &place), "mount"),
            (elsewhere("unmount", &place), "umount2"),
        ],
    )?;
    let source = other.to_string_lossy().into_owned();
    privately(
        take,
        &words![
            "mount",
            other,
            place,
            "NULL",
            BIND,
            "NULL",
            "then",
            "mount",
            "NULL",
            place,
            "NULL",
            REMOUNT_BIND,
            "NULL",
            "then",
            "mount",
            "NULL",
            place,
            "NULL",
            SHARED,
            "NULL",
        ],
        vec![
            (elsewhere("bind", &place).with("/unmapped/mount/source", source), "mount"),
            (elsewhere("remount", &place), "mount"),
            (elsewhere("propagation", &place), "mount"),
        ],
    )?;
    let source = place.to_string_lossy().into_owned();
    privately(
        take,
        &words![
            "mount", "none", place, "tmpfs", "0", "NULL", "then", "mount", place, other, "NULL", MOVE,
            "NULL",
        ],
        vec![
            (tmpfs(&place), "mount"),
            (elsewhere("move", &other).with("/unmapped/mount/source", source), "mount"),
        ],
    )?;
    if take.is_compat() {
        let words: &[OsString] =
            &words!["mount", "none", place, "tmpfs", "0", "NULL", "then", "umount", place];
        privately(take, words, vec![(tmpfs(&place), "mount"), (elsewhere("unmount", &place), "umount")])?;
    }
    Ok(())
}

pub(crate) fn a_mount_by_the_new_calls_is_recorded(take: &mut Take<'_, '_>) -> Result<()> {
    let (place, other) = (take.scene.directory("place")?, take.scene.directory("other")?);
    // fsopen, FSCONFIG_CMD_CREATE, fsmount, MOVE_MOUNT_F_EMPTY_PATH. Step 1 is `private`.
    privately(
        take,
        &words![
            "fsopen",
            "tmpfs",
            "0",
            "then",
            "fsconfig",
            "@2",
            "6",
            "NULL",
            "NULL",
            "0",
            "then",
            "fsmount",
            "@2",
            "0",
            "0",
            "then",
            "--at",
            "@4",
            "move_mount",
            "",
            place,
            "4",
        ],
        vec![(elsewhere("move", &place), "move_mount")],
    )?;
    // open_tree(OPEN_TREE_CLONE): a bind mount.
    privately(
        take,
        &words!["open_tree", other, "1", "then", "--at", "@2", "move_mount", "", place, "4"],
        vec![(elsewhere("move", &place), "move_mount")],
    )?;
    // `struct mount_attr`: MOUNT_ATTR_RDONLY is set.
    let attributes = format!("0x01{}", "00".repeat(31));
    privately(
        take,
        &words!["mount", other, place, "NULL", BIND, "NULL", "then", "mount_setattr", place, "0", attributes,],
        vec![(elsewhere("bind", &place), "mount"), (elsewhere("attributes", &place), "mount_setattr")],
    )?;
    if take.entry != graven_tests::calls::Entry::Native {
        return Ok(());
    }
    // Which file system is known, and that the host has it mounted nowhere.
    let reconfigured = Expected::somewhere("mount", activity::UPDATE)
        .recorded()
        .reported()
        .with("/unmapped/mount/kind", "reconfigure")
        .with("/unmapped/mount/initial_namespace", false);
    // A copy of the tree with other attributes: OPEN_TREE_CLONE.
    let expected = elsewhere("attributes", &other);
    privately(take, &words!["open_tree_attr", other, "1", attributes], vec![(expected, "open_tree_attr")])?;
    // fspick, FSCONFIG_SET_FLAG "ro", FSCONFIG_CMD_RECONFIGURE: what `mount -o remount,ro` does today.
    privately(
        take,
        &words![
            "mount", "none", place, "tmpfs", "0", "NULL", "then", "fspick", place, "0", "then", "fsconfig",
            "@3", "0", "ro", "NULL", "0", "then", "fsconfig", "@3", "7", "NULL", "NULL", "0",
        ],
        vec![(elsewhere("mount", &place), "mount"), (reconfigured, "fsconfig")],
    )
}

#[test]
fn another_root_is_recorded() -> Result<()> {
    scene("pivot", |scene| {
        let root = scene.directory("root")?;
        std::fs::create_dir(root.join("old"))?;
        let old = root.join("old");
        let words: &[OsString] = &words![
            "private",
            "then",
            "mount",
            root,
            root,
            "NULL",
            BIND,
            "NULL",
            "then",
            "pivot_root",
            root,
            old,
        ];
        let expected = vec![
            made_private(),
            elsewhere("bind", &root).by("native", "mount"),
            elsewhere("pivot-root", &root).by("native", "pivot_root"),
        ];
        if let Some(why) = scene.act_if_there(words, expected)? {
            skipped("mounts", &why);
        }
        Ok(())
    })
}

#[test]
fn a_refused_mount_swap_or_accounting_is_recorded_as_refused() -> Result<()> {
    scene("refused-mounts", |scene| {
        let nobody = scene.actor().as_user(NOBODY);
        let (place, file) = (scene.directory("place")?, scene.file("file")?);
        let refused = |kind: &str, path: &Path, call: &str| mounted(kind, path).refused().by("native", call);
        let attempts = [
            (
                words!["mount", "none", place, "tmpfs", "0", "NULL"].to_vec(),
                refused("mount", &place, "mount"),
            ),
            (words!["umount2", place, "0"].to_vec(), refused("unmount", &place, "umount2")),
            (words!["swapon", file, "0"].to_vec(), refused("swap-on", &file, "swapon")),
            (words!["swapoff", file].to_vec(), refused("swap-off", &file, "swapoff")),
            (words!["acct", file].to_vec(), refused("accounting", &file, "acct")),
        ];
        for (words, expected) in attempts {
            match nobody.attempt(&[words!["--error", "1"].to_vec(), words].concat())? {
                graven_tests::actor::Attempt::Made(acted) => scene.expect(acted, vec![expected]),
                graven_tests::actor::Attempt::Lacking(why) => skipped("mounts", &why),
            }
        }
        Ok(())
    })
}
