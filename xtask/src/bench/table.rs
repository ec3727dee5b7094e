//! All that was measured, as a table for people, as JSON, and against the budgets.

use super::cost::{Cost, Sample, middle};
use super::machine::Facts;
use super::modes::{Budget, CPU, MEMORY, Unit};
use super::rounds::{Loss, Row};
use super::statistics::{Spread, ratios};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;

/// Of one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub machine: Facts,
    pub rounds: u32,
    pub rows: Vec<Row>,
    /// In the traced halves.
    pub lost: Loss,
    pub cost: Option<Cost>,
}

impl Row {
    /// Of the medians of single operations, traced by untraced.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        ratios(self.pairs.iter().map(|pair| (pair.untraced.p50, pair.traced.p50)))
    }

    fn of(&self, value: impl Fn(&super::rounds::Pair) -> f64) -> Option<f64> {
        Spread::of(self.pairs.iter().map(value)).map(|spread| spread.median)
    }
}

impl Report {
    /// Name and value of everything that has a budget.
    fn measures(&self) -> Vec<(&'static str, f64)> {
        let rows = self.rows.iter().filter_map(|row| Some((row.mode.name, row.ratio()?.median)));
        let mut all: Vec<(&'static str, f64)> = rows.collect();
        if let Some(cost) = &self.cost {
            let own = [(CPU, middle(&cost.full, Sample::price)), (MEMORY, middle(&cost.full, megabytes))];
            all.extend(own.into_iter().filter_map(|(name, spread)| Some((name, spread?.median))));
        }
        all
    }

    /// One line for each budget that is exceeded.
    pub(crate) fn exceeded(&self) -> Vec<String> {
        let check = |(name, value): (&'static str, f64)| Budget::of(name)?.exceeded(value);
        self.measures().into_iter().filter_map(check).collect()
    }

    pub(crate) fn json(&self) -> Result<String> {
        serde_json::to_string(self).context("the report cannot be written")
    }

    /// For README.md and the terminal.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _infallible = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let Facts { agent, kernel, processor, cpus, date } = &self.machine;
        writeln!(to, "{agent}, Linux {kernel}, {cpus} CPUs ({processor}), {date}.")?;
        if !self.rows.is_empty() {
            writeln!(
                to,
                "\n| operation | file system | without | with the agent | ratio (of {} rounds) | p99 | budget |",
                self.rounds
            )?;
            writeln!(to, "| --- | --- | --- | --- | --- | --- | --- |")?;
            for row in &self.rows {
                self.write_row(row, to)?;
            }
            let Loss { stored, lost } = self.lost;
            writeln!(to, "\nIn these rounds {stored} records were stored and {lost} events lost.")?;
        }
        if let Some(cost) = &self.cost {
            write_cost(cost, to)?;
        }
        Ok(())
    }

    fn write_row(&self, row: &Row, to: &mut String) -> std::fmt::Result {
        let without = time(row.of(|pair| pair.untraced.p50));
        let with = time(row.of(|pair| pair.traced.p50));
        let ratio =
            row.ratio().map_or_else(none, |r| format!("×{:.2} ({:.2}–{:.2})", r.median, r.least, r.most));
        let p99 =
            format!("{} → {}", time(row.of(|pair| pair.untraced.p99)), time(row.of(|pair| pair.traced.p99)));
        let what = format!("{}{}", row.mode.what, subject(row));
        let system = row.mode.file_system.name();
        writeln!(to, "| {what} | {system} | {without} | {with} | {ratio} | {p99} | {} |", most(row.mode.name))
    }
}

/// What becomes of the operation.
fn subject(row: &Row) -> &'static str {
    use super::modes::Place;
    match (row.mode.act, row.mode.place) {
        ("read", _) => "",
        ("spawn", _) => ": recorded",
        (_, Place::Mutable) => ": ignored",
        (_, Place::Protected) => ": recorded",
    }
}

