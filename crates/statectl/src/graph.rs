//! The entries of a state and what they need, as a graph, and the graph in the languages of Graphviz and Mermaid.

use crate::text::plain;
use sdk_state::{Entry, State};
use std::collections::HashMap;
use std::io::{self, Write as _};

/// The marks of what is wrong: an entry that is missing, and entries that need each other.
const ALARM: &str = "#c9372c";
/// So many characters of an address or a type are drawn.
const DRAWN_CHARS: usize = 80;

/// Entries, in the order of the document, and the missing ones that they need.
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

/// An entry, or an address that an entry needs and that nothing has.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: String,
    /// Alias and kind of the binding; empty if the entry is missing.
    pub(crate) r#type: String,
    /// `None` if the entry is missing.
    pub(crate) entry_kind: Option<&'static str>,
    /// The nodes that it needs, each once.
    pub(crate) needs: Vec<usize>,
    /// A number that it shares with all entries that it needs and that need it, directly or not.
    pub(crate) cycle: Option<usize>,
}

impl Graph {
    pub(crate) fn of(state: &State) -> Self {
        let mut nodes: Vec<Node> = state.entries().map(Node::of).collect();
        let mut places: HashMap<&str, usize> = state
            .entries()
            .enumerate()
            .map(|(place, entry)| (entry.address.as_str(), place))
            .collect();
        for (place, entry) in state.entries().enumerate() {
            for address in &entry.depends_on {
                let needed = *places.entry(address).or_insert_with(|| {
                    nodes.push(Node::missing(address));
                    nodes.len() - 1
                });
                if !nodes[place].needs.contains(&needed) {
                    nodes[place].needs.push(needed);
                }
            }
        }
        let mut graph = Self { nodes };
        graph.mark_cycles();
        graph
    }

    fn mark_cycles(&mut self) {
        let components = self.components();
        let mut sizes = vec![0; self.nodes.len()];
        for component in &components {
            sizes[*component] += 1;
        }
        for (place, component) in components.into_iter().enumerate() {
            let needs_itself = self.nodes[place].needs.contains(&place);
            if sizes[component] > 1 || needs_itself {
                self.nodes[place].cycle = Some(component);
            }
        }
    }

