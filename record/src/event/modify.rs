//! An inode's content or metadata changed.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::quoted;
use crate::v1::{File, Modify, Outcome};

/// The operation when no known one explains the change.
const UNKNOWN: &str = "unknown";

impl View for Modify {
    fn activity(&self) -> Activity {
        class::FILE.activity(3, "Update")
    }

    fn verb(&self) -> &'static str {
        if self.operation == "write" { "write" } else { "modify" }
    }

    fn outcome(&self) -> Outcome {
        match Outcome::try_from(self.outcome).unwrap_or_default() {
            Outcome::Unspecified => Outcome::Success,
            outcome => outcome,
        }
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let object = match self.operation.as_str() {
            "write" => return file::act(who, self.outcome(), "wrote", "write", &path),
            "" | UNKNOWN => format!("{path} by an operation that is not known"),
            operation => format!("{path} by {}", quoted(operation.as_bytes())),
        };
        file::act(who, self.outcome(), "changed", "change", &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("operation", &self.operation);
        out.put("syscall", self.syscall).flag("via_kernel", self.via_kernel);
    }
}
