//! Where the nodes of a graph are drawn: in layers from top to bottom, each entry above what it needs.
//!
//! This follows Sugiyama, Tagawa and Toda (1981): layers by the longest path, an order within each layer that has few crossings,
//! and places near those of the neighbours. Entries that need each other share a layer. Entries without any need stand below.

use crate::graph::Graph;

/// The size of a node, for whoever draws it.
pub(crate) const WIDTH: f64 = 216.0;
pub(crate) const HEIGHT: f64 = 46.0;
/// From one node to the next beside it.
const PITCH: f64 = WIDTH + 22.0;
/// Between the rows of one layer, and between layers, where most lines are.
const ROW_GAP: f64 = 30.0;
const LAYER_GAP: f64 = 70.0;
/// A row has at least so many places, so that a small layer is not split.
const LEAST_COLUMNS: usize = 6;
/// Width by height of the whole picture, about.
const ASPECT: f64 = 1.1;
const SWEEPS: usize = 12;

/// The upper left corner of each node.
pub(crate) fn place(graph: &Graph) -> Vec<(f64, f64)> {
    let neighbours = Neighbours::of(graph);
    let (alone, connected): (Vec<usize>, Vec<usize>) =
        (0..graph.nodes.len()).partition(|node| neighbours.is_alone(*node));
    let mut layers = layers(graph, &neighbours, &connected);
    order(&mut layers, &neighbours);
    let columns = columns(connected.len());
    let mut places = vec![(0.0, 0.0); graph.nodes.len()];
    let (mut rows, mut y): (Vec<Vec<usize>>, f64) = (Vec::new(), 0.0);
    // The first layer is the lowest.
    for layer in layers.iter().rev() {
        let count = layer.len().div_ceil(columns);
        for first in 0..count {
            // Neighbours in the order stand below each other, so that what belongs together stays together.
            let row: Vec<usize> = layer.iter().skip(first).step_by(count).copied().collect();
            for (column, node) in row.iter().enumerate() {
                places[*node] = ((column as f64 - row.len() as f64 / 2.0) * PITCH, y);
            }
            rows.push(row);
            y += HEIGHT + ROW_GAP;
        }
        y += LAYER_GAP - ROW_GAP;
    }
    align(&mut places, &rows, &neighbours);
    place_below(&mut places, &connected, &alone);
    places
}

/// What each node needs, and what needs it.
struct Neighbours {
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
}

impl Neighbours {
    fn of(graph: &Graph) -> Self {
        let count = graph.nodes.len();
        let (mut needs, mut needed_by) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (from, to) in graph.edges() {
            needs[from].push(to);
            needed_by[to].push(from);
        }
        Self { needs, needed_by }
    }

    fn is_alone(&self, node: usize) -> bool {
        self.needs[node].is_empty() && self.needed_by[node].is_empty()
    }
}

/// Each node in a layer above all that it needs, and as near as possible below what needs it.
fn layers(graph: &Graph, neighbours: &Neighbours, connected: &[usize]) -> Vec<Vec<usize>> {
    let components = graph.components();
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (node, component) in components.iter().enumerate() {
        members[*component].push(node);
    }
    let beside = |component: usize, sides: &[Vec<usize>]| -> Vec<usize> {
        let sides = members[component].iter().flat_map(|node| &sides[*node]);
        let sides = sides.map(|side| components[*side]);
        sides.filter(|side| *side != component).collect()
    };
    let mut levels = vec![0_usize; members.len()];
    // A component needs only those with lower numbers.
    for component in 0..members.len() {
        let needs = beside(component, &neighbours.needs);
        let lowest = needs.into_iter().map(|need| levels[need] + 1).max();
        levels[component] = lowest.unwrap_or(0);
    }
    for component in (0..members.len()).rev() {
        let users = beside(component, &neighbours.needed_by);
        if let Some(lowest) = users.into_iter().map(|user| levels[user]).min() {
            levels[component] = lowest.saturating_sub(1);
        }
    }
    let mut layers = Vec::new();
    for node in connected {
        let level = levels[components[*node]];
        if layers.len() <= level {
            layers.resize(level + 1, Vec::new());
        }
        layers[level].push(*node);
    }
    layers
}