    /// The strongly connected component of each node (Tarjan, 1972), numbered so that what a component needs has a lower number.
    /// Without recursion, because a chain of needs may be as long as the document.
    pub(crate) fn components(&self) -> Vec<usize> {
        let count = self.nodes.len();
        let mut component: Vec<Option<usize>> = vec![None; count];
        let mut visit: Vec<Option<usize>> = vec![None; count];
        let mut low = vec![0; count];
        let (mut visits, mut components) = (0, 0);
        let mut open = Vec::new();
        for root in 0..count {
            if visit[root].is_some() {
                continue;
            }
            let mut path = vec![(root, 0)];
            while let Some((node, next)) = path.pop() {
                if next == 0 {
                    (visit[node], low[node]) = (Some(visits), visits);
                    visits += 1;
                    open.push(node);
                }
                if let Some(needed) = self.nodes[node].needs.get(next) {
                    path.push((node, next + 1));
                    match visit[*needed] {
                        None => path.push((*needed, 0)),
                        Some(at) if component[*needed].is_none() => low[node] = at.min(low[node]),
                        Some(_) => {}
                    }
                    continue;
                }
                if let Some((parent, _)) = path.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if visit[node] == Some(low[node]) {
                    while let Some(member) = open.pop() {
                        component[member] = Some(components);
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        component.into_iter().flatten().collect()
    }

    /// Every need, as the places of the entry and of what it needs.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.flat_map(|(from, node)| node.needs.iter().map(move |to| (from, *to)))
    }

    /// Whether the need of one node for the other is part of a cycle.
    pub(crate) fn is_cyclic(&self, from: usize, to: usize) -> bool {
        self.nodes[from].cycle.is_some() && self.nodes[from].cycle == self.nodes[to].cycle
    }

    /// The graph in Graphviz's language. An arrow leads from an entry to what it needs.
    pub(crate) fn dot(&self, stack: &str, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "digraph {} {{", quoted(stack))?;
        writeln!(page, "  rankdir = LR;")?;
        writeln!(
            page,
            "  node [shape = box, style = rounded, fontname = \"sans-serif\", fontsize = 11];"
        )?;
        writeln!(page, "  edge [color = \"#7a828e\", arrowsize = 0.7];")?;
        for node in &self.nodes {
            let label = format!("{}\\n{}", escaped(&node.drawn()), escaped(&node.below()));
            let look = match (node.entry_kind, node.cycle) {
                (None, _) => format!(", style = \"rounded,dashed\", color = \"{ALARM}\""),
                (_, Some(_)) => format!(", color = \"{ALARM}\""),
                (Some("action"), None) => ", style = solid".into(),
                (Some("data-source"), None) => ", style = \"rounded,dotted\"".into(),
                _ => String::new(),
            };
            writeln!(page, "  {} [label = \"{label}\"{look}];", node.dot_name())?;
        }
        for (from, to) in self.edges() {
            let look = match self.is_cyclic(from, to) {
                true => format!(" [color = \"{ALARM}\", penwidth = 2]"),
                false => String::new(),
            };
            let (from, to) = (self.nodes[from].dot_name(), self.nodes[to].dot_name());
            writeln!(page, "  {from} -> {to}{look};")?;
        }
        writeln!(page, "}}")
    }

    /// The graph in Mermaid's language.
    pub(crate) fn mermaid(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "flowchart LR")?;
        for (place, node) in self.nodes.iter().enumerate() {
            let (open, close) = match node.entry_kind {
                Some("action") => ("([", "])"),
                Some("data-source") => ("[/", "/]"),
                _ => ("[", "]"),
            };
            let class = match (node.entry_kind, node.cycle) {
                (None, _) => ":::missing",
                (_, Some(_)) => ":::cycle",
                _ => "",
            };
            writeln!(
                page,
                "  n{place}{open}\"{}<br>{}\"{close}{class}",
                entities(&node.drawn()),
                entities(&node.below())
            )?;
        }
        let mut cyclic = Vec::new();
        for (number, (from, to)) in self.edges().enumerate() {
            writeln!(page, "  n{from} --> n{to}")?;
            if self.is_cyclic(from, to) {
                cyclic.push(number.to_string());
            }
        }
        writeln!(page, "  classDef missing stroke:{ALARM},stroke-dasharray:4 4")?;
        writeln!(page, "  classDef cycle stroke:{ALARM}")?;
        if !cyclic.is_empty() {
            writeln!(
                page,
                "  linkStyle {} stroke:{ALARM},stroke-width:2px",
                cyclic.join(",")
            )?;
        }
        Ok(())
    }
}

impl Node {
    fn of(entry: &Entry) -> Self {
        Self {
            address: entry.address.clone(),
            r#type: format!("{}.{}", entry.binding.alias, entry.binding.kind),
            entry_kind: Some(entry.entry_kind.as_str()),
            needs: Vec::new(),
            cycle: None,
        }
    }

    fn missing(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            r#type: String::new(),
            entry_kind: None,
            needs: Vec::new(),
            cycle: None,
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.entry_kind.is_none()
    }

    fn drawn(&self) -> String {
        shortened(&self.address)
    }

    fn below(&self) -> String {
        match self.is_missing() {
            true => "not in the snapshot".into(),
            false => shortened(&self.r#type),
        }
    }

    /// Two addresses have two names, also if only an invisible character differs.
    fn dot_name(&self) -> String {
        quoted(&plain(&self.address.replace('\\', "\\\\")))
    }
}

/// The end of a long text, because the beginnings of addresses are often alike.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= DRAWN_CHARS {
        return plain(text);
    }
    let end: String = text.chars().skip(count - DRAWN_CHARS).collect();
    format!("…{}", plain(&end))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// As part of a quoted text of Graphviz: a backslash begins an escape sequence, and an ampersand an entity of HTML.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('&', "&amp;")
}

