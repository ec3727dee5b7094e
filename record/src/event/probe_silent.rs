//! A program of the sensor was taken off its hook, or did not run there.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::{escape, quoted};
use crate::v1::ProbeSilent;

impl View for ProbeSilent {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Probe Silent")
    }

    fn verb(&self) -> &'static str {
        "probe silent"
    }

    fn detail(&self) -> String {
        quoted(self.hook.as_bytes())
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        let again = if self.attached_again { "it is attached again" } else { "it is still off" };
        let (hook, why) = (quoted(self.hook.as_bytes()), escape(self.reason.as_bytes()));
        format!("the sensor's program on {hook} saw nothing for a while ({why}); {again}")
    }

    /// The time in which something may have been missed.
    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        class::unwatched(self.since, scene, out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("hook", &self.hook).text("reason", &self.reason);
        out.put("attached_again", self.attached_again).number("since_boot_ns", self.since);
    }
}
