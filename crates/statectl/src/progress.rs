//! How far a command is that looks at many things, shown on the terminal while it takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// What is done within this time needs no bar.
const PATIENCE: Duration = Duration::from_millis(300);
const LOOK: &str = "{wide_bar} {human_pos} of {human_len} {msg}, {eta} left";

/// Calls `look` with each of `items`, which are so many `what`. Nothing is shown where standard error is no terminal.
pub(crate) fn each<T, U>(what: &'static str, items: Vec<T>, look: impl FnMut(T) -> U) -> Vec<U> {
    shown_on(ProgressDrawTarget::stderr(), PATIENCE, what, items, look)
}

fn shown_on<T, U>(
    terminal: ProgressDrawTarget,
    patience: Duration,
    what: &'static str,
    items: Vec<T>,
    mut look: impl FnMut(T) -> U,
) -> Vec<U> {
    let bar = ProgressBar::with_draw_target(Some(items.len() as u64), ProgressDrawTarget::hidden())
        .with_style(style())
        .with_message(what);
    let mut terminal = Some(terminal);
    let mut looked = Vec::with_capacity(items.len());
    for item in items {
        looked.push(look(item));
        bar.inc(1);
        if bar.elapsed() >= patience
            && let Some(terminal) = terminal.take()
        {
            bar.set_draw_target(terminal);
        }
    }
    bar.finish_and_clear();
    looked
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(LOOK).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    fn pages(patience: Duration) -> (Vec<String>, String) {
        let terminal = InMemoryTerm::new(4, 60);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        let pages = shown_on(target, patience, "revisions", vec![1, 2, 3], |_| {
            // Longer than the shortest pause between two pictures.
            std::thread::park_timeout(Duration::from_millis(20));
            terminal.contents()
        });
        (pages, terminal.contents())
    }

    #[test]
    fn what_takes_long_shows_how_far_it_is_and_is_gone_at_the_end() {
        let (pages, at_last) = pages(Duration::ZERO);
        assert_eq!(pages[0], "");
        assert!(pages[2].contains("2 of 3 revisions"), "{pages:?}");
        assert_eq!(at_last, "");
    }

    #[test]
    fn what_is_soon_done_shows_nothing() {
        let (pages, at_last) = pages(Duration::from_secs(600));
        assert_eq!((pages, at_last), (vec![String::new(); 3], String::new()));
    }
}
