//! A file was cut or stretched to a size by its name or descriptor, not by an open.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::{File, Outcome, Truncate};

impl View for Truncate {
    fn activity(&self) -> Activity {
        class::FILE.activity(3, "Update")
    }

    fn verb(&self) -> &'static str {
        "truncate"
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

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let object = match &self.file {
            // Without a mode nothing was read from the inode, so the size is none either.
            Some(file) if file.mode != 0 && self.outcome() != Outcome::Refused => {
                format!("{path} to {} bytes", file.size)
            }
            _ => path,
        };
        file::act(who, self.outcome(), "truncated", "truncate", &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }
}