fn write_cost(cost: &Cost, to: &mut String) -> std::fmt::Result {
    let spread = |samples: &[Sample], unit: Unit, of: &dyn Fn(&Sample) -> f64| {
        middle(samples, of).map_or_else(none, |s| {
            format!("{} ({}–{})", unit.text(s.median), unit.text(s.least), unit.text(s.most))
        })
    };
    let rate = cost.paced.first().map_or(0, |sample| sample.rate);
    writeln!(to, "\n| the agent itself | at full rate | at {rate} operations a second | budget |")?;
    writeln!(to, "| --- | --- | --- | --- |")?;
    let mut line = |what: &str, unit: Unit, budget: &str, of: &dyn Fn(&Sample) -> f64| {
        let (full, paced) = (spread(&cost.full, unit, of), spread(&cost.paced, unit, of));
        writeln!(to, "| {what} | {full} | {paced} | {} |", most(budget))
    };
    line("CPU for 100,000 events, ring to spool", Unit::CpuSeconds, CPU, &Sample::price)?;
    line("memory of `watch`, rings included", Unit::Megabytes, MEMORY, &megabytes)?;
    line("the most it ever had", Unit::Megabytes, "", &|sample| sample.watch.peak as f64 / 1e6)?;
    line("memory of `ship`", Unit::Megabytes, "", &|sample| sample.ship.resident as f64 / 1e6)?;
    let counts = |samples: &[Sample]| {
        let [stored, lost, bytes] = [
            samples.iter().map(|sample| sample.stored).sum::<u64>(),
            samples.iter().map(|sample| sample.lost).sum(),
            samples.iter().map(|sample| sample.bytes).sum(),
        ];
        (format!("{lost} of {}", stored + lost), bytes / stored.max(1))
    };
    let ((full, full_bytes), (paced, paced_bytes)) = (counts(&cost.full), counts(&cost.paced));
    writeln!(to, "| events lost (each is counted in a signed record) | {full} | {paced} | |")?;
    writeln!(to, "| bytes of a record in the spool | {full_bytes} | {paced_bytes} | |")
}

fn megabytes(sample: &Sample) -> f64 {
    sample.watch.resident as f64 / 1e6
}

/// The budget of a measure, or nothing.
fn most(measure: &str) -> String {
    Budget::of(measure).map_or_else(String::new, |budget| format!("≤ {}", budget.unit.text(budget.most)))
}

fn time(nanoseconds: Option<f64>) -> String {
    nanoseconds.map_or_else(none, |ns| match ns {
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    })
}

fn none() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::load::Slice;
    use super::super::modes::MODES;
    use super::super::process::Memory;
    use super::super::rounds::Pair;
    use super::*;

    fn slice(p50: f64) -> Slice {
        Slice { operations: 9, timed: 8, seconds: 1.0, p50, p99: p50 * 2.0 }
    }

    fn report(traced: f64, resident: u64) -> Report {
        let pairs = [1.0, 2.0, 3.0].map(|n| Pair { untraced: slice(1000.0 * n), traced: slice(traced * n) });
        let watch = Memory { resident, peak: resident, ..Memory::default() };
        let sample = Sample {
            rate: 0,
            operations: 5,
            stored: 100_000,
            lost: 7,
            cpu: 0.25,
            bytes: 5_200_000,
            watch,
            ship: watch,
        };
        let paced = Sample { rate: 10_000, lost: 0, ..sample };
        Report {
            rounds: 3,
            rows: vec![Row { mode: &MODES[0], pairs: pairs.to_vec() }],
            cost: Some(Cost { full: vec![sample], paced: vec![paced] }),
            ..Report::default()
        }
    }

    #[test]
    fn what_is_within_its_budget_is_not_said() {
        assert_eq!(report(1100.0, 40_000_000).exceeded(), Vec::<String>::new());
    }

    #[test]
    fn each_exceeded_budget_is_named() {
        let exceeded = report(1300.0, 46_000_000).exceeded();
        assert_eq!(exceeded, ["read: 1.300 is over ×1.20", "memory: 46.000 is over 45.0 MB"]);
    }

    #[test]
    fn the_table_shows_the_middle_the_ends_and_the_budget() {
        let text = report(1100.0, 40_000_000).markdown();
        let row = "| open for reading, close | ext4 | 2.00 µs | 2.20 µs | ×1.10 (1.10–1.10) | 4.00 µs → 4.40 µs | ≤ ×1.20 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| 7 of 100007 | 0 of 100000 | |"), "{text}");
        let widths = |line: &str| line.matches('|').count();
        let tables = text.split("\n\n").filter(|part| part.starts_with('|'));
        for table in tables {
            let first = table.lines().next().map(widths);
            assert!(table.lines().all(|line| Some(widths(line)) == first), "{table}");
        }
    }
}
