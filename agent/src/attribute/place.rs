//! From how the kernel named a file to its path on this host.

use graven_record::v1::{File, PathSource};

use super::mounts::Mounts;
use crate::decode::observed::{Inode, Place};

/// A file with its host path.
pub(super) fn file(mounts: &Mounts, inode: &Inode) -> File {
    let device = device(inode);
    let (path, aliases, source, cut) = match &inode.place {
        Place::Dentry { path, source } => {
            let names = mounts.resolve(path);
            (names.path, names.aliases, *source, path.cut)
        }
        Place::Argument { base, argument, cut } => {
            // An absolute argument has no base: what is known of the directory is known of the whole.
            let cut = *cut || base.as_ref().is_some_and(|base| base.cut);
            let base = base.as_ref().map(|base| mounts.resolve(base).path);
            (lexical(base.as_deref(), argument), Vec::new(), PathSource::Argument, cut)
        }
    };
    File {
        path,
        path_source: source.into(),
        device,
        inode: inode.inode,
        generation: inode.generation,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        size: inode.size,
        links: inode.links,
        aliases,
        cut,
        filesystem: mounts.filesystem(device).to_owned(),
    }
}

/// The device of an inode, or of the directory that it is named by.
pub(super) fn device(inode: &Inode) -> u64 {
    if inode.device != 0 {
        return inode.device;
    }
    match &inode.place {
        Place::Dentry { path, .. } => path.device,
        Place::Argument { .. } => 0,
    }
}

/// Whether the name is gone: a memfd has none, a deleted file has none any more.
pub(super) fn is_nameless(mounts: &Mounts, inode: &Inode) -> (bool, bool) {
    let Place::Dentry { path, .. } = &inode.place else { return (false, false) };
    // A memfd lies in the root of a tmpfs that only the kernel has mounted.
    // Whoever made it chose what follows the colon, with or without a slash.
    let memfd =
        path.unhashed && path.internal && path.names.starts_with(b"/memfd:") && !mounts.knows(path.device);
    (memfd, path.unhashed && !memfd)
}

/// What the caller said, as a path, by its text alone: links in it were not followed.
pub(super) fn lexical(base: Option<&[u8]>, argument: &[u8]) -> Vec<u8> {
    let base = match (argument.first(), base) {
        (Some(b'/'), _) => b"/",
        (_, Some(base)) => base,
        (_, None) => return argument.to_vec(),
    };
    // `fs:8:1:` is no name that `..` could leave.
    let root = base.iter().position(|&byte| byte == b'/').unwrap_or(base.len());
    let (device, base) = base.split_at(root);
    let mut names = Vec::new();
    for name in base.split(|&byte| byte == b'/').chain(argument.split(|&byte| byte == b'/')) {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    if names.is_empty() {
        return [device, b"/"].concat();
    }
    names.iter().fold(device.to_vec(), |mut path, name| {
        path.push(b'/');
        path.extend_from_slice(name);
        path
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::observed::DentryPath;

    fn said(base: Option<&str>, argument: &str) -> String {
        String::from_utf8_lossy(&lexical(base.map(str::as_bytes), argument.as_bytes())).into_owned()
    }

    #[test]
    fn an_argument_is_joined_to_its_directory_and_normalised() {
        assert_eq!(said(Some("/etc"), "motd"), "/etc/motd");
        assert_eq!(said(Some("/etc/x"), "../motd"), "/etc/motd");
        assert_eq!(said(Some("/etc"), "../../../tmp/./x//y/"), "/tmp/x/y");
        assert_eq!(said(Some("/etc"), "/usr/../opt"), "/opt");
        assert_eq!(said(None, "/a/b"), "/a/b");
        assert_eq!(said(None, "../a"), "../a");
        assert_eq!(said(Some("fs:8:1:/x"), "../../y"), "fs:8:1:/y");
        assert_eq!(said(Some("/"), ""), "/");
    }

    fn inode(path: DentryPath) -> Inode {
        Inode {
            place: Place::Dentry { path, source: PathSource::File },
            device: 0,
            inode: 5,
            generation: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            links: 0,
        }
    }

    #[test]
    fn an_argument_below_a_path_without_its_beginning_has_none_either() {
        let base = DentryPath { cut: true, names: b"/deep".to_vec(), ..DentryPath::default() };
        let place = Place::Argument { base: Some(base), argument: b"x".to_vec(), cut: false };
        let named = Inode { place, ..inode(DentryPath::default()) };
        assert!(file(&Mounts::default(), &named).cut);
    }

    #[test]
    fn a_memfd_and_a_deleted_file_are_told_apart() {
        let mounts = Mounts::parse(b"27 1 254:0 / / rw - ext4 x rw\n");
        let path = |device, name: &str, unhashed| {
            let (names, internal) = (format!("/{name}").into(), device == 1);
            inode(DentryPath { device, names, internal, unhashed, ..DentryPath::default() })
        };
        assert_eq!(is_nameless(&mounts, &path(1, "memfd:x", true)), (true, false));
        assert_eq!(is_nameless(&mounts, &path(1, "memfd:a/b", true)), (true, false));
        assert_eq!(
            is_nameless(&mounts, &path(254 << 20, "memfd:x", true)),
            (false, true),
            "a file may be called so"
        );
        assert_eq!(is_nameless(&mounts, &path(254 << 20, "x", true)), (false, true));
        assert_eq!(is_nameless(&mounts, &path(254 << 20, "memfd:x", false)), (false, false));
    }

    #[test]
    fn a_file_keeps_what_the_kernel_said_and_gets_its_type() {
        let mounts = Mounts::parse(b"27 1 254:0 / / rw - ext4 x rw\n");
        let path =
            DentryPath { device: 254 << 20, names: b"/a".to_vec(), cut: true, ..DentryPath::default() };
        let file = file(&mounts, &inode(path));
        assert_eq!(
            (file.path.as_slice(), file.filesystem.as_str(), file.cut),
            (b"/a".as_slice(), "ext4", true)
        );
        assert_eq!((file.device, file.inode), (254 << 20, 5));
    }

    proptest! {
        #[test]
        fn a_normalised_path_has_no_dots_and_no_empty_names(argument in "[a/.]{0,20}") {
            let path = lexical(Some(b"/b"), argument.as_bytes());
            prop_assert!(path.starts_with(b"/"));
            let names = path[1..].split(|&byte| byte == b'/').filter(|_| path.len() > 1);
            for name in names {
                prop_assert!(!name.is_empty() && name != b"." && name != b"..");
            }
        }
    }
}
