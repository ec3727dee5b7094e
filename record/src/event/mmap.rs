//! A file was mapped shared and writable: from now on it changes without a call.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::{File, Mmap, Outcome};

impl View for Mmap {
    fn activity(&self) -> Activity {
        class::FILE.activity(3, "Update")
    }

    fn verb(&self) -> &'static str {
        "map-write"
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn detail(&self) -> String {
        if self.executable { "executable".into() } else { String::new() }
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let purpose = if self.executable { "writing and running" } else { "writing" };
        file::act(who, self.outcome(), "mapped", "map", &format!("{path} into memory for {purpose}"))
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        let mut mmap = Object::new();
        mmap.put("executable", self.executable);
        out.object("mmap", mmap);
    }
}
