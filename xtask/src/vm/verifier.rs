//! `cargo xtask vm --verifier`: how many instructions the kernels' verifier follows until it takes each program.
//!
//! In: what `graven-agent doctor --json` said on each kernel, and the figures that are kept in `ebpf/verifier.toml`. Out: a
//! table of both, and exit code 1 if a program has grown by more than a quarter, is not loaded any more, or fills more than
//! half of what the verifier follows at most: the next change, or the next kernel, would find no room. `--accept` keeps the
//! new figures; those of kernels that did not run stay. Kernels before 5.16 do not say what they followed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::Boot;
use crate::repo::Repo;
use crate::screen::{Tone, paint};

/// What is run in each machine.
pub(crate) const COMMAND: [&str; 3] = ["graven-agent", "doctor", "--json"];

/// Half of BPF_COMPLEXITY_LIMIT_INSNS.
const MOST: u32 = 500_000;

/// A program may grow by one in so many without a word.
const GROWTH: u32 = 4;

/// Instructions by program.
type Figures = BTreeMap<String, u32>;

/// By kernel.
type Kept = BTreeMap<String, Figures>;

/// Shows what all cost; true if nothing has grown too much.
pub(crate) fn conclude(repo: &Repo, boots: &[Boot], accept: bool) -> Result<bool> {
    let path = repo.root.join("ebpf/verifier.toml");
    let mut kept = read(&path)?;
    let mut good = true;
    let mut all_there = true;
    for boot in boots.iter().filter(|boot| boot.is_good()) {
        let now = figures(&boot.output).with_context(|| format!("on {}", boot.kernel))?;
        let before = kept.get(&boot.kernel).cloned().unwrap_or_default();
        println!("\n{}", paint(Tone::Strong, &boot.release));
        if now.is_empty() {
            println!("  does not say what its verifier followed (Linux 5.16 and newer do)");
        }
        for program in before.keys().filter(|program| !now.is_empty() && !now.contains_key(*program)) {
            println!("  {program:24} {:>8}  {}", "", paint(Tone::Bad, "is not loaded any more"));
            good = false;
            all_there = false;
        }
        for (program, now) in &now {
            let judged = Row { now: *now, before: before.get(program).copied() };
            good &= !judged.is_too_much();
            println!("  {program:24} {judged}");
        }
        if accept && !now.is_empty() {
            kept.insert(boot.kernel.clone(), now);
        }
    }
    if accept {
        write(&path, &kept)?;
        println!("\n{} has these figures now", repo.short(&path).display());
        // A program that is refused is no figure.
        return Ok(all_there);
    }
    Ok(good)
}

/// One program on one kernel.
struct Row {
    now: u32,
    before: Option<u32>,
}

impl Row {
    fn is_too_much(&self) -> bool {
        self.now > MOST || self.before.is_some_and(|before| self.now > before.saturating_add(before / GROWTH))
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let change = match self.before {
            None => "new".to_owned(),
            Some(before) if before == self.now => "as before".to_owned(),
            Some(before) => format!("{:+} from {before}", i64::from(self.now) - i64::from(before)),
        };
        let tone = if self.is_too_much() { Tone::Bad } else { Tone::Faint };
        write!(f, "{:>8}  {}", self.now, paint(tone, &change))
    }
}

/// What `doctor` says of each program that it attached.
fn figures(output: &str) -> Result<Figures> {
    let start = output.find('{').context("doctor said nothing")?;
    let mut documents = serde_json::Deserializer::from_str(&output[start..]).into_iter::<Value>();
    let report = documents.next().context("doctor said nothing")?.context("doctor's words are not JSON")?;
    let hooks = report["hooks"].as_array().context("doctor names no hooks")?;
    let figure = |hook: &Value| {
        let verified = u32::try_from(hook["verified"].as_u64()?).ok()?;
        Some((hook["program"].as_str()?.to_owned(), verified))
    };
    Ok(hooks.iter().filter_map(figure).collect())
}

fn read(path: &Path) -> Result<Kept> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            toml::from_str(&text).with_context(|| format!("{} is not as it was written", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, kept: &Kept) -> Result<()> {
    let head = "# Instructions that the verifier followed until it took each program, of 1,000,000 at most.\n\
                # Written by `cargo xtask vm --verifier --accept`.\n\n";
    let text = head.to_owned() + &toml::to_string(kept).context("cannot write figures as TOML")?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_attached_is_read_from_behind_whatever_else_was_said() -> Result<()> {
        let said = r#"a warning
{"hooks": [{"program": "sys_exit", "verified": 70000}, {"program": "fork", "verified": null}]}
"#;
        assert_eq!(figures(said)?, Figures::from([("sys_exit".to_owned(), 70_000)]));
        assert!(figures("nothing").is_err() && figures("{}").is_err());
        Ok(())
    }

    #[test]
    fn a_program_may_grow_by_a_quarter_and_to_half_of_what_there_is() {
        let much = |now, before| Row { now, before }.is_too_much();
        assert!(!much(125_000, Some(100_000)) && much(125_001, Some(100_000)));
        assert!(!much(500_000, None) && much(500_001, None) && much(500_001, Some(490_000)));
        assert!(!much(10, Some(400_000)));
    }
}
