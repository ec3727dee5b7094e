//! One stage for all tests of a suite: the sensor is loaded once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Result, anyhow};

use crate::skip;
use crate::stage::Stage;
use crate::syscalls::at_exit;

/// The stage; none after the end; the words of what went wrong with it.
type Kept = Result<Mutex<Option<Arc<Stage>>>, String>;

static STAGE: OnceLock<Kept> = OnceLock::new();
static FAILED: AtomicBool = AtomicBool::new(false);

/// Runs one test on the suite's stage. It is taken down after the last test.
pub fn on_stage(suite: &str, test: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    on_stage_by(suite, Stage::start, test)
}

/// The same on one that is started so.
pub fn on_stage_by(
    suite: &str,
    start: fn(&str) -> Result<Stage>,
    test: impl FnOnce(&Stage) -> Result<()>,
) -> Result<()> {
    if skip::needs_root(suite) {
        return Ok(());
    }
    let stage = match stage(suite, start) {
        Err(error) if skip::is_refused(suite, &error) => return Ok(()),
        stage => stage?,
    };
    let unfinished = Unfinished;
    test(&stage)?;
    std::mem::forget(unfinished);
    Ok(())
}

/// A test that ends early, by an error or a panic, leaves its traces.
struct Unfinished;

impl Drop for Unfinished {
    fn drop(&mut self) {
        FAILED.store(true, Ordering::Relaxed);
    }
}

fn stage(suite: &str, start: fn(&str) -> Result<Stage>) -> Result<Arc<Stage>> {
    let kept = STAGE.get_or_init(|| match start(suite) {
        Ok(stage) => {
            at_exit(take_down);
            Ok(Mutex::new(Some(Arc::new(stage))))
        }
        Err(error) => Err(format!("{error:#}")),
    });
    let kept = kept.as_ref().map_err(|words| anyhow!("the stage does not stand: {words}"))?;
    let stage = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    stage.ok_or_else(|| anyhow!("the stage was taken down"))
}

extern "C" fn take_down() {
    let Some(Ok(kept)) = STAGE.get() else { return };
    let stage = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(stage) = stage.and_then(Arc::into_inner) {
        stage.end(FAILED.load(Ordering::Relaxed));
    }
}
