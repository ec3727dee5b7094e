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

    fn detail(&self) -> String {
        self.size().map(|size| format!("to {size} bytes")).unwrap_or_default()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let object = match self.size() {
            Some(size) => format!("{path} to {size} bytes"),
            None => path,
        };
        file::act(who, self.outcome(), "truncated", "truncate", &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }
}

impl Truncate {
    /// The new size. Without a mode nothing was read from the inode; after a refusal it is the old one.
    fn size(&self) -> Option<u64> {
        let file = self.file.as_ref().filter(|file| file.mode != 0)?;
        (self.outcome() != Outcome::Refused).then_some(file.size)
    }
}
