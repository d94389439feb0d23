//! Explores a model of the journal protocol completely: two or three runs are evicted, die and roll back at any step, with late
//! requests in a database or power cuts in a directory. With all rules on, nothing breaks; with one rule off, the search finds the
//! attack that the rule prevents.
//!
//! `rules` lists the rules and the worlds that try them. `medium` models the place of one stack and the steps of each call.
//! `process` models runs, a reader and a remover, and states what must hold. A document is a set of changes; bytes, sizes, leases
//! and object stores are not modelled.

mod medium;
mod process;
mod rules;

use crate::report::{Report, report};
use clap::{Args, ValueEnum as _};
use process::{Action, Broken, State};
use rules::{CONFIGS, Rule, World};
use std::collections::{HashSet, VecDeque};
use std::process::ExitCode;
use std::time::Instant;

/// Options of `cargo xtask protocol`.
#[derive(Args)]
pub struct Options {
    /// Print only the attacks that this rule prevents, step by step
    #[arg(long, value_name = "RULE")]
    trace: Option<Rule>,
}

/// Explores every world with all rules on, and looks for each attack with its rule off.
pub fn run(options: &Options) -> ExitCode {
    report(|report| {
        if let Some(rule) = options.trace {
            find_attacks(rule, true, report);
            return Ok(());
        }
        for config in CONFIGS {
            explore(World { config, off: None }, report);
        }
        for rule in Rule::value_variants() {
            find_attacks(*rule, false, report);
        }
        Ok(())
    })
}

fn explore(world: World, report: &mut Report<'_>) {
    let start = Instant::now();
    let search = search(world, None);
    let seconds = start.elapsed().as_secs_f64();
    let (name, states, depth) = (world.config.name, search.states, search.depth);
    let problem = search
        .found
        .map(|(broken, way)| format!("{broken}\n{}", story(world, &way)));
    report.check(
        format_args!("{name}: {states} states, depth {depth}, {seconds:.1} s"),
        problem.as_slice(),
    );
}

fn find_attacks(rule: Rule, tells: bool, report: &mut Report<'_>) {
    for (name, config, broken) in rule.attacks() {
        let world = World {
            config,
            off: Some(rule),
        };
        let without = format!("{name}, {}, without \"{}\"", config.name, rule.text());
        let Some((broken, way)) = search(world, Some(*broken)).found else {
            report.fails(without, &["not found"]);
            continue;
        };
        report.passes(1);
        report.line(format_args!(
            "found   {without}: {broken} after {} steps",
            way.len()
        ));
        if tells {
            report.line(story(world, &way));
        }
    }
}

struct Search {
    states: usize,
    depth: usize,
    /// The shortest way to the violation.
    found: Option<(Broken, Vec<Action>)>,
}

/// Visits every state once, the nearest first, until the `wanted` promise breaks, or any if none is wanted.
fn search(world: World, wanted: Option<Broken>) -> Search {
    let first = State::new(world);
    let mut seen = HashSet::from([first]);
    // The predecessor of each state, and the action that led from it.
    let mut ways: Vec<Option<(usize, Action)>> = vec![None];
    let mut queue = VecDeque::from([(0, 0, first)]);
    let mut search = Search {
        states: 0,
        depth: 0,
        found: None,
    };
    while let Some((at, depth, state)) = queue.pop_front() {
        search.depth = depth;
        if let Some(broken) = state.broken {
            if wanted.is_none_or(|wanted| wanted == broken) {
                let back = std::iter::successors(ways[at], |(from, _)| ways[*from]);
                let mut way: Vec<_> = back.map(|(_, action)| action).collect();
                way.reverse();
                search.found = Some((broken, way));
                break;
            }
            continue;
        }
        for action in state.actions(world) {
            let mut next = state;
            next.act(action, world);
            if seen.insert(next) {
                queue.push_back((ways.len(), depth + 1, next));
                ways.push(Some((at, action)));
            }
        }
    }
    search.states = seen.len();
    search
}

/// A line for each step: what happens, and the state afterwards.
fn story(world: World, way: &[Action]) -> String {
    let mut state = State::new(world);
    let mut lines = Vec::new();
    for (number, action) in (1..).zip(way) {
        let told = state.tell(*action, world);
        state.act(*action, world);
        lines.push(format!("{number:4}  {told:56} {}", state.medium.tell(world)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_in_the_small_worlds() {
        for config in CONFIGS
            .into_iter()
            .filter(|config| config.runs + config.changes < 5)
        {
            let found = search(World { config, off: None }, None).found;
            assert!(found.is_none(), "{}: {found:?}", config.name);
        }
    }

    /// The first design flushed the directory after the first record of a journal, and not before. The model found it.
    #[test]
    fn a_journal_is_not_replaced_before_its_death_is_durable() {
        let rule = Rule::FlushBeforeReplacing;
        let (_, config, broken) = rule.attacks()[0];
        let world = World {
            config,
            off: Some(rule),
        };
        let (_, way) = search(world, Some(broken)).found.unwrap();
        let story = story(world, &way);
        assert!(
            story.lines().last().unwrap().contains("the power is cut"),
            "{story}"
        );
    }
}
