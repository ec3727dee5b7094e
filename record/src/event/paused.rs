//! The agent itself did not run for a while.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::Paused;

const NS_PER_S: u64 = 1_000_000_000;

impl View for Paused {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Paused")
    }

    fn verb(&self) -> &'static str {
        "paused"
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        format!("the agent did not run for {} s: it was stopped, frozen or starved", self.lasted / NS_PER_S)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        class::unwatched(self.since, scene, out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.number("lasted_ns", self.lasted).number("since_boot_ns", self.since);
    }
}
