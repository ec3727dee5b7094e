//! An inode's content or metadata changed.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::quoted;
use crate::v1::{File, Modify};

/// The operation when no known one explains the change.
const UNKNOWN: &str = "unknown";

impl View for Modify {
    fn activity(&self) -> Activity {
        class::FILE.activity(3, "Update")
    }

    fn verb(&self) -> &'static str {
        if self.operation == "write" { "write" } else { "modify" }
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        match self.operation.as_str() {
            "write" => format!("{who} wrote {path}"),
            "" | UNKNOWN => format!("{who} changed {path} by an operation that is not known"),
            operation => format!("{who} changed {path} by {}", quoted(operation.as_bytes())),
        }
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("operation", &self.operation);
        out.put("syscall", self.syscall).flag("via_kernel", self.via_kernel);
    }
}
