//! The classes of OCSF that records belong to.

use crate::ocsf::{Object, Scene};

/// An activity that the class has no number for; its name says what it is.
pub(crate) const OTHER: u32 = 99;

/// A class of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    uid: u32,
    name: &'static str,
    category: u32,
}

/// An activity of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activity {
    class: Class,
    id: u32,
    name: &'static str,
}

pub(crate) const BASE: Class = Class { uid: 0, name: "Base Event", category: 0 };
pub(crate) const FILE: Class = Class { uid: 1001, name: "File System Activity", category: 1 };
pub(crate) const PROCESS: Class = Class { uid: 1007, name: "Process Activity", category: 1 };
pub(crate) const LOG: Class = Class { uid: 1008, name: "Event Log Activity", category: 1 };

impl Class {
    pub(crate) const fn activity(self, id: u32, name: &'static str) -> Activity {
        Activity { class: self, id, name }
    }
}

impl Activity {
    pub(crate) fn put(&self, out: &mut Object) {
        out.put("activity_id", self.id).put("activity_name", self.name);
        out.put("category_uid", self.class.category);
        out.put("class_uid", self.class.uid).put("class_name", self.class.name);
        out.put("type_uid", self.class.uid * 100 + self.id);
    }
}

/// Which log the logger's own events are about.
pub(crate) fn log(out: &mut Object) {
    out.put("log_name", "graven").put("log_provider", "graven-agent");
    out.put("log_type_id", OTHER).put("log_type", "Host activity");
}

/// The same for a time in which something may have been missed: from `since` on, boot time in ns.
pub(crate) fn unwatched(since: u64, scene: &Scene<'_>, out: &mut Object) {
    log(out);
    if let Some(since) = scene.moment(since) {
        out.put("start_time", since).put("end_time", scene.time());
    }
}
