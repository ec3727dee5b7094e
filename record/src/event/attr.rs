//! The mode, the owner, the times, an extended attribute or the flags of a file were changed.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class, word_of};
use crate::text::quoted;
use crate::v1::{Attr, AttrKind, File, Outcome};

/// Bits of a mode that chmod sets.
const PERMISSIONS: u32 = 0o7777;
/// Beginnings of the names of extended attributes that say who may do what: capabilities, labels and integrity
/// (`security.`), access control lists, and what only an administrator may set.
const SECURITY: [&[u8]; 3] = [b"security.", b"system.posix_acl_", b"trusted."];
/// Flags that forbid a change (`FS_IMMUTABLE_FL`, `FS_APPEND_FL`).
const IMMUTABLE: u64 = 0x10;
const APPEND_ONLY: u64 = 0x20;

impl View for Attr {
    /// Mode, owner and some extended attributes say who may do what with a file: they are its security.
    fn activity(&self) -> Activity {
        match self.kind() {
            AttrKind::Mode | AttrKind::Owner => class::FILE.activity(7, "Set Security"),
            AttrKind::Xattr | AttrKind::XattrRemoved if self.is_security() => {
                class::FILE.activity(7, "Set Security")
            }
            _ => class::FILE.activity(6, "Set Attributes"),
        }
    }

    fn verb(&self) -> &'static str {
        match self.kind() {
            AttrKind::Mode => "chmod",
            AttrKind::Owner => "chown",
            AttrKind::Times => "set times",
            AttrKind::Xattr => "setxattr",
            AttrKind::XattrRemoved => "removexattr",
            AttrKind::Flags => "chattr",
            AttrKind::Unspecified => "set attributes",
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn folded(&self) -> u32 {
        self.folded
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn detail(&self) -> String {
        match self.kind() {
            AttrKind::Xattr | AttrKind::XattrRemoved if !self.name.is_empty() => quoted(&self.name),
            AttrKind::Flags => self.flag_words().unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let (done, to_do, object) = match self.kind() {
            AttrKind::Mode => match self.mode {
                Some(mode) => {
                    ("changed", "change", format!("the mode of {path} to {:04o}", mode & PERMISSIONS))
                }
                None => ("changed", "change", format!("the mode of {path}")),
            },
            AttrKind::Owner => ("changed", "change", format!("the owner of {path}{}", self.owner())),
            AttrKind::Times => ("changed", "change", format!("the times of {path}")),
            AttrKind::Xattr => ("set", "set", format!("{} of {path}", self.xattr())),
            AttrKind::XattrRemoved => ("removed", "remove", format!("{} of {path}", self.xattr())),
            AttrKind::Flags => {
                let to = self.flag_words().map(|words| format!(" to {words}")).unwrap_or_default();
                ("changed", "change", format!("the flags of {path}{to}"))
            }
            AttrKind::Unspecified => ("changed", "change", format!("attributes of {path}")),
        };
        file::act(who, self.outcome(), done, to_do, &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        let mut asked = Object::new();
        asked.text("kind", &word_of("ATTR_KIND_", self.kind().as_str_name()));
        asked.maybe("mode", self.mode.map(|mode| format!("{:04o}", mode & PERMISSIONS)));
        asked.maybe("uid", self.uid).maybe("gid", self.gid);
        asked.text("xattr", &scene.bytes("unmapped.requested.xattr", &self.name));
        asked.maybe("flags", (self.flags != 0).then(|| format!("{:#x}", self.flags)));
        out.object("requested", asked);
    }
}

impl Attr {
    fn is_security(&self) -> bool {
        SECURITY.iter().any(|beginning| self.name.starts_with(beginning))
    }

    fn owner(&self) -> String {
        match (self.uid, self.gid) {
            (Some(uid), Some(gid)) => format!(" to {uid}:{gid}"),
            (Some(uid), None) => format!(" to {uid}"),
            (None, Some(gid)) => format!(" to :{gid}"),
            (None, None) => String::new(),
        }
    }

    fn xattr(&self) -> String {
        match self.name.as_slice() {
            [] => "an extended attribute".into(),
            name => format!("extended attribute {}", quoted(name)),
        }
    }

    /// Those that forbid a change; the number when it is others. None when none is set, or nobody knows which.
    fn flag_words(&self) -> Option<String> {
        match (self.flags & IMMUTABLE != 0, self.flags & APPEND_ONLY != 0) {
            (true, true) => Some("immutable and append only".into()),
            (true, false) => Some("immutable".into()),
            (false, true) => Some("append only".into()),
            (false, false) => (self.flags != 0).then(|| format!("{:#x}", self.flags)),
        }
    }
}
