use super::log::settings_for_display;
use crate::comparing;
use crate::diff::Diff;
use crate::document::Document;
use crate::exit::{FAILED, Failure};
use crate::graph::Graph;
use crate::history::{Node, Way};
use crate::output::Answer;
use crate::page::{Moment, Page};
use crate::progress::Progress;
use crate::selector::RevisionOption;
use crate::stack::{Context, Found, Stack};
use crate::text::{now, rfc3339, size};
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::{Snapshot as _, State};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// So many revisions are in a page, unless the command says otherwise.
const REVISIONS: usize = 50;
/// Mermaid draws no more edges than this by default.
const MERMAID_EDGES: usize = 500;

/// Show which entries need which, as a graph for Graphviz or Mermaid, or as an HTML page with the history
///
/// An arrow leads from an entry to what it needs. Entries that are needed and missing, and those that need each other, are
/// marked.
///
/// The HTML page is one file for a browser. It needs no network, and it also shows the entries and what each revision changed.
/// Sensitive values are not in the file, but everything else is: only you can read it until you pass it on.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl graph network/prod | dot -Tsvg > graph.svg\n  \
    statectl graph network/prod --mermaid\n  \
    statectl graph network/prod --html prod.html")]
pub(crate) struct GraphCommand {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    revision: RevisionOption,
    /// Print the graph for Mermaid instead of Graphviz
    #[arg(long, conflicts_with = "html")]
    mermaid: bool,
    /// Write an HTML page to this file instead, readable by you alone
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(short, long, requires = "html")]
    force: bool,
    /// The page goes back so many revisions [default: 50]
    #[arg(short = 'n', long, value_name = "COUNT", requires = "html")]
    limit: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Drawn {
    stack: String,
    revision: String,
    unfinished: Option<UnfinishedDocument>,
    nodes: Vec<DrawnNode>,
    edges: Vec<DrawnEdge>,
    #[serde(skip)]
    graph: Graph,
    #[serde(skip)]
    is_mermaid: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DrawnNode {
    address: String,
    r#type: Option<String>,
    entry_kind: Option<&'static str>,
    missing: bool,
    in_cycle: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DrawnEdge {
    from: String,
    to: String,
    in_cycle: bool,
}

#[derive(Serialize)]
struct Written {
    stack: String,
    revision: String,
    path: String,
    bytes: usize,
    entries: usize,
    revisions: usize,
}

impl GraphCommand {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.mermaid && context.output().is_json() {
            return Err(Failure::usage(
                "--mermaid prints no JSON: leave out one of --mermaid and --json",
            ));
        }
        let (stack, rev) = context.readable_at(&self.stack, &self.revision)?;
        if let Some(path) = &self.html {
            self.demand_free(path)?;
        }
        let progress = Progress::of_steps("reading the snapshot");
        let found = stack.snapshot(rev.as_ref())?;
        if found.document.is_empty() {
            context
                .output()
                .notice(format_args!("{} has no entries", found.revision));
        }
        match &self.html {
            Some(path) => self.write_page(&stack, &found, path, progress),
            None => {
                drop(progress);
                self.print(&stack, found)
            }
        }
    }

    fn print(&self, stack: &Stack<'_>, found: Found<State>) -> Result<(), Failure> {
        let graph = Graph::of(&found.document);
        let output = stack.context().output();
        let edges: Vec<DrawnEdge> = graph
            .edges()
            .map(|(from, to)| DrawnEdge {
                from: graph.nodes[from].address.clone(),
                to: graph.nodes[to].address.clone(),
                in_cycle: graph.is_cyclic(from, to),
            })
            .collect();
        if self.mermaid && edges.len() > MERMAID_EDGES {
            output.notice(format_args!(
                "the graph has {} edges, and Mermaid draws {MERMAID_EDGES} unless its setting maxEdges is higher",
                edges.len()
            ));
        }
        let nodes = graph.nodes.iter().map(|node| DrawnNode {
            address: node.address.clone(),
            r#type: Some(node.r#type.clone()).filter(|_| !node.is_missing()),
            entry_kind: node.entry_kind,
            missing: node.is_missing(),
            in_cycle: node.cycle.is_some(),
        });
        output.answer(&Drawn {
            stack: self.stack.clone(),
            revision: found.revision.to_string(),
            unfinished: found.unfinished,
            nodes: nodes.collect(),
            edges,
            graph,
            is_mermaid: self.mermaid,
        })
    }

    fn write_page(
        &self,
        stack: &Stack<'_>,
        found: &Found<State>,
        path: &Path,
        progress: Progress,
    ) -> Result<(), Failure> {
        let graph = Graph::of(&found.document);
        let revision = found.revision.to_string();
        let mut page = Page::of(&self.stack, &revision, &found.document, &graph)?;
        page.made_at = rfc3339(now()).unwrap_or_default();
        page.unfinished = found.unfinished.as_ref().map(UnfinishedDocument::in_full);
        progress.step("comparing the revisions");
        let mut history = Vec::new();
        if found.unfinished.is_some() {
            let before = stack.opened(Some(&found.revision))?.document;
            let after = Document::split(found.document.encode()?)?;
            let diff = Diff::between(&before, &after);
            history.push((Moment::unfinished(None), Some(diff)));
        }
        // As in `log`, what is in the trash is not shown.
        let settings = settings_for_display(stack);
        let way = Way::back_from(stack.store(), found.revision.clone())?;
        let mut way = way.filter(|node| settings.trashed(&node.step.revision).is_none());
        let steps: Vec<Node> = way.by_ref().take(self.limit.unwrap_or(REVISIONS)).collect();
        page.is_cut = way.next().is_some();
        let diffs = comparing::diffs(stack, &steps);
        history.extend(steps.iter().zip(diffs).map(|(step, diff)| match diff {
            Ok(Some(diff)) => (Moment::of(step, None), Some(diff)),
            Ok(None) => {
                let problem = match &step.step.header {
                    Ok(_) => "no older revision is stored".into(),
                    Err(error) => error.to_string(),
                };
                (Moment::of(step, Some(problem)), None)
            }
            Err(failure) => (Moment::of(step, Some(told(&failure))), None),
        }));
        progress.step("writing the page");
        let page = page.with_history(&found.document, history);
        let html = page.to_html()?;
        self.publish(path, html.as_bytes())?;
        drop(progress);
        let output = stack.context().output();
        let written = Written {
            stack: self.stack.clone(),
            revision,
            path: path.display().to_string(),
            bytes: html.len(),
            entries: page.count(),
            revisions: steps.len(),
        };
        if !output.is_json() {
            output.notice(format_args!(
                "wrote {} ({}) with {} and {}",
                written.path,
                size(html.len() as u64),
                counted(written.entries, "entry", "entries"),
                counted(written.revisions, "revision", "revisions"),
            ));
        }
        output.answer(&written)
    }

    /// Fails before anything is read if the file may not be replaced.
    fn demand_free(&self, path: &Path) -> Result<(), Failure> {
        match !self.force && path.symlink_metadata().is_ok() {
            true => Err(exists(path)),
            false => Ok(()),
        }
    }

    /// Writes the file beside its place and moves it there.
    fn publish(&self, path: &Path, page: &[u8]) -> Result<(), Failure> {
        let failed = |error: &io::Error| Failure::io(format!("{} cannot be written", path.display()), error);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Nobody else may read a temporary file.
        let mut file = NamedTempFile::new_in(directory).map_err(|error| failed(&error))?;
        file.write_all(page)
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| failed(&error))?;
        let moved = match self.force {
            true => file.persist(path),
            false => file.persist_noclobber(path),
        };
        match moved {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
            Err(error) => Err(failed(&error.error)),
        }
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        FAILED,
        "exists",
        format!("{} exists and was left as it is", path.display()),
    )
    .hint("pass --force to replace it")
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::Told(told) => told.message.clone(),
        Failure::Quiet => String::new(),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl Answer for Drawn {
    const KIND: &'static str = "graph";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match self.is_mermaid {
            true => self.graph.mermaid(page),
            false => self.graph.dot(&self.stack, page),
        }
    }
}

impl Answer for Written {
    const KIND: &'static str = "page";

    /// Nothing: a notice says it.
    fn human(&self, _page: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}
