//! OCSF's `metadata`: whose event it is, and by what it can be found again.

use crate::event;
use crate::ocsf::{Object, Scene, VERSION, control, word_of};

pub(crate) fn object(scene: &Scene<'_>) -> Object {
    let record = scene.record;
    let mut out = Object::new();
    out.put("version", VERSION).object("product", product(scene));
    out.maybe("uid", uid(scene));
    out.maybe("sequence", i64::try_from(record.sequence).ok().filter(|sequence| *sequence != 0));
    out.list("profiles", profiles(scene));
    let session = record.subject.as_ref().and_then(|subject| subject.session);
    out.maybe("correlation_uid", session.map(|id| id.to_string()));
    out.maybe("log_name", scene.envelope.lane.map(|lane| lane.name()));
    out.put("event_code", event::word(record));
    out.list("labels", labels(scene));
    out
}

fn product(scene: &Scene<'_>) -> Object {
    let mut feature = Object::new();
    feature.put("name", "agent");
    let mut out = Object::new();
    out.put("name", "Graven").put("vendor_name", "Graven");
    out.text("version", &scene.envelope.context.agent_version).object("feature", feature);
    out
}

/// `boot/lane/sequence`: a boot's id is random and its lanes' numbers are never used twice. None before sealing.
fn uid(scene: &Scene<'_>) -> Option<String> {
    let lane = scene.envelope.lane.filter(|_| scene.record.sequence != 0)?;
    Some(format!("{}/{}/{}", scene.envelope.boot, lane.name(), scene.record.sequence))
}

fn profiles(scene: &Scene<'_>) -> Vec<&'static str> {
    let subject = scene.record.subject.as_ref();
    let mut out = vec!["host"];
    if control::judged(scene) {
        out.push("security_control");
    }
    if subject.is_some() {
        out.push("linux/linux_users");
    }
    if subject.is_some_and(|subject| !subject.container.is_empty()) {
        out.push("container");
    }
    out
}

fn labels(scene: &Scene<'_>) -> Vec<String> {
    let context = scene.envelope.context;
    let mut out = vec![("mode", word_of("MODE_", context.mode().as_str_name()))];
    if let Some(policy) = &context.policy {
        out.push(("policy", policy.name.clone()));
        out.push(("policy_commit", policy.commit.clone()));
        out.push(("policy_sha256", hex::encode(&policy.hash)));
        out.push(("trust", word_of("TRUST_", policy.trust().as_str_name())));
    }
    if let Some(file) = event::files(scene.record).first() {
        out.push(("path_source", word_of("PATH_SOURCE_", file.path_source().as_str_name())));
    }
    out.retain(|(_, value)| !value.is_empty());
    out.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
