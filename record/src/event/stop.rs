//! The agent ceased to watch.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::escape;
use crate::v1::Stop;

impl View for Stop {
    fn activity(&self) -> Activity {
        class::LOG.activity(7, "Stop")
    }

    fn verb(&self) -> &'static str {
        "stop"
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        let counters = self.counters.unwrap_or_default();
        let (seen, stored, lost) = (counters.seen, counters.stored, counters.lost);
        let why = escape(self.reason.as_bytes());
        format!("graven ceased to watch ({why}): {seen} events seen, {stored} records stored, {lost} lost")
    }

    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("reason", &self.reason);
        if let Some(counters) = &self.counters {
            let mut counts = Object::new();
            counts.put("seen", counters.seen).put("stored", counters.stored).put("lost", counters.lost);
            counts.put("ignored", counters.ignored).put("unrecorded", counters.unrecorded);
            for (name, count) in [("folded", counters.folded), ("refused", counters.refused)] {
                if count != 0 {
                    counts.put(name, count);
                }
            }
            out.object("counters", counts);
        }
    }
}
