//! Code went into the kernel or out of it: a module, or a whole kernel to run next.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, actor, class};
use crate::text::quoted;
use crate::v1::{File, Module, Outcome};

/// What OCSF calls a way of loading that it has no number for.
const LOAD_TYPE: &str = "Kernel Module";

impl View for Module {
    fn activity(&self) -> Activity {
        class::PROCESS.activity(class::OTHER, "Kernel Module")
    }

    fn verb(&self) -> &'static str {
        match self.operation.as_str() {
            "load" => "load-module",
            "unload" => "unload-module",
            "kexec" => "load-kernel",
            _ => "change-kernel",
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn detail(&self) -> String {
        if self.name.is_empty() { String::new() } else { quoted(&self.name) }
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let from = self.file.as_ref().map(|file| format!(" from {}", file::shown(file))).unwrap_or_default();
        let module = match self.name.as_slice() {
            [] if self.file.is_none() => "a kernel module without a name".to_owned(),
            [] => "a kernel module".to_owned(),
            name => format!("kernel module {}", quoted(name)),
        };
        let (done, to_do, object) = match self.operation.as_str() {
            "load" => ("loaded", "load", format!("{module}{from}")),
            "unload" => ("unloaded", "unload", format!("{module}{from}")),
            "kexec" => ("loaded", "load", format!("another kernel{from} to run instead of this one")),
            other => ("did", "do", format!("{} to {module}{from}", quoted(other.as_bytes()))),
        };
        file::act(who, self.outcome(), done, to_do, &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        let mut module = Object::new();
        if let Some(file) = &self.file {
            module.object("file", file::object(scene, "module.file", file));
        }
        module.put("load_type_id", class::OTHER).put("load_type", LOAD_TYPE);
        out.object("module", module).object("process", actor::launched(scene));
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        let mut module = Object::new();
        module.text("operation", &self.operation);
        module.text("name", &scene.bytes("unmapped.module.name", &self.name));
        out.object("module", module);
    }
}