/// Sorts each layer by the mean place of its neighbours, from one side and from the other in turn.
fn order(layers: &mut [Vec<usize>], neighbours: &Neighbours) {
    let count = neighbours.needs.len();
    let mut share = vec![0.5; count];
    let place = |layer: &[usize], share: &mut [f64]| {
        for (place, node) in layer.iter().enumerate() {
            share[*node] = (place as f64 + 0.5) / layer.len() as f64;
        }
    };
    for layer in layers.iter() {
        place(layer, &mut share);
    }
    for sweep in 0..SWEEPS {
        let is_forward = sweep % 2 == 0;
        let sides = match is_forward {
            true => &neighbours.needs,
            false => &neighbours.needed_by,
        };
        for step in 0..layers.len() {
            let layer = match is_forward {
                true => step,
                false => layers.len() - 1 - step,
            };
            let layer = &mut layers[layer];
            let mut keyed: Vec<(f64, usize)> = layer
                .iter()
                .map(|node| {
                    (
                        mean(&sides[*node], |side| share[side]).unwrap_or(share[*node]),
                        *node,
                    )
                })
                .collect();
            keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
            *layer = keyed.into_iter().map(|(_, node)| node).collect();
            place(layer, &mut share);
        }
    }
}

fn mean(nodes: &[usize], value: impl Fn(usize) -> f64) -> Option<f64> {
    let sum: f64 = nodes.iter().map(|node| value(*node)).sum();
    (!nodes.is_empty()).then(|| sum / nodes.len() as f64)
}

/// How many nodes stand in a row of a picture with so many nodes.
fn columns(count: usize) -> usize {
    let height = HEIGHT + (ROW_GAP + LAYER_GAP) / 2.0;
    let columns = (count as f64 * ASPECT * height / PITCH).sqrt();
    (columns.ceil() as usize).max(LEAST_COLUMNS)
}

/// Moves the nodes of each row near their neighbours, in their order and without overlap.
fn align(places: &mut [(f64, f64)], rows: &[Vec<usize>], neighbours: &Neighbours) {
    for sweep in 0..SWEEPS {
        for step in 0..rows.len() {
            let row = match sweep % 2 {
                0 => &rows[rows.len() - 1 - step],
                _ => &rows[step],
            };
            let wanted: Vec<f64> = row
                .iter()
                .map(|node| {
                    let sides = [&neighbours.needs[*node][..], &neighbours.needed_by[*node][..]].concat();
                    mean(&sides, |side| places[side].0).unwrap_or(places[*node].0)
                })
                .collect();
            for (node, x) in row.iter().zip(apart(&wanted)) {
                places[*node].0 = x;
            }
        }
    }
}

/// The places nearest to the wanted ones that are at least one pitch apart: an isotonic regression, by pooling neighbours that
/// would overlap.
fn apart(wanted: &[f64]) -> Vec<f64> {
    // The sum of the wanted places of a pool, less what its members stand right of its first, and their number.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (column, wanted) in wanted.iter().enumerate() {
        let mut pool = (wanted - column as f64 * PITCH, 1);
        while let Some((sum, count)) = pools.pop() {
            if sum / count as f64 <= pool.0 / pool.1 as f64 {
                pools.push((sum, count));
                break;
            }
            pool = (pool.0 + sum, pool.1 + count);
        }
        pools.push(pool);
    }
    let starts = pools
        .into_iter()
        .flat_map(|(sum, count)| std::iter::repeat_n(sum / count as f64, count));
    starts
        .enumerate()
        .map(|(column, start)| start + column as f64 * PITCH)
        .collect()
}

