//! A file got another name, or two changed places.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class};
use crate::v1::{File, Outcome, Rename};

impl View for Rename {
    fn activity(&self) -> Activity {
        class::FILE.activity(5, "Rename")
    }

    fn verb(&self) -> &'static str {
        if self.exchange { "exchange" } else { "rename" }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn folded(&self) -> u32 {
        self.folded
    }

    fn files(&self) -> Vec<&File> {
        self.from.iter().chain(&self.to).collect()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let from = file::shown_or_unknown(self.from.as_ref());
        let to = file::shown_or_unknown(self.to.as_ref());
        let (done, to_do, object) = match (self.exchange, &self.replaced) {
            (true, _) => ("exchanged", "exchange", format!("{from} and {to}")),
            (false, Some(_)) => ("renamed", "rename", format!("{from} to {to} over what was there")),
            (false, None) => ("renamed", "rename", format!("{from} to {to}")),
        };
        file::act(who, self.outcome(), done, to_do, &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.files().first().copied()));
        if let Some(to) = &self.to {
            out.object("file_result", file::object(scene, "file_result", to));
        }
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        out.flag("exchange", self.exchange);
        if let Some(to) = &self.to {
            out.object("file_result", file::rest(scene, "unmapped.file_result", to));
        }
        if let Some(replaced) = &self.replaced {
            let mut object = Object::new();
            object.text("path", &scene.bytes("unmapped.replaced.path", &replaced.path));
            object.append(file::rest(scene, "unmapped.replaced", replaced));
            out.object("replaced", object);
        }
    }
}
