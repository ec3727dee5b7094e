//! Hosts and what is wrong with their streams.

use graven_record::id::BootId;
use graven_record::text::escape;
use graven_record::v1::Mode;
use graven_record::wire::HeadStatement;
use owo_colors::Style;
use serde_json::{Value, json};

use super::{Look, quoted, utc};
use crate::store::HostRow;
use crate::store::findings::FindingRow;

/// A heartbeat comes every 10 s: a host that is quiet for longer than this is silent.
const SILENT_AFTER: i64 = 60 * NANOSECONDS;
const NANOSECONDS: i64 = 1_000_000_000;
/// Digits of the id in the table.
const SHORT_ID: usize = 12;
/// Findings of one host below its line; all of them are in the JSON.
const SHOWN: usize = 5;

/// One host with its findings.
pub struct HostView<'a> {
    /// The host.
    pub host: &'a HostRow,
    /// What was found about it.
    pub findings: Vec<&'a FindingRow>,
    /// Central clock, ns.
    pub now: i64,
}

impl HostView<'_> {
    /// `live` within a minute of its last word, `silent` after, `new` before its first.
    pub fn state(&self) -> &'static str {
        match self.host.last_seen {
            None => "new",
            Some(at) if self.now.saturating_sub(at) <= SILENT_AFTER => "live",
            Some(_) => "silent",
        }
    }

    /// One object.
    pub fn json(&self) -> Value {
        let host = self.host;
        json!({
            "host": host.id.to_string(),
            "hostname": host.hostname,
            "group": host.group,
            "state": self.state(),
            "enrolled": utc(host.enrolled_at),
            "certificate_serial": hex::encode(&host.serial),
            "certificate_expires": utc(host.expires),
            "last_seen": host.last_seen.map(utc),
            "heartbeat": host.heartbeat.as_ref().map(|(statement, at)| heartbeat(statement, *at)),
            "findings": self.findings.iter().map(|row| finding_json(row)).collect::<Vec<_>>(),
        })
    }

    /// A line, and below it the newest findings.
    pub fn lines(&self, look: Look) -> Vec<String> {
        let host = self.host;
        let id: String = host.id.to_string().chars().take(SHORT_ID).collect();
        let state = self.state();
        let style = if state == "live" { Style::new().green() } else { Style::new().yellow() };
        let seen = host.last_seen.map_or_else(|| "never".to_owned(), |at| ago(self.now.saturating_sub(at)));
        let counts = host
            .heartbeat
            .as_ref()
            .and_then(|(statement, _)| statement.counters)
            .map(|c| format!("  seen {} stored {} lost {}", c.seen, c.stored, c.lost));
        let head = format!(
            "{id}  {:<24} {}  group {}  last seen {seen}{}",
            quoted(&host.hostname),
            look.dress(&format!("{state:<6}"), style),
            quoted(&host.group),
            counts.unwrap_or_default(),
        );
        let hidden = self.findings.len().saturating_sub(SHOWN);
        let mut lines = vec![head];
        if hidden > 0 {
            lines.push(format!("    {hidden} older findings: see --json"));
        }
        lines.extend(self.findings.iter().skip(hidden).map(|row| format!("    {}", finding_line(row, look))));
        lines
    }
}

fn heartbeat(statement: &HeadStatement, at: i64) -> Value {
    let counters = statement.counters.unwrap_or_default();
    let mode = match statement.mode() {
        Mode::Unspecified => "unknown",
        Mode::Syscall => "syscall",
        Mode::Vfs => "vfs",
    };
    json!({
        "received": utc(at),
        "boot": BootId::from_slice(&statement.boot).map(|boot| boot.to_string()).ok(),
        "run": hex::encode(&statement.run),
        "mode": mode,
        "policy": hex::encode(&statement.policy_hash),
        "protected_sequence": statement.protected_sequence,
        "activity_sequence": statement.activity_sequence,
        "seen": counters.seen,
        "stored": counters.stored,
        "lost": counters.lost,
        "ignored": counters.ignored,
        "unrecorded": counters.unrecorded,
        "folded": counters.folded,
        "refused": counters.refused,
    })
}

fn finding_json(row: &FindingRow) -> Value {
    let finding = &row.finding;
    json!({
        "kind": finding.kind,
        "boot": finding.boot.to_string(),
        "lane": finding.lane,
        "first_sequence": finding.first,
        "last_sequence": finding.last,
        "reason": finding.reason,
        "first_at": utc(row.first_at),
        "last_at": utc(row.last_at),
        "count": row.count,
    })
}

fn finding_line(row: &FindingRow, look: Look) -> String {
    let finding = &row.finding;
    let kind = look.dress(&finding.kind.to_uppercase(), Style::new().red().bold());
    let times = if row.count == 1 { String::new() } else { format!(" ({} times)", row.count) };
    let sequences = match (finding.first, finding.last) {
        (0, 0) => String::new(),
        (first, last) => format!(" {first} to {last}"),
    };
    let lane = match finding.lane {
        1 => " protected",
        2 => " activity",
        _ => "",
    };
    format!("{kind}{lane}{sequences}: {}{times}, {}", escape(finding.reason.as_bytes()), utc(row.last_at))
}

/// How long ago, in one unit.
fn ago(nanoseconds: i64) -> String {
    let seconds = nanoseconds / NANOSECONDS;
    match seconds {
        ..60 => format!("{}s ago", seconds.max(0)),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_one_unit() {
        let said: Vec<String> = [-5, 59, 60, 7_200, 200_000].map(|s| ago(s * NANOSECONDS)).into();
        assert_eq!(said, ["0s ago", "59s ago", "1m ago", "2h ago", "2d ago"]);
    }
}
