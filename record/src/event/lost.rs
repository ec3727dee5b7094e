//! Events that happened and are not in the log, counted.

use crate::event::View;
use crate::frame::LossKind;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::quoted;
use crate::v1::Lost;

impl View for Lost {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Lost")
    }

    fn verb(&self) -> &'static str {
        "lost"
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        let why = match LossKind::from_name(&self.kind) {
            Some(LossKind::Life) => "no room in the ring of process life".into(),
            Some(LossKind::Protected) => "no room in the ring of protected places".into(),
            Some(LossKind::Activity) => "no room in the ring of other activity".into(),
            Some(LossKind::Skipped) => "the kernel skipped a program of the sensor".into(),
            Some(LossKind::Undecodable) => "bytes from the sensor were no event".into(),
            Some(LossKind::Spool) => "no room in the spool".into(),
            Some(LossKind::State) => "a map of the sensor was full".into(),
            Some(LossKind::Queue) => "a queue of the agent was full".into(),
            None => format!("kind {}", quoted(self.kind.as_bytes())),
        };
        let hook = match self.hook.as_str() {
            "" => String::new(),
            hook => format!(" ({})", quoted(hook.as_bytes())),
        };
        match self.count {
            1 => format!("one event was lost: {why}{hook}"),
            count => format!("{count} events were lost: {why}{hook}"),
        }
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
        out.maybe("count", i64::try_from(self.count).ok());
        if let Some(since) = scene.moment(self.since) {
            out.put("start_time", since).put("end_time", scene.time());
        }
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("loss", &self.kind)
            .put("lost", self.count)
            .text("hook", &self.hook)
            .number("since_boot_ns", self.since);
    }
}
