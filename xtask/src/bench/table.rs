//! All that was measured, as a table for people, as JSON, and against the budgets.

use super::cost::{Cost, Sample, middle};
use super::machine::Facts;
use super::modes::{Budget, CPU, MEMORY, Place, Unit};
use super::rounds::{Pair, Row};
use super::statistics::{Spread, ratios};
use super::tracer::Taken;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;

/// Of one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub machine: Facts,
    /// An ext4 made for this, not the machine's.
    pub own_ext4: bool,
    pub rounds: u32,
    pub agent: Measured,
    pub audit: Option<Measured>,
}

/// Of the agent, or of the logger beside it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    pub rows: Vec<Row>,
    /// In the traced halves.
    pub taken: Taken,
    pub cost: Option<Cost>,
}

impl Row {
    /// Of the medians of single operations, traced by untraced.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        ratios(self.pairs.iter().map(|pair| (pair.untraced.p50, pair.traced.p50)))
    }

    fn of(&self, value: impl Fn(&Pair) -> f64) -> Option<f64> {
        Spread::of(self.pairs.iter().map(value)).map(|spread| spread.median)
    }
}

impl Report {
    /// Name and value of everything that has a budget.
    fn measures(&self) -> Vec<(&'static str, f64)> {
        let rows = self.agent.rows.iter().filter_map(|row| Some((row.mode.name, row.ratio()?.median)));
        let mut all: Vec<(&'static str, f64)> = rows.collect();
        if let Some(cost) = &self.agent.cost {
            let own = [(CPU, middle(&cost.full, Sample::price)), (MEMORY, middle(&cost.full, resident(0)))];
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
        if !self.agent.rows.is_empty() {
            self.write_rows(to)?;
        }
        if let Some(cost) = &self.agent.cost {
            write_cost(cost, self.audit.as_ref().and_then(|audit| audit.cost.as_ref()), to)?;
        }
        Ok(())
    }

    fn write_rows(&self, to: &mut String) -> std::fmt::Result {
        let beside = self.audit.as_ref().map(|audit| &audit.rows);
        let mut head =
            vec!["operation", "file system", "without", "with the agent", "ratio", "p99", "budget"];
        head.extend(beside.map(|_| "ratio with auditd"));
        write_head(&head, to)?;
        for (at, row) in self.agent.rows.iter().enumerate() {
            let [without, with] =
                [row.of(|pair| pair.untraced.p50), row.of(|pair| pair.traced.p50)].map(time);
            let ends = [row.of(|pair| pair.untraced.p99), row.of(|pair| pair.traced.p99)].map(time);
            let mut cells = vec![
                format!("{}{}", row.mode.what, becomes(row)),
                row.mode.file_system.name().to_owned(),
                without,
                with,
                ratio(row),
                ends.join(" → "),
                most(row.mode.name),
            ];
            cells.extend(beside.map(|rows| rows.get(at).map_or_else(none, ratio)));
            write_line(&cells, to)?;
        }
        let Taken { stored, lost, .. } = self.agent.taken;
        writeln!(
            to,
            "\nMedians of one operation; ratios with the lowest and the highest of {} rounds, in which {stored} records \
             were stored and {lost} events lost.",
            self.rounds
        )?;
        if self.own_ext4 {
            writeln!(to, "The ext4 is one with the defaults of mkfs.ext4, in a file in memory.")?;
        }
        Ok(())
    }
}

/// What becomes of the operation.
fn becomes(row: &Row) -> &'static str {
    match (row.mode.act, row.mode.place) {
        ("read", _) => "",
        ("spawn", _) | (_, Place::Protected) => ": recorded",
        (_, Place::Mutable) => ": ignored",
    }
}

fn ratio(row: &Row) -> String {
    row.ratio().map_or_else(none, |r| format!("×{:.2} ({:.2}–{:.2})", r.median, r.least, r.most))
}

fn write_cost(cost: &Cost, beside: Option<&Cost>, to: &mut String) -> std::fmt::Result {
    let rate = cost.paced.first().map_or(0, |sample| sample.rate);
    let paced = format!("at {rate} operations a second");
    let mut head = vec!["the agent itself", "at full rate", paced.as_str(), "budget"];
    head.extend(beside.map(|_| "auditd at full rate"));
    write_head(&head, to)?;
    let mut line = |what: &str, budget: &str, of: &dyn Fn(&[Sample]) -> String| {
        let mut cells = vec![what.to_owned(), of(&cost.full), of(&cost.paced), most(budget)];
        cells.extend(beside.map(|cost| of(&cost.full)));
        write_line(&cells, to)
    };
    line("CPU for 100,000 events", CPU, &|all| spread(all, Unit::CpuSeconds, Sample::price))?;
    line("memory, rings included", MEMORY, &|all| spread(all, Unit::Megabytes, resident(0)))?;
    line("the most it ever had", "", &|all| {
        spread(all, Unit::Megabytes, |sample| megabytes(sample, 0, true))
    })?;
    line("memory of the process that ships", "", &|all| spread(all, Unit::Megabytes, resident(1)))?;
    line("events lost, and said so", "", &|all| {
        let lost: u64 = all.iter().map(|sample| sample.taken.lost).sum();
        format!("{lost} of {}", lost + stored(all))
    })?;
    line("bytes of a record on the disk", "", &|all| {
        let bytes: u64 = all.iter().map(|sample| sample.taken.bytes).sum();
        (bytes / stored(all).max(1)).to_string()
    })
}

fn stored(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.taken.stored).sum()
}

