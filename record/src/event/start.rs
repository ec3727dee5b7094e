//! The agent began to watch, and what it cannot see.

use serde_json::Value;

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class, word_of};
use crate::text::quoted;
use crate::v1::{Canary, Hook, Start};

impl View for Start {
    fn activity(&self) -> Activity {
        class::LOG.activity(6, "Start")
    }

    fn verb(&self) -> &'static str {
        "start"
    }

    fn sentence(&self, _who: &str, scene: &Scene<'_>) -> String {
        let attached = self.hooks.iter().filter(|hook| hook.attached).count();
        let context = scene.envelope.context;
        format!(
            "graven {} began to watch in {} mode with {attached} of {} hooks",
            quoted(context.agent_version.as_bytes()),
            word_of("MODE_", context.mode().as_str_name()),
            self.hooks.len()
        )
    }

    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.list("hooks", self.hooks.iter().map(hook));
        out.list("uncovered", self.uncovered.iter().map(String::as_str));
        out.text("agent_sha256", &hex::encode(&self.agent_hash))
            .text("sensor_sha256", &hex::encode(&self.sensor_hash))
            .text("witness", &self.witness)
            .text("preemption", &self.preemption)
            .put("processes_seeded", self.processes_seeded);
        if self.late > 0 {
            out.put("late", self.late);
        }
        if self.stays {
            out.put("stays", true);
        }
    }
}

fn hook(hook: &Hook) -> Value {
    let mut out = Object::new();
    out.put("name", hook.name.as_str()).put("attached", hook.attached).text("reason", &hook.reason);
    if hook.canary() != Canary::Unspecified {
        out.put("canary", word_of("CANARY_", hook.canary().as_str_name()));
    }
    out.into()
}
