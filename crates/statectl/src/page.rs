//! One HTML page with the entries of a snapshot, their graph and their history. It loads nothing and sends nothing.
//!
//! Secrets are masked before anything is written: the page has no value that a browser could reveal. The data stands in the page
//! as JSON, and its script puts every text into the document as text. Should that fail somewhere, the page's own
//! Content-Security-Policy allows this one script and this one style sheet, by their hashes, and no request at all.

use crate::diff::{Counts, Diff, EntryChange};
use crate::exit::Failure;
use crate::fields::{Change, FieldChange};
use crate::graph::{Graph, Node};
use crate::history::{Node as Step, is_first};
use crate::layout::{self, HEIGHT, WIDTH};
use crate::masked::members;
use crate::sensitive::is_sensitive;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sdk_state::{Entry, Json, State};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::io;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What the page shows.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Page {
    pub(crate) stack: String,
    pub(crate) revision: String,
    pub(crate) made_by: &'static str,
    pub(crate) made_at: String,
    /// A sentence about changes that no revision holds yet, if there are any.
    pub(crate) unfinished: Option<String>,
    size: (f64, f64),
    entries: Vec<Card>,
    /// The names of the stack's outputs, whose values are always masked.
    outputs: Vec<String>,
    pub(crate) history: Vec<Moment>,
    /// Whether older revisions are left out.
    pub(crate) is_cut: bool,
}

/// An entry, or a missing one, and where it is drawn.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Card {
    address: String,
    r#type: String,
    /// `missing`, or what the entry stands for.
    kind: &'static str,
    /// Other facts of the entry.
    facts: Vec<(&'static str, String)>,
    needs: Vec<usize>,
    cycle: Option<usize>,
    x: f64,
    y: f64,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

/// A member of the inputs or outputs, as JSON text, because a browser would round large numbers.
#[derive(Serialize)]
struct Value {
    name: String,
    /// None if it is masked.
    text: Option<String>,
}

/// A revision, or the unfinished changes, and what it changed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Moment {
    /// None for unfinished changes.
    revision: Option<String>,
    written_at: Option<String>,
    author: Option<String>,
    host: Option<String>,
    tool: Option<String>,
    run: Option<String>,
    message: Option<String>,
    is_first: bool,
    counts: Option<Counts>,
    entries: Vec<Changed>,
    /// What differs beside the entries.
    document: Vec<Field>,
    /// Why the changes are not known.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Changed {
    address: String,
    change: Change,
    from: Option<String>,
    r#type: String,
    fields: Vec<Field>,
}

#[derive(Serialize)]
struct Field {
    path: String,
    change: Change,
    /// Whether the values are masked: then they are not here.
    masked: bool,
    before: Option<String>,
    after: Option<String>,
}