fn spread(samples: &[Sample], unit: Unit, of: impl Fn(&Sample) -> f64) -> String {
    middle(samples, of).map_or_else(none, |s| {
        let [median, least, most] = [s.median, s.least, s.most].map(|value| unit.text(value));
        format!("{median} ({least}–{most})")
    })
}

/// Resident memory of one of the processes, 10^6 bytes.
fn resident(process: usize) -> impl Fn(&Sample) -> f64 {
    move |sample| megabytes(sample, process, false)
}

/// No number where there is no such process.
fn megabytes(sample: &Sample, process: usize, peak: bool) -> f64 {
    let bytes = sample.memory.get(process).map(|memory| if peak { memory.peak } else { memory.resident });
    bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e6)
}

fn write_head(cells: &[&str], to: &mut String) -> std::fmt::Result {
    writeln!(to, "\n| {} |\n|{}", cells.join(" | "), " --- |".repeat(cells.len()))
}

fn write_line(cells: &[String], to: &mut String) -> std::fmt::Result {
    writeln!(to, "| {} |", cells.join(" | "))
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
    use super::*;

    fn slice(p50: f64) -> Slice {
        Slice { operations: 9, timed: 8, seconds: 1.0, p50, p99: p50 * 2.0 }
    }

    fn measured(traced: f64, resident: u64) -> Measured {
        let pairs = [1.0, 2.0, 3.0].map(|n| Pair { untraced: slice(1000.0 * n), traced: slice(traced * n) });
        let memory = vec![Memory { resident, peak: resident, ..Memory::default() }];
        let taken = Taken { stored: 100_000, lost: 7, bytes: 5_200_000 };
        let sample = Sample { rate: 0, operations: 5, taken, cpu: 0.25, memory };
        let paced = Sample { rate: 10_000, taken: Taken { lost: 0, ..taken }, ..sample.clone() };
        Measured {
            rows: vec![Row { mode: &MODES[0], pairs: pairs.to_vec() }],
            cost: Some(Cost { full: vec![sample], paced: vec![paced] }),
            taken,
        }
    }

    fn report(traced: f64, resident: u64) -> Report {
        Report { rounds: 3, agent: measured(traced, resident), ..Report::default() }
    }

    fn are_tables(text: &str) {
        let widths = |line: &str| line.matches('|').count();
        let tables: Vec<&str> = text.split("\n\n").filter(|part| part.starts_with('|')).collect();
        assert_eq!(tables.len(), 2, "{text}");
        for table in tables {
            let first = table.lines().next().map(widths);
            assert!(table.trim_end().lines().all(|line| Some(widths(line)) == first), "{table}");
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
        let row = "| open for reading, close | ext4 | 2.00 µs | 2.20 µs | ×1.10 (1.10–1.10) | 4.00 µs → 4.40 µs | ≤ ×1.20 |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| events lost, and said so | 7 of 100007 | 0 of 100000 |  |\n"), "{text}");
        assert!(text.contains("| memory of the process that ships | – | – |  |\n"), "{text}");
        are_tables(&text);
    }

    #[test]
    fn auditd_stands_beside_and_has_no_budget() {
        let audit = Some(measured(3000.0, 90_000_000));
        let report = Report { audit, ..report(1100.0, 40_000_000) };
        assert_eq!(report.exceeded(), Vec::<String>::new());
        let text = report.markdown();
        assert!(text.contains("| ≤ ×1.20 | ×3.00 (3.00–3.00) |\n"), "{text}");
        are_tables(&text);
    }
}
