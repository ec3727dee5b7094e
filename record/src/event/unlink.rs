//! A name of a file, or an empty directory, was removed.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::{File, Outcome, Unlink};

impl View for Unlink {
    fn activity(&self) -> Activity {
        class::FILE.activity(4, "Delete")
    }

    fn verb(&self) -> &'static str {
        "delete"
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
        file::act(who, self.outcome(), "deleted", "delete", &file::shown_or_unknown(self.file.as_ref()))
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }
}
