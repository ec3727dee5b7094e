//! A program was started: the new one is the subject's process.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, actor, class};
use crate::text::quoted;
use crate::v1::{Exec, File};

/// OCSF's type of a file that is a program.
const EXECUTABLE: u32 = 8;

impl View for Exec {
    fn activity(&self) -> Activity {
        class::PROCESS.activity(1, "Launch")
    }

    fn verb(&self) -> &'static str {
        "exec"
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let script = match self.interpreter.as_slice() {
            [] => String::new(),
            interpreter => format!(" by {}", quoted(interpreter)),
        };
        let kind = match (self.memfd, self.deleted) {
            (true, _) => ", which is in memory only",
            (_, true) => ", which is deleted",
            _ => "",
        };
        format!("{who} ran {path}{script}{kind}")
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.put("launch_type_id", 3).put("launch_type", "Exec");
        let mut process = actor::launched(scene);
        if let Some(file) = &self.file {
            let mut object = file::object(scene, "process.file", file);
            object.put("type_id", EXECUTABLE).put("type", "Executable File");
            object.flag("is_deleted", self.deleted);
            process.object("file", object);
        }
        out.object("process", process);
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        out.text("called_as", &scene.bytes("unmapped.called_as", &self.called_as));
        out.text("interpreter", &scene.bytes("unmapped.interpreter", &self.interpreter));
        out.flag("memfd", self.memfd).flag("deleted", self.deleted);
        out.maybe("before", self.before.as_ref().map(|id| scene.run(id).to_string()));
    }
}