/// Which members of which entries are secret, from every mark of the state and every mark that came or went in its history. Such a
/// member is masked wherever the page shows it, so also where its value is older than the mark.
#[derive(Default)]
struct Marks(HashMap<(String, &'static str), HashSet<String>>);

impl Page {
    /// A page of this state, without history.
    pub(crate) fn of(stack: &str, revision: &str, state: &State, graph: &Graph) -> Result<Self, Failure> {
        let places = layout::place(graph);
        let mut cards = Vec::with_capacity(graph.nodes.len());
        for (node, (x, y)) in graph.nodes.iter().zip(places) {
            cards.push(Card::of(node, state.find(&node.address), x, y)?);
        }
        let outputs = members(state.outputs.as_ref(), |_| true)?;
        Ok(Self {
            stack: stack.to_owned(),
            revision: revision.to_owned(),
            made_by: concat!("statectl ", env!("CARGO_PKG_VERSION")),
            made_at: String::new(),
            unfinished: None,
            size: (WIDTH, HEIGHT),
            entries: cards,
            outputs: outputs.into_iter().map(|output| output.name).collect(),
            history: Vec::new(),
            is_cut: false,
        })
    }

    /// Adds what happened, newest first, with the secrets of all revisions masked in each.
    pub(crate) fn with_history(mut self, state: &State, mut history: Vec<(Moment, Option<Diff>)>) -> Self {
        let diffs: Vec<&Diff> = history.iter().filter_map(|(_, diff)| diff.as_ref()).collect();
        let marks = Marks::of(state, &diffs);
        for (moment, diff) in &mut history {
            if let Some(diff) = diff.take() {
                moment.counts = Some(diff.counts);
                moment.document = diff.document.iter().map(Field::of).collect();
                moment.entries = diff.entries.into_iter().map(|entry| marks.mask(entry)).collect();
            }
        }
        for card in &mut self.entries {
            for (list, values) in [("inputs", &mut card.inputs), ("outputs", &mut card.outputs)] {
                let names = marks.of_entry(&card.address, list);
                for value in values {
                    value.text.take_if(|_| is_sensitive(&value.name, &names));
                }
            }
        }
        self.history = history.into_iter().map(|(moment, _)| moment).collect();
        self
    }

    /// The page's text.
    pub(crate) fn to_html(&self) -> io::Result<String> {
        let data = in_script(&serde_json::to_string(self)?);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + data.len() + 1024);
        let mut rest = TEMPLATE;
        // In this order, so that nothing is looked for in what was put in.
        for (mark, text) in [
            ("{policy}", policy.as_str()),
            ("{style}", STYLE),
            ("{data}", data.as_str()),
            ("{script}", SCRIPT),
        ] {
            if let Some((before, after)) = rest.split_once(mark) {
                page.push_str(before);
                page.push_str(text);
                rest = after;
            }
        }
        page.push_str(rest);
        Ok(page)
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.iter().filter(|card| card.kind != MISSING).count()
    }
}

const MISSING: &str = "missing";

/// JSON that can stand in a script element: nothing in it ends the element or begins a comment.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// As a Content-Security-Policy names a script or a style sheet.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

impl Card {
    fn of(node: &Node, entry: Option<&Entry>, x: f64, y: f64) -> Result<Self, Failure> {
        let values = |object: Option<&Json>, sensitive: &[String]| {
            let fields = members(object, |name| is_sensitive(name, sensitive))?;
            let values = fields.into_iter().map(|field| Value {
                name: field.name,
                text: field.value.map(|value| value.to_indented()),
            });
            Ok::<_, Failure>(values.collect())
        };
        let mut card = Self {
            address: node.address.clone(),
            r#type: node.r#type.clone(),
            kind: node.entry_kind.unwrap_or(MISSING),
            facts: Vec::new(),
            needs: node.needs.clone(),
            cycle: node.cycle,
            // A tenth of a pixel is as good, and shorter.
            x: (x * 10.0).round() / 10.0,
            y: (y * 10.0).round() / 10.0,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        if let Some(entry) = entry {
            card.facts = facts(entry);
            card.inputs = values(entry.inputs.as_ref(), &entry.sensitive_inputs)?;
            card.outputs = values(entry.outputs.as_ref(), &entry.sensitive_outputs)?;
        }
        Ok(card)
    }
}

fn facts(entry: &Entry) -> Vec<(&'static str, String)> {
    let version = entry.schema_version.map(|version| version.to_string());
    let mut facts = vec![
        ("type", format!("{}.{}", entry.binding.alias, entry.binding.kind)),
        ("kind", entry.entry_kind.as_str().to_owned()),
        ("category", entry.category.as_str().to_owned()),
        ("library", entry.binding.library_path.clone()),
        ("schema", version.unwrap_or_default()),
        ("trigger", entry.trigger_hash.clone()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

impl Moment {
    /// A revision of the history; `problem` says why its changes are not known.
    pub(crate) fn of(step: &Step, problem: Option<String>) -> Self {
        let header = step.step.header.as_ref();
        let provenance = header
            .ok()
            .map(|header| header.provenance.clone())
            .unwrap_or_default();
        Self {
            revision: Some(step.step.revision.to_string()),
            written_at: step.step.time().and_then(crate::text::rfc3339),
            author: provenance.author,
            host: provenance.host,
            tool: provenance.tool,
            run: provenance.run,
            message: header.ok().and_then(|header| header.message.clone()),
            is_first: header.is_ok_and(is_first),
            ..Self::unfinished(problem)
        }
    }

    /// The changes that no revision holds yet.
    pub(crate) fn unfinished(problem: Option<String>) -> Self {
        Self {
            revision: None,
            written_at: None,
            author: None,
            host: None,
            tool: None,
            run: None,
            message: None,
            is_first: false,
            counts: None,
            entries: Vec::new(),
            document: Vec::new(),
            problem,
        }
    }
}

impl Field {
    fn of(field: &FieldChange) -> Self {
        let text = |value: &Option<Box<serde_json::value::RawValue>>| {
            value
                .as_ref()
                .filter(|_| !field.sensitive)
                .map(|value| value.get().to_owned())
        };
        Self {
            path: field.path.clone(),
            change: field.change,
            masked: field.sensitive,
            before: text(&field.before),
            after: text(&field.after),
        }
    }
}

impl Marks {
    /// `diffs` are newest first.
    fn of(state: &State, diffs: &[&Diff]) -> Self {
        let mut marks = Self::default();
        for entry in state.entries() {
            marks.add(&entry.address, "inputs", &entry.sensitive_inputs);
            marks.add(&entry.address, "outputs", &entry.sensitive_outputs);
        }
        for entry in diffs.iter().flat_map(|diff| &diff.entries) {
            for field in &entry.fields {
                let list = match field.path.split(['[', '.']).next() {
                    Some("sensitive-inputs") => "inputs",
                    Some("sensitive-outputs") => "outputs",
                    _ => continue,
                };
                for value in [&field.before, &field.after].into_iter().flatten() {
                    let names = serde_json::from_str(value.get())
                        .or_else(|_| serde_json::from_str(value.get()).map(|name: String| vec![name]));
                    marks.add(&entry.address, list, &names.unwrap_or_default());
                }
            }
        }
        // An entry that was moved had another address before: back to the oldest, and forward again.
        for diff in diffs.iter().chain(diffs.iter().rev()) {
            for entry in &diff.entries {
                let Some(from) = &entry.from else { continue };
                for list in ["inputs", "outputs"] {
                    let names = [marks.of_entry(&entry.address, list), marks.of_entry(from, list)].concat();
                    marks.add(from, list, &names);
                    marks.add(&entry.address, list, &names);
                }
            }
        }
        marks
    }

    fn add(&mut self, address: &str, list: &'static str, names: &[String]) {
        if !names.is_empty() {
            let known = self.0.entry((address.to_owned(), list)).or_default();
            known.extend(names.iter().cloned());
        }
    }

    fn of_entry(&self, address: &str, list: &'static str) -> Vec<String> {
        let names = self.0.get(&(address.to_owned(), list));
        names.into_iter().flatten().cloned().collect()
    }

    fn mask(&self, entry: EntryChange) -> Changed {
        let marks = ["inputs", "outputs"].map(|list| (list, self.of_entry(&entry.address, list)));
        let mut fields: Vec<Field> = Vec::new();
        for field in &entry.fields {
            let secret = marks.iter().find_map(|(list, names)| {
                let name = member_of(field.path.strip_prefix(list)?)?;
                (!field.sensitive && is_sensitive(&name, names)).then(|| format!("{list}: {name}"))
            });
            let Some(path) = secret else {
                fields.push(Field::of(field));
                continue;
            };
            // A member that is masked as a whole changed once.
            if fields.last().is_none_or(|last| last.path != path) {
                fields.push(Field {
                    path,
                    change: Change::Changed,
                    masked: true,
                    before: None,
                    after: None,
                });
            }
        }
        Changed {
            address: entry.address,
            change: entry.change,
            from: entry.from,
            r#type: entry.r#type,
            fields,
        }
    }
}

/// The first name of a path such as `.tags.token` or `["odd name"][0]`.
fn member_of(path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix('.') {
        return rest.split(['.', '[']).next().map(str::to_owned);
    }
    let rest = path.strip_prefix('[')?;
    serde_json::Deserializer::from_str(rest).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use sdk_state::{Binding, Category, EntryKind, Snapshot as _};
    use serde_json::json;
    use time::OffsetDateTime;

    const SECRET: &str = "swordfish";
    const HOSTILE: &str = "</script><script>alert(1)</script><!--<script>\u{2028}\u{202e}\"'`&lt;]]>";

    fn state(address: &str, sensitive: &[&str], inputs: &serde_json::Value) -> State {
        let id = "demo/prod".parse().unwrap();
        let mut state = State::new(&id, "", "", OffsetDateTime::UNIX_EPOCH).unwrap();
        let binding = Binding::new("aws", "database");
        let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
        entry.sensitive_inputs = sensitive.iter().map(|name| (*name).to_owned()).collect();
        entry.inputs = Some(Json::from_value(inputs).unwrap());
        state.upsert(entry);
        state
    }

    fn document(state: &State) -> Document {
        Document::split(state.encode().unwrap()).unwrap()
    }

    /// A page of the last state, with these states as its history, oldest first.
    fn page(states: &[State]) -> String {
        let last = states.last().unwrap();
        let mut documents: Vec<Document> = states.iter().map(document).collect();
        documents.insert(0, Document::default());
        let diffs = documents.windows(2).rev();
        let history = diffs.map(|pair| (Moment::unfinished(None), Some(Diff::between(&pair[0], &pair[1]))));
        let graph = Graph::of(last);
        let page = Page::of("demo/prod", "r", last, &graph).unwrap();
        page.with_history(last, history.collect()).to_html().unwrap()
    }

    #[test]
    fn every_part_of_the_page_finds_its_place() {
        let page = page(&[state("a", &[], &json!({}))]);
        for mark in ["{policy}", "{style}", "{data}", "{script}"] {
            assert!(!page.contains(mark), "{mark}");
        }
        assert!(page.contains(&hash(SCRIPT)) && page.contains(&hash(STYLE)));
    }

    /// The hashes are those of what stands between the tags.
    #[test]
    fn policy_allows_the_script_and_the_style_sheet() {
        let page = page(&[state("a", &[], &json!({}))]);
        for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
            let inside = page.split(open).nth(1).unwrap().split(close).next().unwrap();
            assert!(page.contains(&format!("'{}'", hash(inside))), "{open}");
        }
    }

    #[test]
    fn values_cannot_leave_the_data() {
        let inputs = json!({ HOSTILE: HOSTILE });
        let html = page(&[state(HOSTILE, &[], &json!({})), state(HOSTILE, &[], &inputs)]);
        let own = page(&[state("a", &[], &json!({}))]);
        for sign in ["<", "\u{2028}", "&lt;"] {
            assert_eq!(html.matches(sign).count(), own.matches(sign).count(), "{sign}");
        }
        let data = html
            .split("id=\"data\">")
            .nth(1)
            .unwrap()
            .split("</script>")
            .next()
            .unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["entries"][0]["address"], HOSTILE);
        let value = data["entries"][0]["inputs"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<String>(value).unwrap(), HOSTILE);
    }

    #[test]
    fn secrets_are_masked_in_entries_and_in_the_history() {
        let value = |number: u8| json!({"password": format!("{SECRET}{number}"), "size": number});
        let html = page(&[
            state("a", &["password"], &value(1)),
            state("a", &["password"], &value(2)),
        ]);
        assert!(!html.contains(SECRET));
        assert!(html.contains("\"masked\":true"));
    }

    /// The mark came later than the value.
    #[test]
    fn a_secret_is_masked_before_it_was_marked_and_after() {
        let value = |text: &str| json!({"odd name": {"deep": [format!("{SECRET}{text}")]}});
        let marked = &["odd name"][..];
        for states in [
            vec![
                state("a", &[], &value("1")),
                state("a", &[], &value("2")),
                state("a", marked, &value("3")),
            ],
            vec![
                state("a", &[], &value("1")),
                state("a", &[], &value("2")),
                state("a", marked, &value("2")),
                state("b", marked, &value("2")),
            ],
            vec![
                state("a", &[], &value("1")),
                state("a", &[], &value("2")),
                state("a", marked, &value("2")),
                state("a", &[], &json!({})),
            ],
            vec![
                state("a", marked, &value("1")),
                state("a", &[], &value("1")),
                state("b", &[], &value("1")),
                state("b", &[], &value("2")),
            ],
        ] {
            let html = page(&states);
            assert!(!html.contains(SECRET));
        }
    }

    #[test]
    fn large_numbers_keep_their_digits() {
        let mut state = state("a", &[], &json!({}));
        let mut entry = state.find("a").unwrap().clone();
        entry.inputs = Some(Json::parse(r#"{"n":18446744073709551616.10}"#).unwrap());
        state.upsert(entry);
        assert!(page(&[state]).contains("\"text\":\"18446744073709551616.10\""));
    }

    #[test]
    fn names_are_read_off_paths() {
        for (path, name) in [
            (".tags.token", Some("tags")),
            (".list[2].a", Some("list")),
            ("[\"odd \\\" name\"][0]", Some("odd \" name")),
            ("", None),
        ] {
            assert_eq!(member_of(path).as_deref(), name, "{path}");
        }
    }
}
