//! Opened for writing, truncated by the open, or made by it.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::{File, Open, Outcome};

impl View for Open {
    fn activity(&self) -> Activity {
        match (self.created, self.truncated || self.writable) {
            (true, _) => class::FILE.activity(1, "Create"),
            (false, true) => class::FILE.activity(3, "Update"),
            (false, false) => class::FILE.activity(14, "Open"),
        }
    }

    fn verb(&self) -> &'static str {
        match (self.created, self.truncated, self.writable) {
            (true, ..) => "create",
            (_, true, _) => "truncate",
            (_, _, true) => "open-write",
            _ => "open",
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn folded(&self) -> u32 {
        self.folded
    }

    fn files(&self) -> Vec<&File> {
        self.file.iter().collect()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let (done, to_do, object) = match (self.created, self.truncated, self.writable) {
            (true, ..) => ("created", "create", path),
            (_, true, _) => ("truncated", "truncate", path),
            (_, _, true) => ("opened", "open", format!("{path} for writing")),
            _ => ("opened", "open", path),
        };
        file::act(who, self.outcome(), done, to_do, &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.flag("created", self.created).flag("truncated", self.truncated).flag("writable", self.writable);
        out.put("flags", format!("{:#o}", self.flags));
        if self.node_device != 0 {
            out.put("node_device", format!("{}:{}", self.node_device >> 20, self.node_device & 0xf_ffff));
        }
    }
}
