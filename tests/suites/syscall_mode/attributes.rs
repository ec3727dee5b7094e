//! What is known of a file beside its content.

use std::path::Path;

use anyhow::Result;
use graven_tests::place::Ground;
use graven_tests::record::{Expected, activity};
use graven_tests::words;

use crate::Take;

fn attr(kind: &str, activity: u64, path: &Path) -> Expected {
    Expected::new("attr", activity, path).with("/unmapped/requested/kind", kind)
}

pub(crate) fn a_mode_is_recorded_as_asked_for(take: &mut Take<'_, '_>) -> Result<()> {
    let changed =
        |path: &Path| attr("mode", activity::SECURITY, path).with("/unmapped/requested/mode", "4750");
    for call in ["chmod", "fchmod", "fchmodat"] {
        let file = take.scene.file(call)?;
        take.one(call, &words![file, "04750"], changed(&file))?;
    }
    let file = take.scene.file("fchmodat2")?;
    take.newer("fchmodat2", &words![file, "04750", "0"], changed(&file))
}

pub(crate) fn an_owner_is_recorded_as_asked_for(take: &mut Take<'_, '_>) -> Result<()> {
    let changed = |path: &Path| {
        attr("owner", activity::SECURITY, path)
            .with("/unmapped/requested/uid", 1000)
            .with("/unmapped/requested/gid", 100)
    };
    let mut calls = vec!["chown", "fchown", "lchown"];
    if take.is_compat() {
        calls.extend(["chown32", "fchown32", "lchown32"]);
    }
    for call in calls {
        let file = take.scene.file(call)?;
        take.one(call, &words![file, "1000", "100"], changed(&file))?;
    }
    let file = take.scene.file("fchownat")?;
    take.one("fchownat", &words![file, "1000", "100", "0"], changed(&file))?;
    // The owner stays: -1, which the 16-bit calls spell otherwise.
    let file = take.scene.file("group")?;
    let expected = attr("owner", activity::SECURITY, &file)
        .with("/unmapped/requested/uid", serde_json::Value::Null)
        .with("/unmapped/requested/gid", 100);
    take.one("fchownat", &words![file, "0xffffffff", "100", "0"], expected)?;
    if take.is_compat() {
        let file = take.scene.file("group16")?;
        let expected = attr("owner", activity::SECURITY, &file)
            .with("/unmapped/requested/uid", serde_json::Value::Null)
            .with("/unmapped/requested/gid", 100);
        take.one("chown", &words![file, "0xffff", "100"], expected)?;
    }
    Ok(())
}

pub(crate) fn times_are_attributes(take: &mut Take<'_, '_>) -> Result<()> {
    let changed = |path: &Path| attr("times", activity::ATTRIBUTES, path);
    for call in ["utime", "utimes", "futimesat"] {
        let file = take.scene.file(call)?;
        take.one(call, &words![file, "0"], changed(&file))?;
    }
    let file = take.scene.file("utimensat")?;
    take.one("utimensat", &words![file, "0", "0"], changed(&file))?;
    if take.is_compat() {
        let file = take.scene.file("utimensat_time64")?;
        take.newer("utimensat_time64", &words![file, "0", "0"], changed(&file))?;
    }
    Ok(())
}

/// An attribute was set under this name, and removed.
fn xattr(kind: &str, activity: u64, name: &str, path: &Path) -> Expected {
    attr(kind, activity, path).with("/unmapped/requested/xattr", name)
}

pub(crate) fn an_extended_attribute_is_recorded_by_its_name(take: &mut Take<'_, '_>) -> Result<()> {
    const NAME: &str = "user.graven";
    for call in ["setxattr", "lsetxattr", "fsetxattr"] {
        let file = take.scene.file(call)?;
        // A tmpfs has these since 6.6.
        take.newer(
            call,
            &words![file, NAME, "value", "0"],
            xattr("xattr", activity::ATTRIBUTES, NAME, &file),
        )?;
    }
    for call in ["removexattr", "lremovexattr", "fremovexattr"] {
        let file = take.scene.file(call)?;
        if set(&file, NAME, b"value").is_ok() {
            take.one(call, &words![file, NAME], xattr("xattr-removed", activity::ATTRIBUTES, NAME, &file))?;
        }
    }
    let file = take.scene.file("setxattrat")?;
    take.newer(
        "setxattrat",
        &words![file, NAME, "value"],
        xattr("xattr", activity::ATTRIBUTES, NAME, &file),
    )?;
    let file = take.scene.file("removexattrat")?;
    if set(&file, NAME, b"value").is_ok() {
        let expected = xattr("xattr-removed", activity::ATTRIBUTES, NAME, &file);
        take.newer("removexattrat", &words![file, "0", NAME], expected)?;
    }
    Ok(())
}

