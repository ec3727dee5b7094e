//! The wall clock moved against the time since boot.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::Clock;

const NS: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

impl View for Clock {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Clock")
    }

    fn verb(&self) -> &'static str {
        "clock"
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        let by = self.step.unsigned_abs();
        let way = if self.step < 0 { "back" } else { "forward" };
        format!("the host's clock was set {way} by {}.{:03} s", by / NS, by % NS / NS_PER_MS)
    }

    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.put("step_ns", self.step);
    }
}
