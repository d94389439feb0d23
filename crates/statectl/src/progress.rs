//! Shows on the terminal what a command is doing, if that takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::num::NonZero;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A command that is done within this time shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Opening a revision keeps a processor busy, and takes as much memory as the document.
const MOST_THREADS: usize = 4;
const TICK: Duration = Duration::from_millis(100);
const COUNTED: &str = "{wide_bar} {human_pos} of {human_len} {msg}, {eta} left";
const UNCOUNTED: &str = "{spinner} {msg} ({elapsed})";

/// Shows what a command is doing, until dropped. Shows nothing if standard error is not a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Its end wakes the thread that waits for the moment to show something.
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// A display of steps whose number is unknown.
    pub(crate) fn of_steps(first: impl Into<String>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let progress = Self::shown_on(ProgressDrawTarget::stderr(), PATIENCE, bar, UNCOUNTED);
        progress.step(first);
        progress
    }

    /// Shows that the command now does this.
    pub(crate) fn step(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    fn shown_on(terminal: ProgressDrawTarget, patience: Duration, bar: ProgressBar, look: &str) -> Self {
        let style = ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bar.with_style(style);
        let (done, is_done) = channel();
        let shown = bar.clone();
        let thread = thread::spawn(move || {
            if is_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(terminal);
                shown.tick();
                shown.enable_steady_tick(TICK);
            }
        });
        Self {
            bar,
            done: Some(done),
            thread: Some(thread),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done = None;
        if let Some(thread) = self.thread.take() {
            // It ends at once, and a panic in it has been printed.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// Calls `look` with each of `items`; `what` names them in the display.
pub(crate) fn each<T, U>(what: &'static str, items: Vec<T>, look: impl FnMut(T) -> U) -> Vec<U> {
    each_shown_on(ProgressDrawTarget::stderr(), PATIENCE, what, items, look)
}

/// The same on a few threads, of which each looks at one item at a time, so that their number bounds the memory.
pub(crate) fn each_in_parallel<T: Send, U: Send>(
    what: &'static str,
    items: Vec<T>,
    look: impl Fn(T) -> U + Sync,
) -> Vec<U> {
    let progress = counted(ProgressDrawTarget::stderr(), PATIENCE, what, items.len());
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let queue = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..processors.clamp(2, MOST_THREADS) {
            scope.spawn(|| {
                // A thread that panicked leaves both as they were.
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((position, item)) = next() {
                    let looked = look(item);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((position, looked));
                    progress.bar.inc(1);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(position, _)| *position);
    results.into_iter().map(|(_, looked)| looked).collect()
}

fn each_shown_on<T, U>(
    terminal: ProgressDrawTarget,
    patience: Duration,
    what: &'static str,
    items: Vec<T>,
    mut look: impl FnMut(T) -> U,
) -> Vec<U> {
    let progress = counted(terminal, patience, what, items.len());
    items
        .into_iter()
        .map(|item| {
            let looked = look(item);
            progress.bar.inc(1);
            looked
        })
        .collect()
}

fn counted(terminal: ProgressDrawTarget, patience: Duration, what: &'static str, count: usize) -> Progress {
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::hidden());
    let progress = Progress::shown_on(terminal, patience, bar, COUNTED);
    progress.step(what);
    progress
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;
    use std::sync::Barrier;

    fn terminal() -> (InMemoryTerm, ProgressDrawTarget) {
        let terminal = InMemoryTerm::new(4, 60);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        (terminal, target)
    }

    #[test]
    fn slow_work_shows_how_far_it_is_and_clears_it() {
        let (terminal, target) = terminal();
        let pages = each_shown_on(target, Duration::ZERO, "revisions", vec![1, 2, 3], |item| {
            // The bar is drawn by another thread.
            while !terminal
                .contents()
                .contains(&format!("{} of 3 revisions", item - 1))
            {
                thread::park_timeout(Duration::from_millis(5));
            }
            terminal.contents()
        });
        assert!(pages[2].contains("2 of 3 revisions"), "{pages:?}");
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn quick_work_shows_nothing() {
        let (terminal, target) = terminal();
        let pages = each_shown_on(target, Duration::from_secs(600), "revisions", vec![1, 2], |_| {
            terminal.contents()
        });
        assert_eq!(
            (pages, terminal.contents()),
            (vec![String::new(); 2], String::new())
        );
    }

    #[test]
    fn parallel_work_keeps_the_order() {
        let together = Barrier::new(2);
        // The first item is done with the last.
        let squares = each_in_parallel("items", (0..100_u64).collect(), |item| {
            if [0, 99].contains(&item) {
                together.wait();
            }
            item * item
        });
        assert_eq!(squares, (0..100).map(|item| item * item).collect::<Vec<_>>());
    }
}