/// Stands the nodes without neighbours in rows below the others.
fn place_below(places: &mut [(f64, f64)], connected: &[usize], alone: &[usize]) {
    let corner = |axis: fn(&(f64, f64)) -> f64, pick: fn(f64, f64) -> f64| {
        connected.iter().map(|node| axis(&places[*node])).reduce(pick)
    };
    let left = corner(|place| place.0, f64::min).unwrap_or(0.0);
    let right = corner(|place| place.0, f64::max).unwrap_or(0.0);
    let top = corner(|place| place.1, f64::max).map_or(0.0, |bottom| bottom + HEIGHT + LAYER_GAP);
    let as_wide = ((right - left) / PITCH) as usize + 1;
    let columns = as_wide.max(columns(alone.len()));
    for (number, node) in alone.iter().enumerate() {
        let (column, row) = (number % columns, number / columns);
        places[*node] = (
            left + column as f64 * PITCH,
            top + row as f64 * (HEIGHT + ROW_GAP),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::graph;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("r.{number}")).collect()
    }

    #[track_caller]
    fn assert_apart(places: &[(f64, f64)]) {
        for (first, (x, y)) in places.iter().enumerate() {
            assert!(x.is_finite() && y.is_finite());
            for (other_x, other_y) in &places[..first] {
                let is_apart = (x - other_x).abs() >= WIDTH || (y - other_y).abs() >= HEIGHT;
                assert!(is_apart, "{first} at {x}, {y} overlaps {other_x}, {other_y}");
            }
        }
    }

    #[test]
    fn entries_stand_above_what_they_need() {
        let graph = graph(&[
            ("app", &["database", "vpc"]),
            ("database", &["subnet"]),
            ("subnet", &["vpc"]),
            ("vpc", &[]),
            ("gone-user", &["gone"]),
        ]);
        let places = place(&graph);
        for (from, to) in graph.edges() {
            assert!(places[from].1 < places[to].1, "{from} {to}");
        }
        assert_apart(&places);
    }

    #[test]
    fn entries_that_need_each_other_share_a_layer() {
        let graph = graph(&[("a", &["b"]), ("b", &["a", "c"]), ("c", &["c"]), ("d", &["a"])]);
        let places = place(&graph);
        assert_eq!(places[0].1, places[1].1);
        assert!(places[3].1 < places[0].1 && places[1].1 < places[2].1);
        assert_apart(&places);
    }

    /// Only one entry at the top needs it, so a line through the whole picture would be in the way.
    #[test]
    fn entries_stand_near_what_needs_them() {
        let graph = graph(&[("a", &["b", "near"]), ("b", &["c"]), ("c", &[]), ("near", &[])]);
        let places = place(&graph);
        assert_eq!(places[3].1, places[1].1);
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let graph = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &[])]);
        let places = place(&graph);
        assert!(
            places.iter().all(|place| (place.0 - places[0].0).abs() < 0.01),
            "{places:?}"
        );
    }

    #[test]
    fn parallel_chains_do_not_cross() {
        let graph = graph(&[
            ("a1", &["b2"]),
            ("a2", &["b1"]),
            ("a3", &["b3"]),
            ("b1", &[]),
            ("b2", &[]),
            ("b3", &[]),
        ]);
        let places = place(&graph);
        let across = |node: usize| places[node].0;
        for (one, its) in graph.edges() {
            for (other, others) in graph.edges() {
                assert!(
                    (across(one) - across(other)) * (across(its) - across(others)) >= 0.0,
                    "{places:?}"
                );
            }
        }
    }

    /// One layer of a thousand entries would be a hundred screens wide.
    #[test]
    fn a_large_layer_is_split_into_rows() {
        let names = names(1000);
        let mut entries: Vec<(&str, &[&str])> = vec![("vpc", &[])];
        entries.extend(names.iter().map(|name| (name.as_str(), &["vpc"][..])));
        let places = place(&graph(&entries));
        assert_apart(&places);
        let span = |axis: fn(&(f64, f64)) -> f64| {
            let values = places.iter().map(axis);
            values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
        };
        let aspect = span(|place| place.0) / span(|place| place.1);
        assert!((0.5..2.5).contains(&aspect), "{aspect}");
    }

    #[test]
    fn entries_without_needs_stand_below_and_nothing_is_nowhere() {
        assert!(place(&graph(&[])).is_empty());
        let names = names(50);
        let mut entries: Vec<(&str, &[&str])> = vec![("a", &["b"]), ("b", &[])];
        entries.extend(names.iter().map(|name| (name.as_str(), &[][..])));
        let places = place(&graph(&entries));
        assert_apart(&places);
        assert!(places[2..].iter().all(|place| place.1 > places[0].1));
    }

    #[test]
    fn wanted_places_stay_where_nothing_overlaps() {
        assert_eq!(apart(&[0.0, 500.0]), [0.0, 500.0]);
        let pushed = apart(&[10.0, 10.0, 900.0]);
        assert_eq!(pushed, [10.0 - PITCH / 2.0, 10.0 + PITCH / 2.0, 900.0]);
    }
}
