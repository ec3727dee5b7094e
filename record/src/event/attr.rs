//! The mode or the owner of a file was changed.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::{Attr, AttrKind, File, Outcome};

/// Bits of a mode that chmod sets.
const PERMISSIONS: u32 = 0o7777;

impl View for Attr {
    /// Mode and owner say who may do what with a file: they are its security, not its attributes.
    fn activity(&self) -> Activity {
        match self.kind() {
            AttrKind::Mode | AttrKind::Owner => class::FILE.activity(7, "Set Security"),
            _ => class::FILE.activity(6, "Set Attributes"),
        }
    }

    fn verb(&self) -> &'static str {
        match self.kind() {
            AttrKind::Mode => "chmod",
            AttrKind::Owner => "chown",
            _ => "set attributes",
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let object = match self.kind() {
            AttrKind::Mode => match self.mode {
                Some(mode) => format!("the mode of {path} to {:04o}", mode & PERMISSIONS),
                None => format!("the mode of {path}"),
            },
            AttrKind::Owner => format!("the owner of {path}{}", self.owner()),
            _ => format!("attributes of {path}"),
        };
        file::act(who, self.outcome(), "changed", "change", &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        let mut asked = Object::new();
        asked.maybe("mode", self.mode.map(|mode| format!("{:04o}", mode & PERMISSIONS)));
        asked.maybe("uid", self.uid).maybe("gid", self.gid);
        out.object("requested", asked);
    }
}

impl Attr {
    fn owner(&self) -> String {
        match (self.uid, self.gid) {
            (Some(uid), Some(gid)) => format!(" to {uid}:{gid}"),
            (Some(uid), None) => format!(" to {uid}"),
            (None, Some(gid)) => format!(" to :{gid}"),
            (None, None) => String::new(),
        }
    }
}