pub(crate) fn an_extended_attribute_that_the_kernel_acts_on_is_security(
    take: &mut Take<'_, '_>,
) -> Result<()> {
    for name in ["trusted.graven", "security.graven"] {
        let file = take.scene.file(name)?;
        take.one(
            "setxattr",
            &words![file, name, "value", "0"],
            xattr("xattr", activity::SECURITY, name, &file),
        )?;
        // Not its change, but a look at its times: the next one must not fall into the same tick.
        file.metadata()?;
        take.one(
            "removexattr",
            &words![file, name],
            xattr("xattr-removed", activity::SECURITY, name, &file),
        )?;
    }
    Ok(())
}

pub(crate) fn an_access_control_list_and_capabilities_are_security(take: &mut Take<'_, '_>) -> Result<()> {
    // Version 2; owner rw-, user 1000 r--, group r--, mask r--, others r--: tag, permissions, id.
    const LIST: &str = "0x02000000\
        01000600ffffffff0200040\
        0e803000004000400ffffffff10000400ffffffff20000400ffffffff";
    // Version 2, effective: CAP_NET_RAW.
    const CAPABILITIES: &str = "0x0100000200200000000000000000000000000000";
    for (name, value) in [("system.posix_acl_access", LIST), ("security.capability", CAPABILITIES)] {
        let file = take.scene.file(name)?;
        take.newer(
            "setxattr",
            &words![file, name, value, "0"],
            xattr("xattr", activity::SECURITY, name, &file),
        )?;
    }
    Ok(())
}

/// As another process, whose records are not looked at.
fn set(file: &Path, name: &str, value: &[u8]) -> Result<()> {
    rustix::fs::setxattr(file, name, value, rustix::fs::XattrFlags::empty())?;
    // As in `Scene::file`.
    file.metadata()?;
    Ok(())
}

pub(crate) fn inode_flags_are_recorded_as_asked_for(take: &mut Take<'_, '_>) -> Result<()> {
    // FS_NODUMP_FL, and on ext4 FS_EXTENT_FL, which cannot be taken away.
    let (flags, shown) = match take.scene.ground() {
        Ground::Ext4 => ("0x4000080000000000", "0x80040"),
        _ => ("0x4000000000000000", "0x40"),
    };
    // FS_IOC_SETFLAGS and its 32-bit form.
    let command = if take.is_compat() { "0x40046602" } else { "0x40086602" };
    let changed = |path: &Path, flags: &str| {
        attr("flags", activity::ATTRIBUTES, path).with("/unmapped/requested/flags", flags)
    };
    let file = take.scene.file("setflags")?;
    take.newer("ioctl", &words![file, command, flags], changed(&file, shown))?;
    // FS_IOC_FSSETXATTR with FS_XFLAG_APPEND in a `struct fsxattr`, and at once without it, or nobody could remove the
    // file: recorded as FS_APPEND_FL.
    let extended = |first: &str| format!("0x{first}{}", "00".repeat(27));
    let file = take.scene.file("fssetxattr")?;
    let words = words![
        "ioctl",
        file,
        "0x401c5820",
        extended("10"),
        "then",
        "ioctl",
        file,
        "0x401c5820",
        extended("00")
    ];
    let by = |expected: Expected| expected.by(take.entry.name(), "ioctl");
    let without =
        attr("flags", activity::ATTRIBUTES, &file).with("/unmapped/requested/flags", serde_json::Value::Null);
    let expected = vec![by(changed(&file, "0x20")), by(without)];
    if let Some(why) = take.scene.act_if_there(&words, expected)? {
        crate::skipped("ioctl", &why);
    }
    // The same in a `struct file_attr`, with FS_XFLAG_NODUMP.
    let attributes = format!("0x80{}", "00".repeat(23));
    let file = take.scene.file("file_setattr")?;
    take.newer("file_setattr", &words![file, attributes, "0"], attr("flags", activity::ATTRIBUTES, &file))
}
