//! In which order the images of a dependency graph are laid down (decision 28).

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::schema::{ImageId, ImageManifest};

use super::whitelist::Whitelists;
use super::{Error, Kind, Result};

/// So many times can images be laid down for one tree; more is no image but an attack.
const MOST_PASSES: usize = 10_000;

/// An image and its dependencies, all found.
#[derive(Clone, Debug)]
pub struct Graph {
    root: ImageId,
    nodes: HashMap<ImageId, Node>,
}

#[derive(Clone, Debug)]
struct Node {
    name: String,
    lists: ImageManifest,
    dependencies: Vec<ImageId>,
}

/// One image laid down once: of its files those that its whitelists keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pass {
    /// The image.
    pub image: ImageId,
    /// Its own whitelist and those of all images on the way to it.
    #[serde(default, skip_serializing_if = "Whitelists::is_empty")]
    pub keep: Whitelists,
}

impl Graph {
    /// A graph of which only the image on top is known yet.
    pub fn new(root: ImageId) -> Self {
        Self { root, nodes: HashMap::new() }
    }

    /// Adds an image: what it says, and what its dependencies, in the order of its list, turned out to be.
    pub fn add(&mut self, id: ImageId, manifest: &ImageManifest, dependencies: Vec<ImageId>) {
        let node = Node { name: manifest.name.to_string(), lists: manifest.clone(), dependencies };
        self.nodes.insert(id, node);
    }

    /// What is laid down, the lowest first. Where the same image would be laid down several times under the same
    /// whitelists only the last time is kept: it writes every path of the earlier ones again, so that nothing of them stays.
    ///
    /// # Errors
    /// [`Kind::Cycle`] with the way round; [`Kind::TooMany`].
    pub fn passes(&self) -> Result<Vec<Pass>> {
        self.refuse_cycles()?;
        // Backwards: an image, then its dependencies from the last to the first. Then the first time that a pass is met is
        // its last time in the order asked for, and what is below it was met as well.
        let mut passes = Vec::new();
        let mut met = HashSet::new();
        let mut waiting = vec![(&self.root, Whitelists::default())];
        while let Some((id, above)) = waiting.pop() {
            let node = self.node(id)?;
            let keep = above.and(&node.lists);
            if !met.insert((id, keep.clone())) {
                continue;
            }
            if passes.len() == MOST_PASSES {
                let error = Error::new(Kind::TooMany, format!("order the dependencies of {}", self.root));
                return Err(error.because(format!("its images would be laid down more than {MOST_PASSES} times")));
            }
            passes.push(Pass { image: id.clone(), keep: keep.clone() });
            waiting.extend(node.dependencies.iter().map(|dependency| (dependency, keep.clone())));
        }
        passes.reverse();
        Ok(passes)
    }

    fn node(&self, id: &ImageId) -> Result<&Node> {
        self.nodes.get(id).ok_or_else(|| {
            let error = Error::new(Kind::Missing, format!("render {}", self.root));
            error.because(format!("its dependency {id} was not found"))
        })
    }

    fn refuse_cycles(&self) -> Result<()> {
        let mut done = HashSet::new();
        // The way down, each with the next of its dependencies to look at.
        let mut way: Vec<(&ImageId, usize)> = vec![(&self.root, 0)];
        let mut on_way: HashSet<&ImageId> = HashSet::from([&self.root]);
        while let Some((id, next)) = way.last_mut() {
            let id = *id;
            let Some(dependency) = self.node(id)?.dependencies.get(*next) else {
                done.insert(id);
                on_way.remove(id);
                way.pop();
                continue;
            };
            *next += 1;
            if on_way.contains(dependency) {
                let from = way.iter().position(|(id, _)| *id == dependency).unwrap_or(0);
                let round = way[from..].iter().map(|(id, _)| *id).chain([dependency]);
                let names: Vec<String> =
                    round.map(|id| self.node(id).map(|node| self.call(id, node))).collect::<Result<_>>()?;
                let error = Error::new(Kind::Cycle, format!("render {}", self.root)).clause("render.deps.cycle");
                return Err(error.because(format!("its dependencies go round: {}", names.join(" -> "))));
            }
            if !done.contains(dependency) {
                on_way.insert(dependency);
                way.push((dependency, 0));
            }
        }
        Ok(())
    }

