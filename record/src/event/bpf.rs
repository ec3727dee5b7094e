//! A BPF program or object came into the kernel, was attached, or got a name.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, actor, class};
use crate::text::quoted;
use crate::v1::{Bpf, Outcome};

impl View for Bpf {
    fn activity(&self) -> Activity {
        class::PROCESS.activity(class::OTHER, "BPF")
    }

    fn verb(&self) -> &'static str {
        "bpf"
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String {
        let object = self.object();
        let (done, to_do, object) = match self.command.as_str() {
            "prog-load" => ("loaded", "load", object),
            "prog-attach" | "link-create" | "raw-tracepoint-open" => ("attached", "attach", object),
            "prog-detach" | "link-detach" => ("detached", "detach", object),
            "obj-pin" => ("pinned", "pin", object),
            "" => ("did", "do", format!("BPF command {} with {object}", self.number)),
            command => ("did", "do", format!("BPF command {} with {object}", quoted(command.as_bytes()))),
        };
        let who = format!("{} of {who}", scene.program());
        file::act(&who, self.outcome(), done, to_do, &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("process", actor::launched(scene));
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        let mut bpf = Object::new();
        bpf.text("command", &self.command).put("number", self.number);
        bpf.text("program_type", &self.program_type);
        bpf.text("name", &scene.bytes("unmapped.bpf.name", &self.name));
        out.object("bpf", bpf);
    }
}

impl Bpf {
    /// "BPF program snoop of type tracing".
    fn object(&self) -> String {
        let what = if self.command == "obj-pin" { "a BPF object" } else { "a BPF program" };
        let kind = match self.program_type.as_str() {
            "" => String::new(),
            kind => format!(" of type {}", quoted(kind.as_bytes())),
        };
        match self.name.as_slice() {
            [] => format!("{what}{kind}"),
            name => format!("{what}{kind} named {}", quoted(name)),
        }
    }
}
