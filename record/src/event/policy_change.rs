//! Another policy came into force, or was refused.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class, control};
use crate::text::{escape, quoted};
use crate::v1::{Outcome, Policy, PolicyChange};

impl View for PolicyChange {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Policy Change")
    }

    fn verb(&self) -> &'static str {
        "policy change"
    }

    fn outcome(&self) -> Outcome {
        if self.refused.is_empty() { Outcome::Success } else { Outcome::Refused }
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        let (before, after) = (name(self.before.as_ref()), name(self.after.as_ref()));
        match self.refused.as_str() {
            "" => format!("policy {after} replaced {before}"),
            why => format!("policy {after} was refused ({}); {before} stays", escape(why.as_bytes())),
        }
    }

    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        for (side, policy) in [("before", &self.before), ("after", &self.after)] {
            if let Some(policy) = policy {
                out.object(side, control::policy(policy, None));
            }
        }
        out.text("refused", &self.refused);
    }
}

/// "web 2026.11.2", with the beginning of its hash when it has no version.
fn name(policy: Option<&Policy>) -> String {
    let Some(policy) = policy else {
        return "none".into();
    };
    let name = quoted(policy.name.as_bytes());
    match policy.version.as_str() {
        "" => format!("{name} (sha256 {:.12})", hex::encode(&policy.hash)),
        version => format!("{name} {}", quoted(version.as_bytes())),
    }
}
