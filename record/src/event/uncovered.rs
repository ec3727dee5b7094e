//! A process entered the kernel in a way that this mode does not decode: what it does there is not seen.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class, word_of};
use crate::v1::{Entry, Uncovered};

impl View for Uncovered {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Uncovered")
    }

    fn verb(&self) -> &'static str {
        "uncovered"
    }

    fn detail(&self) -> String {
        match self.entry() {
            Entry::UnknownCall => format!("system call {}", self.number),
            _ => self.way().to_owned(),
        }
    }

    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String {
        let program = scene.program();
        match self.entry() {
            Entry::UnknownCall => {
                format!("{program} of {who} made system call {}, which this agent does not know", self.number)
            }
            _ => format!("{program} of {who} uses {}, which this mode does not decode", self.way()),
        }
    }

    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("entry", &word_of("ENTRY_", self.entry().as_str_name()));
        out.maybe("number", (self.entry() == Entry::UnknownCall).then_some(self.number));
    }
}

impl Uncovered {
    fn way(&self) -> &'static str {
        match self.entry() {
            Entry::Compat => "32-bit system calls",
            Entry::X32 => "x32 system calls",
            Entry::IoUring => "io_uring",
            Entry::Native => "native system calls",
            Entry::UnknownCall | Entry::Unspecified => "an entry of a kind that is not known",
        }
    }
}
