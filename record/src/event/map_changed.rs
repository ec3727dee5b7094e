//! Somebody else wrote into a map of the sensor.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::{escape, quoted};
use crate::v1::MapChanged;

impl View for MapChanged {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Map Changed")
    }

    fn verb(&self) -> &'static str {
        "map changed"
    }

    fn detail(&self) -> String {
        quoted(self.map.as_bytes())
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        let (map, change) = (quoted(self.map.as_bytes()), escape(self.change.as_bytes()));
        let again = if self.restored { "what stood there was written again" } else { "it is still wrong" };
        format!("somebody wrote into the sensor's map {map} ({change}); {again}")
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        class::unwatched(self.since, scene, out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("map", &self.map).text("change", &self.change).put("restored", self.restored);
        out.number("since_boot_ns", self.since);
    }
}
