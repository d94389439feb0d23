use super::marks::open;
use crate::exit::Failure;
use crate::output::Answer;
use crate::pruning::{History, Plan, Row};
use crate::retention::{Fate, Trash};
use crate::rules::Rules;
use crate::settings::{Editor, Settings};
use crate::stack::Context;
use crate::table::{MARK, Table};
use crate::text::{age, now, plain};
use crate::trashed;
use crate::unfinished;
use clap::Args;
use sdk_state::Revision;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use time::OffsetDateTime;

/// Move revisions that no rule keeps to the trash; remove what has been there for 7 days
///
/// It shows for each revision why it stays or goes. The current revision, pinned revisions and revisions that cannot be read
/// always stay, and so does a revision whose time is in the future. Until it is removed, a revision in the trash can be read
/// like any other; `restore` and `pin` take it out again, and so does a prune whose rules keep it.
///
/// Without rules, the policy of the stack applies: see `statectl policy`. Before anything goes, statectl asks for
/// confirmation at the terminal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl prune network/prod --keep-last 10 --keep-daily 14 --keep-monthly 12 --dry-run\n  \
    statectl prune --all --yes                    # by the policy of each stack")]
pub(crate) struct Prune {
    /// FACTORY/STACK, one or more
    #[arg(value_name = "STACK", required_unless_present = "all")]
    pub(super) stacks: Vec<String>,
    /// Every stack; without rules, those that have a policy
    #[arg(long, conflicts_with = "stacks")]
    all: bool,
    /// Show what would stay and go, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove for good what goes, and what is in the trash
    #[arg(long)]
    now: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    rules: Rules,
}

/// What became of the revisions, or would.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pruned {
    dry_run: bool,
    stacks: Vec<PrunedStack>,
    /// The operator has seen the revisions already.
    #[serde(skip)]
    in_short: bool,
    #[serde(skip)]
    now: OffsetDateTime,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PrunedStack {
    stack: String,
    current: Option<String>,
    rules: Option<Rules>,
    revisions: Vec<Row>,
    /// Why the stack was not pruned.
    problem: Option<String>,
    /// The exit code that belongs to it.
    #[serde(skip)]
    code: u8,
}

/// Why a stack is left alone.
enum Excuse {
    /// It has no policy, and no rules were given.
    NoRules,
    Failure(Failure),
}

