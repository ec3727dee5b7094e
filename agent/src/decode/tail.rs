//! The strings behind a record's fixed part, taken off in the order in which the sensor appended them.

use graven_abi::path::{self, flag};
use graven_record::v1::PathSource;

use super::DecodeError;
use super::observed::{DentryPath, Inode, Place};

/// What is left of the tail.
pub(super) struct Tail<'a>(pub(super) &'a [u8]);

impl<'a> Tail<'a> {
    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Tail(what))?;
        self.0 = rest;
        Ok(taken)
    }

    /// An inode with its name; the name's strings come next in the tail.
    pub(super) fn inode(&mut self, inode: &path::Inode) -> Result<Inode, DecodeError> {
        let argument = inode.path.flags & flag::ARGUMENT != 0;
        let place = if argument { self.argument(inode)? } else { self.dentries(inode)? };
        Ok(Inode {
            place,
            device: inode.device.into(),
            inode: inode.inode,
            generation: inode.generation,
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            size: inode.size,
            links: inode.links,
        })
    }

    /// Another name of the same inode, which comes next.
    pub(super) fn name(
        &mut self,
        name: &path::Name,
        inode: &path::Inode,
        before: &Inode,
    ) -> Result<Inode, DecodeError> {
        let mut other = self.inode(&path::Inode { path: name.path, base: name.base, ..*inode })?;
        if name.path.flags & flag::BESIDE != 0 {
            beside(&mut other.place, &before.place);
        }
        Ok(other)
    }

    fn dentries(&mut self, inode: &path::Inode) -> Result<Place, DecodeError> {
        let file = inode.path.flags & flag::FILE != 0;
        let source = if file { PathSource::File } else { PathSource::Inode };
        Ok(Place::Dentry { path: self.path(&inode.path)?, source })
    }

    fn argument(&mut self, inode: &path::Inode) -> Result<Place, DecodeError> {
        let bytes = self.take(inode.path.length.into(), "argument")?;
        let cut = bytes.len() >= graven_abi::limits::PATH;
        let argument = super::until_nul(bytes).to_vec();
        let base = match inode.base.flags & flag::PRESENT != 0 {
            true => Some(self.path(&inode.base)?),
            false => None,
        };
        match base {
            Some(mut directory) if inode.path.flags & flag::LEAF != 0 => {
                directory.names.push(b'/');
                directory.names.extend_from_slice(last_component(&argument));
                Ok(Place::Dentry { path: directory, source: PathSource::Inode })
            }
            base => Ok(Place::Argument { base, argument, cut }),
        }
    }

    /// Components leaf first, each ended by NUL, turned root first.
    pub(super) fn path(&mut self, path: &path::Path) -> Result<DentryPath, DecodeError> {
        let bytes = self.take(path.length.into(), "path")?;
        Ok(DentryPath {
            device: path.device.into(),
            mount: (path.flags & flag::MOUNT != 0).then_some(path.mount),
            names: DentryPath::turned(bytes),
            cut: path.flags & flag::CUT != 0,
            internal: path.flags & flag::INTERNAL != 0,
            unhashed: path.flags & flag::UNHASHED != 0,
        })
    }
}

/// Puts a name into the directory of another path.
fn beside(name: &mut Place, other: &Place) {
    if let (Place::Dentry { path: name, .. }, Place::Dentry { path: other, .. }) = (name, other) {
        name.names = [other.directory(), &name.names].concat();
        name.cut |= other.cut;
    }
}

/// What remains of an argument when the directory is known: `a/b/` names `b`.
fn last_component(argument: &[u8]) -> &[u8] {
    argument.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn names_come_out_root_first_and_keep_bytes_that_are_no_utf_8() {
        let bytes = b"\xffx\0dir\0";
        let named = path::Path { length: 7, flags: flag::PRESENT, ..path::Path::default() };
        let path = Tail(bytes).path(&named).unwrap();
        assert_eq!(path.names, b"/dir/\xffx");
    }

    #[test]
    fn an_argument_below_a_known_directory_gives_its_last_component_only() {
        let inode = path::Inode {
            path: path::Path {
                length: 10,
                flags: flag::PRESENT | flag::ARGUMENT | flag::LEAF,
                ..Default::default()
            },
            base: path::Path { length: 4, flags: flag::PRESENT, ..Default::default() },
            ..Default::default()
        };
        let found = Tail(b"/tmp/x/me\0etc\0").inode(&inode).unwrap();
        let Place::Dentry { path, .. } = found.place else { unreachable!("{found:?}") };
        assert_eq!(path.names, b"/etc/me");
    }

    #[test]
    fn a_name_beside_another_lies_in_its_directory() {
        let named = |length, flags| path::Path { length, flags: flag::PRESENT | flags, ..Default::default() };
        let inode = path::Inode { path: named(10, flag::CUT), inode: 7, ..Default::default() };
        let to = path::Name { path: named(4, flag::BESIDE), ..Default::default() };
        let mut tail = Tail(b"old\0b\0dir\0new\0");
        let from = tail.inode(&inode).unwrap();
        let to = tail.name(&to, &inode, &from).unwrap();
        let Place::Dentry { path, .. } = to.place else { unreachable!("{to:?}") };
        assert_eq!(path.names, b"/dir/b/new");
        assert!(path.cut && to.inode == 7 && tail.0.is_empty());
    }

    #[test]
    fn a_path_longer_than_the_tail_is_refused() {
        let named = path::Path { length: 9, flags: flag::PRESENT, ..path::Path::default() };
        assert_eq!(Tail(b"x\0").path(&named), Err(DecodeError::Tail("path")));
    }
}
