//! The last thread of a process died.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, actor, class};
use crate::v1::Exit;

/// Parts of a wait(2) status.
const SIGNAL: i32 = 0x7f;
const CORE_DUMPED: i32 = 0x80;
const NS_PER_MS: u64 = 1_000_000;

impl Exit {
    fn signal(&self) -> i32 {
        self.status & SIGNAL
    }

    fn code(&self) -> i32 {
        self.status >> 8 & 0xff
    }
}

impl View for Exit {
    fn activity(&self) -> Activity {
        class::PROCESS.activity(2, "Terminate")
    }

    fn verb(&self) -> &'static str {
        "exit"
    }

    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String {
        let program = scene.program();
        match self.signal() {
            0 => format!("{program} of {who} ended with code {}", self.code()),
            signal => format!("{program} of {who} was ended by signal {signal}"),
        }
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        if self.signal() == 0 {
            out.put("exit_code", self.code());
        }
        out.put("duration", self.lived / NS_PER_MS);
        let mut process = actor::launched(scene);
        process.put("terminated_time", scene.time());
        out.object("process", process);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.put("wait_status", self.status).put("lived_ns", self.lived);
        if self.signal() != 0 {
            out.put("signal", self.signal()).flag("core_dumped", self.status & CORE_DUMPED != 0);
        }
    }
}