    /// A name for people: the ID too where two images of the graph have the same.
    fn call(&self, id: &ImageId, node: &Node) -> String {
        let namesakes = self.nodes.values().filter(|other| other.name == node.name).count();
        if namesakes > 1 { format!("{} ({})", node.name, &id.as_str()[..19]) } else { node.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> ImageId {
        ImageId::from_digest(&[letter as u8; 64])
    }

    fn graph(edges: &[(char, &str)], lists: &[(char, &[&str])]) -> Graph {
        let mut graph = Graph::new(id(edges[0].0));
        for (name, dependencies) in edges {
            let list = lists.iter().find(|(of, _)| of == name).map_or(&[][..], |(_, list)| list);
            let manifest = serde_json::json!({
                "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name.to_lowercase().to_string(),
                "pathWhitelist": list,
            });
            graph.add(id(*name), &serde_json::from_value(manifest).unwrap(), dependencies.chars().map(id).collect());
        }
        graph
    }

    fn order(graph: &Graph) -> String {
        let letters = graph
            .passes()
            .unwrap()
            .into_iter()
            .map(|pass| ('A'..='Z').find(|letter| id(*letter) == pass.image).unwrap());
        letters.collect()
    }

    #[test]
    fn dependencies_come_first_and_deepest_first() {
        assert_eq!(order(&graph(&[('A', "BC"), ('B', ""), ('C', "D"), ('D', "")], &[])), "BDCA");
    }

    #[test]
    fn a_shared_dependency_under_different_lists_is_laid_down_each_time() {
        let edges = [('A', "BC"), ('B', "D"), ('C', "D"), ('D', "")];
        assert_eq!(order(&graph(&edges, &[('B', &["/b"]), ('C', &["/c"])])), "DBDCA");
    }

    #[test]
    fn laying_the_same_down_twice_is_done_once_at_the_later_place() {
        let edges = [('A', "BC"), ('B', "D"), ('C', "D"), ('D', "")];
        assert_eq!(order(&graph(&edges, &[])), "BDCA");
    }

    #[test]
    fn a_cycle_is_an_error_that_names_the_way_round() {
        let error = graph(&[('A', "B"), ('B', "C"), ('C', "DB"), ('D', "")], &[]).passes().unwrap_err();
        assert_eq!(*error.kind(), Kind::Cycle);
        assert!(crate::error::chain(&error).ends_with("b -> c -> b"), "{error:?}");
    }

    #[test]
    fn an_image_that_depends_on_itself_is_a_cycle() {
        assert_eq!(*graph(&[('A', "A")], &[]).passes().unwrap_err().kind(), Kind::Cycle);
    }

    #[test]
    fn many_ways_to_the_same_images_cost_no_more_than_one() {
        // Each of forty images depends twice on the next: 2^40 ways down.
        let names: Vec<char> = ('\u{4e00}'..).take(40).collect();
        let mut graph = Graph::new(ImageId::from_digest(&[0; 64]));
        for (depth, _) in names.iter().enumerate() {
            let below = ImageId::from_digest(&[depth as u8 + 1; 64]);
            let manifest = serde_json::json!({ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a" });
            let below = if depth + 1 < names.len() { vec![below.clone(), below] } else { Vec::new() };
            graph.add(ImageId::from_digest(&[depth as u8; 64]), &serde_json::from_value(manifest).unwrap(), below);
        }
        assert_eq!(graph.passes().unwrap().len(), 40);
    }
}
