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

    /// Whoever looks for a script, or a program that was not run by its own name, looks for that name.
    fn paths(&self) -> Vec<&[u8]> {
        let program = self.file.as_ref().map(|file| file.path.as_slice()).unwrap_or_default();
        [program].into_iter().chain(self.run_by_it().map(|(_, name)| name)).collect()
    }

    fn detail(&self) -> String {
        self.run_by_it().map(|(what, name)| format!("{what} {}", quoted(name))).unwrap_or_default()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let program = file::shown_or_unknown(self.file.as_ref());
        let path = match self.run_by_it() {
            Some((what, name)) => format!("{what} {} by {program}", quoted(name)),
            None => program,
        };
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
        out.text("cwd", &scene.bytes("unmapped.cwd", &self.cwd));
        out.text("script", &scene.bytes("unmapped.script", &self.script));
        out.text("loaded", &scene.bytes("unmapped.loaded", &self.loaded));
        out.flag("memfd", self.memfd).flag("deleted", self.deleted);
        out.maybe("before", self.before.as_ref().map(|id| scene.run(id).to_string()));
    }
}

impl Exec {
    /// What the program that the kernel started was started for: a script, or a program that the dynamic
    /// loader was given by name.
    fn run_by_it(&self) -> Option<(&'static str, &[u8])> {
        match (self.script.as_slice(), self.loaded.as_slice()) {
            ([], []) => None,
            ([], loaded) => Some(("program", loaded)),
            (script, _) => Some(("script", script)),
        }
    }
}
