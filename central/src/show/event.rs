//! A record as a line or as JSON.

use graven_record::text::Line;
use graven_record::v1::Decision;
use graven_record::v1::record::Event;
use graven_record::{ocsf, text};
use owo_colors::Style;
use serde_json::Value;

use super::{Look, moment};
use crate::query::Found;

/// One OCSF object.
pub fn json(found: &Found) -> Value {
    ocsf::render(&found.envelope(), &found.record)
}

/// `TIME HOST SEVERITY what PATH by PROCESS user WHO ← ancestors rule NAME: reason`
pub fn line(found: &Found, look: Look) -> String {
    let line = text::line(&found.envelope(), &found.record);
    let severity = severity(&line);
    let head = format!(
        "{} {} {}",
        look.dress(&moment(line.time), Style::new().dimmed()),
        line.host,
        look.dress(&format!("{severity:<8}"), dress_of(&line)),
    );
    if line.process.is_empty() {
        return format!("{head} {}", line.message);
    }
    format!("{head} {} {} {}", what(&line, look), who(&line, look), why(&line)).trim_end().to_owned()
}

/// The same below its process: without what the process's own line says. `user` is who that line names.
pub fn inside(found: &Found, user: &str, look: Look) -> String {
    let line = text::line(&found.envelope(), &found.record);
    let mark = if line.verdict == "alert" { "!" } else { "·" };
    let head = format!(
        "{mark} {} {}",
        look.dress(&moment(line.time), Style::new().dimmed()),
        look.dress(&format!("{:<8}", severity(&line)), dress_of(&line)),
    );
    if line.process.is_empty() {
        return format!("{head} {}", line.message);
    }
    let other = if line.user == user { String::new() } else { format!(" user {}", line.user) };
    format!("{head} {}{other} {}", what(&line, look), why(&line)).trim_end().to_owned()
}

/// Did a program start?
pub fn is_exec(found: &Found) -> bool {
    matches!(found.record.event, Some(Event::Exec(_)))
}

/// Does the policy say to alert on it?
pub fn is_alert(found: &Found) -> bool {
    found.record.verdict.as_ref().is_some_and(|verdict| verdict.decision() == Decision::Alert)
}

/// An alert shouts its severity; everything else is only what it is.
fn severity(line: &Line) -> String {
    if line.verdict == "alert" { line.severity.to_uppercase() } else { line.severity.to_owned() }
}

fn dress_of(line: &Line) -> Style {
    match (line.verdict, line.severity) {
        ("alert", "critical" | "high") => Style::new().red().bold(),
        ("alert", _) => Style::new().yellow().bold(),
        _ => Style::new(),
    }
}

fn what(line: &Line, look: Look) -> String {
    let paths = match line.paths.as_slice() {
        [] => String::new(),
        paths => format!(" {}", look.dress(&paths.join(" → "), Style::new().bold())),
    };
    format!("{}{}{paths}{}", line.verb, line.outcome_words(), line.detail_words())
}

fn who(line: &Line, look: Look) -> String {
    let mut text = format!("by {} user {}", line.process, look.dress(&line.user, Style::new().cyan()));
    for ancestor in &line.ancestors {
        text.push_str(" ← ");
        text.push_str(ancestor);
    }
    if line.ancestors_cut {
        text.push_str(" ← …");
    }
    text
}

fn why(line: &Line) -> String {
    match (line.rule.as_str(), line.reason.as_str()) {
        ("", "") => String::new(),
        ("", reason) => format!("reason: {reason}"),
        (rule, "") => format!("rule \"{rule}\""),
        (rule, reason) => format!("rule \"{rule}\": {reason}"),
    }
}
