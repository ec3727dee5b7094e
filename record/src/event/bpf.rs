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

    fn detail(&self) -> String {
        let (_, to_do, object) = self.words();
        format!("{to_do} {object}")
    }

    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String {
        let (done, to_do, object) = self.words();
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
    /// What was done, what was to be done, and to what.
    fn words(&self) -> (&'static str, &'static str, String) {
        match self.command.as_str() {
            "prog-load" => ("loaded", "load", self.object("a BPF program")),
            "prog-attach" | "link-create" | "raw-tracepoint-open" => {
                ("attached", "attach", self.object("a BPF program"))
            }
            "prog-detach" | "link-detach" => ("detached", "detach", self.object("a BPF program")),
            "obj-pin" => ("pinned", "pin", self.object("a BPF object")),
            "" => ("gave", "give", self.object(&format!("the kernel BPF command {}", self.number))),
            command => {
                let command = quoted(command.as_bytes());
                ("gave", "give", self.object(&format!("the kernel BPF command {command}")))
            }
        }
    }

    /// "a BPF program of type tracing named snoop".
    fn object(&self, what: &str) -> String {
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