/// As part of a quoted text of Mermaid, which has no escape sequences but entities.
fn entities(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' ' | '.' | '-' | '_' | '/' | ':' | ',' | '…' => escaped.push(character),
            _ if character.is_alphanumeric() => escaped.push(character),
            _ => escaped.push_str(&format!("#{};", u32::from(character))),
        }
    }
    escaped
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sdk_state::{Binding, Category, EntryKind};
    use time::OffsetDateTime;

    /// A graph of these entries and their needs.
    pub(crate) fn graph(entries: &[(&str, &[&str])]) -> Graph {
        let id = "demo/prod".parse().unwrap();
        let mut state = State::new(&id, "", "", OffsetDateTime::UNIX_EPOCH).unwrap();
        for (address, needs) in entries {
            let binding = Binding::new("aws", "vpc");
            let mut entry = Entry::new(*address, EntryKind::Leaf, Category::Resource, binding);
            entry.depends_on = needs.iter().map(|need| (*need).to_owned()).collect();
            state.upsert(entry);
        }
        Graph::of(&state)
    }

    fn written(graph: &Graph, write: impl Fn(&Graph, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut page = Vec::new();
        write(graph, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    fn in_cycles(graph: &Graph) -> Vec<&str> {
        let nodes = graph.nodes.iter().filter(|node| node.cycle.is_some());
        nodes.map(|node| node.address.as_str()).collect()
    }

    #[test]
    fn missing_needs_become_nodes_of_their_own() {
        let graph = graph(&[("a", &["b", "gone", "b"]), ("b", &["gone"])]);
        let missing: Vec<_> = graph.nodes.iter().map(Node::is_missing).collect();
        assert_eq!(missing, [false, false, true]);
        assert_eq!(graph.edges().collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
    }

    #[test]
    fn only_entries_that_need_each_other_are_in_a_cycle() {
        let graph = graph(&[
            ("into", &["a"]),
            ("a", &["b"]),
            ("b", &["c", "out"]),
            ("c", &["a"]),
            ("out", &[]),
            ("self", &["self", "out"]),
        ]);
        assert_eq!(in_cycles(&graph), ["a", "b", "c", "self"]);
        assert!(graph.is_cyclic(1, 2) && !graph.is_cyclic(0, 1) && !graph.is_cyclic(2, 4));
        assert!(graph.is_cyclic(5, 5) && !graph.is_cyclic(5, 4));
    }

    /// A recursive walk would overflow the stack.
    #[test]
    fn a_very_long_chain_has_no_cycle() {
        let names: Vec<String> = (0..200_000).map(|number| number.to_string()).collect();
        let nodes = (0..names.len()).map(|place| Node {
            needs: (place + 1..names.len()).take(1).collect(),
            ..Node::missing(&names[place])
        });
        let mut graph = Graph {
            nodes: nodes.collect(),
        };
        graph.mark_cycles();
        assert!(in_cycles(&graph).is_empty());
        let components = graph.components();
        assert!(components.is_sorted_by(|one, next| one > next));
    }

    #[test]
    fn dot_keeps_odd_addresses_inside_their_quotes() {
        let graph = graph(&[("a\"]; x [\\", &["<b>&lt;"]), ("n\n", &[])]);
        let dot = written(&graph, |graph, page| graph.dot("demo/prod", page));
        for expected in [
            r#"  "a\"]; x [\\\\" [label = "a\"]; x [\\\naws.vpc"];"#,
            r#"  "a\"]; x [\\\\" -> "<b>&amp;lt;";"#,
            r#"  "n\\n" [label = "n\\n\naws.vpc"];"#,
        ] {
            assert!(dot.lines().any(|line| line == expected), "{dot}");
        }
    }

    #[test]
    fn dot_tells_an_escaped_character_from_its_escape() {
        let graph = graph(&[("\u{7}", &[]), ("\\u{7}", &[])]);
        assert_ne!(graph.nodes[0].dot_name(), graph.nodes[1].dot_name());
    }

    #[test]
    fn mermaid_writes_signs_as_entities() {
        let graph = graph(&[("a\"]`<b>#;[\n", &["a\"]`<b>#;[\n", "ü"])]);
        let mermaid = written(&graph, Graph::mermaid);
        let mut lines = mermaid.lines();
        assert_eq!(lines.next(), Some("flowchart LR"));
        assert_eq!(
            lines.next(),
            Some(r#"  n0["a#34;#93;#96;#60;b#62;#35;#59;#91;#92;n<br>aws.vpc"]:::cycle"#)
        );
        assert_eq!(
            lines.next(),
            Some(r#"  n1["ü<br>not in the snapshot"]:::missing"#)
        );
        assert!(mermaid.contains("  n0 --> n0\n  n0 --> n1\n"), "{mermaid}");
        assert!(mermaid.contains("  linkStyle 0 "), "{mermaid}");
    }

    #[test]
    fn long_texts_are_drawn_by_their_ends() {
        let drawn = shortened(&format!("{}.end", "x".repeat(10_000)));
        assert!(drawn.starts_with('…') && drawn.ends_with(".end"));
        assert_eq!(drawn.chars().count(), DRAWN_CHARS + 1);
    }
}
