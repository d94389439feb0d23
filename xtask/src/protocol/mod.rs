//! A model of the journal protocol, explored to the end: two or three runs that are evicted, die and roll back at any step, with
//! late requests in a database or power cuts in a directory. All rules on, nothing breaks; with one rule off, its attack is found.
//!
//! | file | is |
//! |---|---|
//! | `rules` | the rules, what breaks without each, and the worlds in which it is looked for |
//! | `medium` | the place of one stack, and the steps of each call |
//! | `process` | runs, a reader, a remover; what must hold |
//!
//! The model knows a document as a set of changes. File contents, page sizes, leases and object stores are not in it.

mod medium;
mod process;
mod rules;

use crate::report::{Report, report};
use clap::{Args, ValueEnum as _};
use process::{Action, Broken, State};
use rules::{CONFIGS, Rule, SENTENCES, World};
use std::collections::{HashSet, VecDeque};
use std::process::ExitCode;
use std::time::Instant;

/// Options of `cargo xtask protocol`.
#[derive(Args)]
pub struct Options {
    /// Only prints the shortest attacks that this rule prevents, step by step
    #[arg(long, value_name = "RULE")]
    trace: Option<Rule>,
}

/// Explores every world with all rules on, and looks for each attack with its rule off.
pub fn run(options: &Options) -> ExitCode {
    report(|report| {
        match options.trace {
            Some(rule) => attack(rule, true, report),
            None => {
                for config in CONFIGS {
                    hold(World { config, off: None }, report);
                }
                for rule in Rule::value_variants() {
                    attack(*rule, false, report);
                }
            }
        }
        Ok(())
    })
}

fn hold(world: World, report: &mut Report<'_>) {
    let start = Instant::now();
    let Search { states, depth, found } = search(world, None);
    let seconds = start.elapsed().as_secs_f64();
    let sentence = format!(
        "{}: {states} states, depth {depth}, {seconds:.1} s",
        world.config.name
    );
    let problems = found.map_or_else(Vec::new, |(broken, attack)| {
        let mut problems = vec![broken.to_string()];
        problems.extend(story(world, &attack));
        problems
    });
    // The whole story in one problem: a report shows only some.
    let problems: Vec<_> = problems
        .chunks(usize::MAX)
        .map(|lines| lines.join("\n    "))
        .collect();
    report.check(sentence, &problems);
}

fn attack(rule: Rule, tells: bool, report: &mut Report<'_>) {
    let sentences = SENTENCES.iter().filter(|sentence| sentence.rule == rule);
    for (sentence, (name, config, broken)) in
        sentences.flat_map(|sentence| sentence.attacks.iter().map(move |attack| (sentence, attack)))
    {
        let world = World {
            config,
            off: Some(rule),
        };
        let without = format!("{}, without \"{}\"", config.name, sentence.text);
        match search(world, Some(*broken)).found {
            Some((broken, attack)) => {
                report.passes(1);
                report.line(format_args!(
                    "caught  {name}: {broken} after {} steps; {without}",
                    attack.len()
                ));
                if tells {
                    story(world, &attack).iter().for_each(|line| report.line(line));
                }
            }
            None => report.fails(without, &[format!("{name} is not found")]),
        }
    }
}

struct Search {
    states: usize,
    depth: usize,
    /// The shortest way to what was looked for.
    found: Option<(Broken, Vec<Action>)>,
}

/// Visits every state once, the nearest first, until something breaks: anything, or what is `wanted`.
fn search(world: World, wanted: Option<Broken>) -> Search {
    let first = State::new(world);
    let mut seen = HashSet::from([first]);
    // How each state was reached: from which one, by what.
    let mut ways: Vec<Option<(usize, Action)>> = vec![None];
    let mut queue = VecDeque::from([(0, 0, first)]);
    let mut depth = 0;
    while let Some((at, steps, state)) = queue.pop_front() {
        depth = steps;
        match state.broken() {
            Some(broken) if wanted.is_none_or(|wanted| wanted == broken) => {
                let way = std::iter::successors(ways[at], |(from, _)| ways[*from]);
                let mut actions: Vec<_> = way.map(|(_, action)| action).collect();
                actions.reverse();
                let found = Some((broken, actions));
                return Search {
                    states: seen.len(),
                    depth,
                    found,
                };
            }
            Some(_) => {}
            None => state.next(world, |action, next| {
                if seen.insert(next) {
                    queue.push_back((ways.len(), steps + 1, next));
                    ways.push(Some((at, action)));
                }
            }),
        }
    }
    Search {
        states: seen.len(),
        depth,
        found: None,
    }
}

/// A line for each step.
fn story(world: World, actions: &[Action]) -> Vec<String> {
    let mut state = State::new(world);
    let mut lines = Vec::new();
    for (number, action) in (1..).zip(actions) {
        let told = state.tell(*action, world);
        let before = state;
        before.next(world, |possible, next| {
            if possible == *action {
                state = next;
            }
        });
        lines.push(format!("{number:4}  {told:60} {}", state.medium.tell(world)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_breaks_in_the_small_worlds() {
        for config in CONFIGS {
            if config.runs == 2 && config.changes < 4 {
                let found = search(World { config, off: None }, None).found;
                assert!(found.is_none(), "{}: {found:?}", config.name);
            }
        }
    }

    #[test]
    fn each_rule_prevents_an_attack_of_its_own_world() {
        let listed: BTreeSet<_> = SENTENCES.iter().map(|sentence| sentence.rule as u8).collect();
        let all: BTreeSet<_> = Rule::value_variants().iter().map(|rule| *rule as u8).collect();
        assert_eq!(listed, all);
        assert!(SENTENCES.iter().all(|sentence| !sentence.attacks.is_empty()));
    }

    /// The model found it: the first design flushed the directory after the first record, but not before.
    #[test]
    fn a_new_journal_may_not_replace_one_that_may_come_back() {
        let off = Some(Rule::FlushBeforeReplacing);
        let (_, config, broken) = SENTENCES
            .iter()
            .find(|sentence| Some(sentence.rule) == off)
            .unwrap()
            .attacks[0];
        let (_, attack) = search(World { config, off }, Some(broken)).found.unwrap();
        let story = story(World { config, off }, &attack);
        assert!(story.last().unwrap().contains("the power is cut"), "{story:#?}");
        assert!(search(World { config, off }, Some(Broken::Nonce)).found.is_none());
    }
}
