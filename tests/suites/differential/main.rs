//! The same random changes, seen by the kernel's audit and by Graven. Where the two differ, there is a reason in
//! the kernel or in the design, in a table of few rows; every row is used, and nothing differs without one.
//!
//! It runs last: processes that are started after audit was once on take a slower way into the kernel, until a
//! rule keeps audit from them.

mod changes;
mod facts;
mod reasons;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::audit::{self, Audit};
use graven_tests::calls::Entry;
use graven_tests::place::Place;
use graven_tests::shared::on_stage;
use graven_tests::{sight, skip};

use changes::{Changes, Made};
use facts::Fact;
use reasons::{Difference, REASONS, Side};

const SUITE: &str = "differential";
/// Any; what fails is said with it.
const SEED: u64 = 8;
const CHANGES: usize = 2_000;
const FEWER: usize = 600;

#[test]
fn audit_and_graven_tell_the_same_but_for_reasons_that_are_known() -> Result<()> {
    on_stage(SUITE, |stage| {
        let mut place = Place::new("audit")?;
        let names = |entry| changes::CALLS.iter().filter(move |(by, _)| *by == entry).map(|(_, name)| *name);
        let rules =
            [Entry::Native, Entry::Compat].map(|entry| audit::rule(entry, &names(entry).collect::<Vec<_>>()));
        let audit = match Audit::start(&place.join("auditd"), &rules)? {
            Ok(audit) => audit,
            Err(why) => {
                skip::say("differential::audit", &why);
                return Ok(());
            }
        };
        let lost = audit.lost()?;
        let begin = std::time::Instant::now();
        let actor = Actor::new(env!("CARGO_BIN_EXE_graven-actor"))?;
        let made = Changes::new(stage, &actor, SEED)?.make(if sight::is_emulated() { FEWER } else { CHANGES })?;
        stage.fence()?;
        ensure!(audit.lost()? == lost, "audit has lost something");
        println!("{} changes took {:?}", made.len(), begin.elapsed());
        let by_audit = facts::of_audit(&made, &audit.seen()?)?;
        drop(audit);
        let by_graven = facts::of_graven(&made, &stage.central.events::<&str>(&[])?)?;
        compare(&made, &by_audit, &by_graven)?;
        place.done();
        Ok(())
    })
}

fn compare(made: &[Made], by_audit: &[Vec<Fact>], by_graven: &[Vec<Fact>]) -> Result<()> {
    let mut used = BTreeMap::<usize, usize>::new();
    let mut unexplained = Vec::new();
    let mut same = 0;
    for (index, (audit, graven)) in by_audit.iter().zip(by_graven).enumerate() {
        let mut graven: Vec<&Fact> = graven.iter().collect();
        let mut differences = Vec::new();
        for fact in audit {
            let twin = graven.iter().position(|other| fact.is_of_the_same_call(other));
            match twin.map(|twin| graven.remove(twin)) {
                Some(other) if other.names == fact.names => same += 1,
                Some(other) => differences.push((Side::Names, fact, Some(other))),
                None => differences.push((Side::Audit, fact, None)),
            }
        }
        differences.extend(graven.iter().map(|fact| (Side::Graven, *fact, None)));
        for (side, fact, other) in differences {
            let difference = Difference { side, fact, other, index, made, before: by_audit };
            match REASONS.iter().position(|reason| (reason.holds)(&difference)) {
                Some(row) => *used.entry(row).or_default() += 1,
                None => unexplained.push(format!("{}\n  {side:?} {fact:?}\n  {other:?}", made[index].said())),
            }
        }
    }
    let calls: usize = by_audit.iter().map(Vec::len).sum();
    println!("{same} of {calls} calls are told alike");
    for (row, reason) in REASONS.iter().enumerate() {
        println!("{:6} {}", used.get(&row).copied().unwrap_or(0), reason.why);
    }
    let few: Vec<&String> = unexplained.iter().take(20).collect();
    let shown = few.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("\n");
    ensure!(
        unexplained.is_empty(),
        "seed {SEED}: {} differences without a reason:\n{shown}",
        unexplained.len()
    );
    let idle = REASONS.iter().enumerate().find(|(row, _)| !used.contains_key(row));
    ensure!(idle.is_none(), "no difference has this reason: {}", idle.map_or("", |(_, reason)| reason.why));
    ensure!(same > calls / 3, "only {same} of {calls} calls are told alike");
    Ok(())
}
