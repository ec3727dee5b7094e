//! A boot's story as indented lines or as JSON.

use graven_record::text::{self, escape, quoted};
use owo_colors::Style;
use serde_json::{Value, json};

use super::{Look, event, moment};
use crate::query::Found;
use crate::replay::{Boot, Item, Process, Program};

/// Spaces a level.
const INDENT: usize = 2;

/// Lines: the boot, what the logger said, then every process with its changes below it.
pub fn lines(boot: &Boot<'_>, look: Look) -> Vec<String> {
    let mut lines = vec![look.dress(&format!("boot {}", boot.boot), Style::new().bold())];
    lines.extend(boot.notes.iter().map(|note| format!("{:INDENT$}{}", "", event::inside(note, "", look))));
    for root in &boot.roots {
        describe(root, 0, look, &mut lines);
    }
    lines
}

/// Depth is bounded where the trees are grown.
fn describe(process: &Process<'_>, depth: usize, look: Look, lines: &mut Vec<String>) {
    let user = process.own.map(|own| text::line(&own.envelope(), &own.record).user).unwrap_or_default();
    lines.push(format!("{:width$}{}", "", head(process, &user, look), width = depth * INDENT));
    for item in &process.items {
        match item {
            Item::Child(child) => describe(child, depth + 1, look, lines),
            Item::Change(found) if is_its_own_start(process, found) => {}
            Item::Change(found) => {
                let line = event::inside(found, &user, look);
                lines.push(format!("{:width$}{line}", "", width = (depth + 1) * INDENT));
            }
        }
    }
}

/// The exec that made the process what its head says tells nothing new, unless the policy has something to say.
fn is_its_own_start(process: &Process<'_>, found: &Found) -> bool {
    let exec = found.record.subject.as_ref().and_then(|s| s.process.as_ref()?.id).map(|id| id.exec);
    let first = process.programs.first().map(|program| program.exec);
    event::is_exec(found) && !event::is_alert(found) && exec == first
}

fn head(process: &Process<'_>, user: &str, look: Look) -> String {
    let first = process.programs.first();
    let name = first.map(name).unwrap_or_else(|| "?".to_owned());
    let mut parts = vec![look.dress(&format!("{name}[{}]", process.pid), Style::new().bold())];
    if process.cut {
        parts.insert(0, "…".to_owned());
    }
    if let Some(program) = first {
        parts.extend(command(program));
    }
    if !user.is_empty() {
        parts.push(format!("user {}", look.dress(user, Style::new().cyan())));
    }
    let life = life(process);
    if !life.is_empty() {
        parts.push(look.dress(&life, Style::new().dimmed()));
    }
    parts.join("  ")
}

fn name(program: &Program<'_>) -> String {
    match &*program.process.comm {
        [] => "?".to_owned(),
        comm => quoted(comm),
    }
}

/// The program with its arguments; the arguments alone would be the process's own claim.
fn command(program: &Program<'_>) -> Vec<String> {
    let exe = &program.process.exe;
    let mut parts = Vec::new();
    if !exe.is_empty() {
        parts.push(quoted(exe));
    }
    if let Some(arguments) = program.arguments {
        let cut = if program.process.arguments_cut { " …" } else { "" };
        let words: Vec<String> = words(arguments).map(quoted).collect();
        parts.push(format!("({}{cut})", words.join(" ")));
    }
    parts
}

fn words(arguments: &[u8]) -> impl Iterator<Item = &[u8]> {
    arguments.strip_suffix(b"\0").unwrap_or(arguments).split(|byte| *byte == 0)
}

fn life(process: &Process<'_>) -> String {
    let from = process.started.map(|at| format!("from {}", moment(at)));
    let to = process.exited.map(|exited| format!("to {}, {}", moment(exited.time), exited.words()));
    [from, to].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `{"boot", "notes": [OCSF], "processes": [process]}`; a process is `{"pid", "start_ns", "parent_cut",
/// "programs": [{"exec", "exe", "comm", "arguments"}], "user", "started", "exited", "status", "items"}`, an item
/// is `{"change": OCSF}` or `{"child": process}`. `exe`, `comm` and `arguments` are escaped as on the terminal.
pub fn json(boot: &Boot<'_>) -> Value {
    json!({
        "boot": boot.boot.to_string(),
        "notes": boot.notes.iter().map(|note| event::json(note)).collect::<Vec<_>>(),
        "processes": boot.roots.iter().map(process_json).collect::<Vec<_>>(),
    })
}

fn process_json(process: &Process<'_>) -> Value {
    let item = |item: &Item<'_>| match item {
        Item::Change(found) => json!({ "change": event::json(found) }),
        Item::Child(child) => json!({ "child": process_json(child) }),
    };
    json!({
        "pid": process.pid,
        "start_ns": process.start,
        "parent_cut": process.cut,
        "programs": process.programs.iter().map(program_json).collect::<Vec<_>>(),
        "user": process.own.map(|own| text::line(&own.envelope(), &own.record).user),
        "started": process.started.map(text::utc),
        "exited": process.exited.map(|exited| text::utc(exited.time)),
        "status": process.exited.map(|exited| exited.words()),
        "items": process.items.iter().map(item).collect::<Vec<_>>(),
    })
}

fn program_json(program: &Program<'_>) -> Value {
    json!({
        "exec": program.exec,
        "exe": escape(&program.process.exe),
        "comm": escape(&program.process.comm),
        "arguments": program.arguments.map(|all| words(all).map(escape).collect::<Vec<_>>()),
    })
}
