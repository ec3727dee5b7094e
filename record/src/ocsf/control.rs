//! The verdict: OCSF's severity, and its Security Control profile for what a policy decided.

use crate::ocsf::{Object, Scene, word_of};
use crate::text::decision_word;
use crate::v1::{Decision, Policy, Severity, Verdict};

/// OCSF's number of a control that looks and does not act.
const OBSERVED: u32 = 3;

fn verdict<'a>(scene: &'a Scene<'_>) -> Option<&'a Verdict> {
    scene.record.verdict.as_deref().filter(|verdict| verdict.decision() != Decision::Unspecified)
}

/// Did a policy decide?
pub(crate) fn judged(scene: &Scene<'_>) -> bool {
    verdict(scene).is_some()
}

/// `severity_id` has the schema's numbers.
pub(crate) fn severity(scene: &Scene<'_>, out: &mut Object) {
    let severity = scene.record.verdict.as_deref().map(Verdict::severity).unwrap_or_default();
    let word = match severity {
        Severity::Unspecified => "Unknown",
        Severity::Info => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    };
    out.put("severity_id", i32::from(severity)).put("severity", word);
}

/// The attributes of the profile; none for a record that nobody judged.
pub(crate) fn attributes(scene: &Scene<'_>, out: &mut Object) {
    let Some(verdict) = verdict(scene) else {
        return;
    };
    let (id, word) = match verdict.decision() {
        Decision::Alert => (19, "Alert"),
        Decision::Ignore => (16, "No Action"),
        Decision::Log | Decision::Unspecified => (17, "Logged"),
    };
    out.put("action_id", OBSERVED).put("action", "Observed");
    out.put("disposition_id", id).put("disposition", word);
    out.put("is_alert", verdict.decision() == Decision::Alert);
    if let Some(in_force) = &scene.envelope.context.policy {
        out.object("policy", policy(in_force, Some(true)));
    }
}

/// A policy by name, version and what identifies its text: the commit if it names one, its hash if not.
pub(crate) fn policy(policy: &Policy, is_applied: Option<bool>) -> Object {
    let hash = hex::encode(&policy.hash);
    let uid = match (policy.commit.as_str(), hash.as_str()) {
        ("", "") => String::new(),
        ("", hash) => format!("sha256:{hash}"),
        (commit, _) => format!("git:{commit}"),
    };
    let name = if policy.name.is_empty() { "unnamed" } else { &policy.name };
    let mut out = Object::new();
    out.put("name", name).text("version", &policy.version).text("uid", &uid);
    out.maybe("is_applied", is_applied);
    if is_applied.is_none() {
        // Under `unmapped` there is no other place for these two.
        out.text("sha256", &hash).text("trust", &word_of("TRUST_", policy.trust().as_str_name()));
    }
    out
}

/// Rule and reason: OCSF's `policy` has no place for the entry that decided.
pub(crate) fn unmapped(scene: &Scene<'_>, out: &mut Object) {
    let Some(verdict) = &scene.record.verdict else {
        return;
    };
    let mut object = Object::new();
    object.put("decision", decision_word(verdict.decision()));
    object.text("rule", &verdict.rule).text("reason", &verdict.reason);
    out.object("verdict", object);
}
