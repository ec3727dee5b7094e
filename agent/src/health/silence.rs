//! Which programs should have run and have not.

use std::collections::BTreeSet;

use crate::sensor::Runs;

/// Hooks of which a program has neither run nor been skipped while `done` was gone through: a program that the kernel
/// skipped is counted as a loss already.
pub fn silent(before: &[Runs], after: &[Runs], done: &BTreeSet<&'static str>) -> Vec<&'static str> {
    let is_silent = |now: &&Runs| done.contains(now.hook) && before.contains(now);
    let mut hooks: Vec<_> = after.iter().filter(is_silent).map(|runs| runs.hook).collect();
    hooks.dedup();
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(hook: &'static str, program: &'static str, ran: u64, skipped: u64) -> Runs {
        Runs { hook, program, ran, skipped }
    }

    #[test]
    fn a_hook_is_silent_when_one_of_its_programs_did_not_run_though_it_had_to() {
        let before = [
            runs("sys_exit", "sys_exit", 5, 0),
            runs("vfs_unlink", "vfs_unlink", 1, 0),
            runs("vfs_unlink", "vfs_unlink_end", 1, 0),
            runs("vfs_mkdir", "vfs_mkdir", 0, 0),
            runs("vfs_rmdir", "vfs_rmdir", 3, 1),
        ];
        let after = [
            runs("sys_exit", "sys_exit", 50, 0),
            runs("vfs_unlink", "vfs_unlink", 2, 0),
            runs("vfs_unlink", "vfs_unlink_end", 1, 0),
            runs("vfs_mkdir", "vfs_mkdir", 0, 0),
            runs("vfs_rmdir", "vfs_rmdir", 3, 2),
        ];
        let done = BTreeSet::from(["sys_exit", "vfs_unlink", "vfs_rmdir"]);
        assert_eq!(silent(&before, &after, &done), ["vfs_unlink"]);
        assert_eq!(silent(&before, &before, &BTreeSet::new()), [""; 0]);
        assert_eq!(silent(&[], &after, &done), [""; 0], "nothing is known of before");
    }
}
