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

    /// The directory, where the losses are counted by it.
    fn paths(&self) -> Vec<&[u8]> {
        if self.directory.is_empty() { Vec::new() } else { vec![&self.directory] }
    }

    fn detail(&self) -> String {
        self.what()
    }

    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String {
        let whose = if scene.record.subject.is_some() { format!(" by {who}") } else { String::new() };
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
        let were = if self.count == 1 { "was" } else { "were" };
        format!("{}{whose} {were} lost: {why}{hook}", self.what())
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
        out.maybe("count", i64::try_from(self.count).ok());
        let first = if self.first == 0 { self.since } else { self.first };
        if let Some(first) = scene.moment(first) {
            let last = scene.moment(self.last).unwrap_or_else(|| scene.time());
            out.put("start_time", first).put("end_time", last);
        }
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        out.text("loss", &self.kind)
            .put("lost", self.count)
            .text("hook", &self.hook)
            .number("since_boot_ns", self.since);
        out.text("event", &self.event);
        out.text("directory", &scene.bytes("unmapped.directory", &self.directory));
        out.number("first_boot_ns", self.first).number("last_boot_ns", self.last);
    }
}

impl Lost {
    /// "one event", "42 create events in /srv/mail".
    fn what(&self) -> String {
        let count = if self.count == 1 { "one".to_owned() } else { self.count.to_string() };
        let kind = match self.event.as_str() {
            "" => String::new(),
            kind => format!("{} ", quoted(kind.as_bytes())),
        };
        let events = if self.count == 1 { "event" } else { "events" };
        let place = match self.directory.as_slice() {
            [] => String::new(),
            directory => format!(" in {}", quoted(directory)),
        };
        format!("{count} {kind}{events}{place}")
    }
}
