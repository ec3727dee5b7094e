//! Several boots at once: a guest keeps one of this machine's processors busy.
//!
//! In: tasks in order. Out: each is finished under a lock, so that what is said of it stands together. Always:
//! they begin in their order. After an error of ours nothing new begins; what a guest does is no error.

use crate::stages::{Stage, Stages};
use crate::vm::boot::Outcome;
use anyhow::{Result, anyhow};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

/// More at once would need more memory than a machine with as many processors may have: a guest takes a gigabyte.
const AT_ONCE: usize = 8;

/// What is to be done with each task.
pub(crate) struct Work<'a, T> {
    /// Names its stage.
    pub title: &'a (dyn Fn(&T) -> String + Sync),
    pub run: &'a (dyn Fn(&T, &mut Stage) -> Result<Outcome> + Sync),
    /// One at a time.
    pub finish: &'a mut (dyn FnMut(&T, Stage, Outcome) -> Result<()> + Send),
}

/// What the workers share.
struct Shared<'a, T> {
    stages: &'a mut Stages,
    waiting: std::slice::Iter<'a, T>,
    error: Option<anyhow::Error>,
}

/// Runs all tasks, as many at once as this machine has processors.
pub(crate) fn all<T: Sync>(stages: &mut Stages, tasks: &[T], work: Work<'_, T>) -> Result<()> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = processors.min(AT_ONCE).min(tasks.len());
    let shared = Mutex::new(Shared { stages, waiting: tasks.iter(), error: None });
    let finish = Mutex::new(work.finish);
    let next = || -> Option<(&T, Stage)> {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.error.is_some() {
            return None;
        }
        let task = shared.waiting.next()?;
        let title = (work.title)(task);
        let stage = if workers > 1 { shared.stages.begin_among(&title) } else { shared.stages.begin(&title) };
        Some((task, stage))
    };
    let one = |task: &T, mut stage: Stage| -> Result<()> {
        let outcome = (work.run)(task, &mut stage)?;
        let mut finish = finish.lock().map_err(|_| anyhow!("another worker broke down"))?;
        finish(task, stage, outcome)
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((task, stage)) = next() {
                    if let Err(error) = one(task, stage) {
                        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        shared.error.get_or_insert(error);
                    }
                }
            });
        }
    });
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    shared.error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::Repo;

    fn results(tasks: &[i32], fails: i32) -> Result<(Result<()>, Vec<i32>)> {
        let mut stages = Stages::new(&Repo::here()?, tasks.len())?.aside();
        let mut done = Vec::new();
        let result = all(
            &mut stages,
            tasks,
            Work {
                title: &|task| format!("together {task}"),
                run: &|task, _| {
                    anyhow::ensure!(*task != fails, "task {task} failed");
                    Ok(Outcome::Status(*task))
                },
                finish: &mut |task, _, outcome| {
                    anyhow::ensure!(outcome == Outcome::Status(*task), "{outcome}");
                    done.push(*task);
                    Ok(())
                },
            },
        );
        done.sort_unstable();
        Ok((result, done))
    }

    #[test]
    fn every_task_is_finished_once() -> Result<()> {
        let tasks: Vec<i32> = (1..20).collect();
        let (result, done) = results(&tasks, 0)?;
        result?;
        assert_eq!(done, tasks);
        Ok(())
    }

    #[test]
    fn nothing_begins_after_an_error_and_the_error_is_told() -> Result<()> {
        let tasks: Vec<i32> = (1..2000).collect();
        let (result, done) = results(&tasks, 1)?;
        assert!(result.is_err_and(|error| error.to_string() == "task 1 failed"));
        assert!(done.len() < tasks.len() / 2, "{}", done.len());
        Ok(())
    }
}
