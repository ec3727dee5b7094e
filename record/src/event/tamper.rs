//! Somebody acts on the agent's own processes.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::quoted;
use crate::v1::{Outcome, Tamper};

/// Linux's signals that stop, end or steer a process; the others go by their numbers.
const SIGNALS: [(u32, &str); 11] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (6, "SIGABRT"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (15, "SIGTERM"),
    (18, "SIGCONT"),
    (19, "SIGSTOP"),
];

impl View for Tamper {
    fn activity(&self) -> Activity {
        class::PROCESS.activity(class::OTHER, "Tamper")
    }

    fn verb(&self) -> &'static str {
        "tamper"
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

    /// OCSF's `process` is the one acted upon.
    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        let mut process = Object::new();
        process.put("pid", self.target);
        out.object("process", process);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        let mut tamper = Object::new();
        tamper.text("operation", &self.operation).put("number", self.number).put("target", self.target);
        out.object("tamper", tamper);
    }
}

impl Tamper {
    /// What was done, what was to be done, and to what.
    fn words(&self) -> (&'static str, &'static str, String) {
        let target = format!("graven's process {}", self.target);
        match self.operation.as_str() {
            "signal" => ("sent", "send", format!("{} to {target}", self.signal())),
            "ptrace" => ("traced", "trace", format!("{target} by ptrace request {}", self.number)),
            "process_vm_writev" => ("wrote", "write", format!("into the memory of {target}")),
            other => ("acted", "act", format!("on {target} by {}", quoted(other.as_bytes()))),
        }
    }

    fn signal(&self) -> String {
        let name = SIGNALS.iter().find(|(number, _)| *number == self.number);
        name.map_or_else(|| format!("signal {}", self.number), |(_, name)| (*name).to_owned())
    }
}