impl Prune {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        self.prune_revisions(context)?;
        if self.all && !self.dry_run {
            for id in trashed::remove_expired(&context.place()?, now())? {
                context.output().notice(format_args!(
                    "{id} was removed: it was in the trash for more than {} days",
                    trashed::DAYS
                ));
            }
        }
        Ok(())
    }

    fn prune_revisions(&self, context: &Context) -> Result<(), Failure> {
        let now = now();
        let names = self.names(context)?;
        let answer = |stacks, in_short| Pruned {
            dry_run: self.dry_run,
            stacks,
            in_short,
            now,
        };
        let each = |prune: &dyn Fn(&str) -> Result<Plan, Excuse>| {
            let stacks = names.iter().map(|name| self.one(context, name, prune(name)));
            Ok::<Vec<_>, Failure>(
                stacks
                    .collect::<Result<Vec<_>, _>>()?
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        };
        if self.yes && !self.dry_run {
            let stacks = each(&|name| self.prune(context, name, None, now))?;
            return answer(stacks, false).print(context);
        }
        let shown = answer(each(&|name| self.look(context, name, now))?, false);
        if self.dry_run {
            context.output().notice("nothing is changed: this is a dry run");
            return shown.print(context);
        }
        self.confirm(context, &shown)?;
        let in_short = shown.rows().any(Row::goes);
        let mut stacks = Vec::new();
        for stack in shown.stacks {
            if stack.problem.is_some() {
                stacks.push(stack);
                continue;
            }
            let goes = stack.revisions.iter().filter(|row| row.goes());
            let agreed = goes.map(|row| row.name.clone()).collect();
            let pruned = self.prune(context, &stack.stack, Some(&agreed), now);
            stacks.extend(self.one(context, &stack.stack, pruned)?);
        }
        answer(stacks, in_short).print(context)
    }

    fn names(&self, context: &Context) -> Result<Vec<String>, Failure> {
        if !self.all {
            return Ok(self.stacks.clone());
        }
        let stacks = trashed::stacks(&context.place()?)?.into_iter();
        let others = stacks.filter(|(_, trashed)| trashed.is_none());
        Ok(others.map(|(id, _)| id.to_string()).collect())
    }

    /// The part of the answer about one stack. Of several stacks, one that fails does not stop the others.
    fn one(
        &self,
        context: &Context,
        name: &str,
        pruned: Result<Plan, Excuse>,
    ) -> Result<Option<PrunedStack>, Failure> {
        let failure = match pruned {
            Ok(plan) => {
                return Ok(Some(PrunedStack {
                    stack: name.into(),
                    current: Some(plan.current.to_string()),
                    rules: Some(plan.rules),
                    revisions: plan.rows,
                    problem: None,
                    code: 0,
                }));
            }
            Err(Excuse::NoRules) if self.all => {
                let notice = format!("{name} has no policy, so all of its revisions stay");
                context.output().notice(notice);
                return Ok(None);
            }
            Err(excuse) => Failure::from(excuse).about(Some(name)),
        };
        match &failure {
            Failure::Told(told) if self.all || self.stacks.len() > 1 => {
                let warning = format!("{name} is left as it is: {}", told.message);
                context.output().warning(warning);
                Ok(Some(PrunedStack {
                    stack: name.into(),
                    current: None,
                    rules: None,
                    revisions: Vec::new(),
                    problem: Some(told.message.clone()),
                    code: told.code,
                }))
            }
            _ => Err(failure),
        }
    }

    /// Asks whether what goes may go.
    fn confirm(&self, context: &Context, shown: &Pruned) -> Result<(), Failure> {
        if !shown.rows().any(Row::goes) {
            return Ok(());
        }
        context.output().preview(|page| shown.human(page))?;
        let count = |fate| shown.rows().filter(|row| row.fate == fate).count();
        let question = match (count(Fate::Trashed), count(Fate::Removed)) {
            (trashed, 0) => format!("move {} to the trash?", revisions(trashed)),
            (0, removed) => format!("remove {} for good?", revisions(removed)),
            (trashed, removed) => format!(
                "move {} to the trash, and remove {removed} for good?",
                revisions(trashed)
            ),
        };
        let hint = "look with --dry-run, then pass --yes";
        context.output().confirm(&question, hint, "every revision stays")
    }

    /// What would become of the revisions of a stack. Changes nothing, and needs no lock.
    fn look(&self, context: &Context, name: &str, now: OffsetDateTime) -> Result<Plan, Excuse> {
        let stack = open(context, name)?;
        let current = stack.current()?;
        let settings = Settings::of(&stack)?;
        stack.unfinished();
        let rules = self.rules(&settings)?;
        let history = History::read(&stack)?;
        Ok(Plan::new(&history, &current, &settings, rules, self.trash(), now))
    }

    /// Prunes a stack under its lock. Of what goes, only the revisions in `agreed` go, if anybody was asked.
    fn prune(
        &self,
        context: &Context,
        name: &str,
        agreed: Option<&BTreeSet<Revision>>,
        now: OffsetDateTime,
    ) -> Result<Plan, Excuse> {
        let stack = open(context, name)?;
        self.rules(&Settings::of(&stack)?)?;
        // Of a stack whose current revision does not open, every revision may be needed.
        let (held, run) = unfinished::begin_settled(&stack, "prune")?;
        let current = match run.base() {
            Some(current) => current,
            None => stack.current()?,
        };
        let mut editor = match Settings::exist(&stack)? {
            true => Some(Editor::begin(&stack, &held, "prune")?),
            false => None,
        };
        let history = History::read(&stack)?;
        let plan = |editor: &Option<Editor>| {
            let none = Settings::default();
            let settings = editor.as_ref().map_or(&none, |editor| &editor.settings);
            let rules = self.rules(settings)?;
            let mut plan = Plan::new(&history, &current, settings, rules, self.trash(), now);
            if let Some(agreed) = agreed {
                plan.spare_all_but(agreed, settings);
            }
            Ok::<_, Excuse>(plan)
        };
        let mut planned = plan(&editor)?;
        if editor.is_none() && planned.rows.iter().any(|row| row.fate == Fate::Trashed) {
            editor = Some(Editor::begin(&stack, &held, "prune")?);
            planned = plan(&editor)?;
        }
        planned.carry_out(&stack, &run, editor, now)?;
        drop(run);
        held.give_back_after_change(&stack);
        Ok(planned)
    }

    fn trash(&self) -> Trash {
        match self.now {
            true => Trash::None,
            false => Trash::SevenDays,
        }
    }

    /// The rules of the command line, or else of the policy.
    fn rules(&self, settings: &Settings) -> Result<Rules, Excuse> {
        match (self.rules.is_empty(), &settings.policy) {
            (false, _) => Ok(self.rules.clone()),
            (true, Some(policy)) => Ok(policy.clone()),
            (true, None) => Err(Excuse::NoRules),
        }
    }
}

impl From<Failure> for Excuse {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Excuse> for Failure {
    fn from(excuse: Excuse) -> Self {
        match excuse {
            Excuse::NoRules => Self::usage("no rules are given, and the stack has no policy").hint(
                "give rules, such as --keep-last 10 --keep-daily 14, or store them with `statectl policy STACK RULES`",
            ),
            Excuse::Failure(failure) => failure,
        }
    }
}

impl Pruned {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.stacks.iter().flat_map(|stack| &stack.revisions)
    }

    /// Prints the answer; it is a failure if a stack has a problem.
    fn print(&self, context: &Context) -> Result<(), Failure> {
        context.output().answer(self)?;
        let problems = self.stacks.iter().filter(|stack| stack.problem.is_some());
        match problems.clone().next() {
            None => Ok(()),
            Some(first) => Err(Failure::new(
                first.code,
                "failed",
                format!(
                    "{} of {} stacks were not pruned",
                    problems.count(),
                    self.stacks.len()
                ),
            )
            .hint("the warnings say why")),
        }
    }
}

fn revisions(count: usize) -> String {
    match count {
        1 => "1 revision".into(),
        count => format!("{count} revisions"),
    }
}

impl Answer for Pruned {
    const KIND: &'static str = "pruned";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        for stack in self.stacks.iter().filter(|stack| stack.problem.is_none()) {
            if !self.in_short {
                let mut table = Table::new(["", "REVISION", "AGE", "FATE", "WHY"]);
                for row in &stack.revisions {
                    table.row([
                        if row.is_current {
                            MARK.into()
                        } else {
                            String::new()
                        },
                        plain(&row.revision),
                        row.time.map_or("-".into(), |time| age(time, self.now)),
                        row.in_words().into(),
                        row.why(),
                    ]);
                }
                table.print(page)?;
            }
            let count = |fate| stack.revisions.iter().filter(|row| row.fate == fate).count();
            writeln!(
                page,
                "{}: {} kept, {} to the trash, {} in the trash, {} removed",
                stack.stack,
                count(Fate::Kept),
                count(Fate::Trashed),
                count(Fate::InTrash),
                count(Fate::Removed)
            )?;
        }
        Ok(())
    }
}
