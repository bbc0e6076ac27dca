//! Which paths stay (decision 26).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::schema::{AbsPath, ImageManifest};

/// The whitelists that hold along one dependency path. A path stays when every list keeps it; without lists all stays.
///
/// A list keeps what it names and the directories above that. Naming a directory does not name its contents.
/// Lists are never merged into one: of two lists that share nothing but a directory, that directory stays, and
/// nothing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Whitelists {
    lists: BTreeSet<List>,
}

/// The cleaned paths of one list, without their leading slash.
type List = BTreeSet<String>;

impl Whitelists {
    /// Whether there is no list.
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// These lists and that of an image further down. An empty list is no list (`im.pwl.empty`).
    #[must_use]
    pub(crate) fn and(&self, manifest: &ImageManifest) -> Self {
        let mut all = self.clone();
        if !manifest.path_whitelist.is_empty() {
            all.lists.insert(manifest.path_whitelist.iter().map(inside).collect());
        }
        all
    }

    /// Whether `path` (relative to the root file system, components divided by single slashes) stays. The root does.
    pub(crate) fn keeps(&self, path: &[u8]) -> bool {
        path.is_empty() || self.lists.iter().all(|list| keeps(list, path))
    }
}

fn inside(path: &AbsPath) -> String {
    path.clean().trim_start_matches('/').to_owned()
}

fn keeps(list: &List, path: &[u8]) -> bool {
    // What is not UTF-8 cannot be named by a manifest, and nothing below it either.
    let Ok(path) = std::str::from_utf8(path) else { return false };
    if list.contains(path) {
        return true;
    }
    let below = format!("{path}/");
    list.range(below.clone()..).next().is_some_and(|listed| listed.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(all: &[&[&str]]) -> Whitelists {
        let manifest = |paths: &&[&str]| -> ImageManifest {
            let manifest = serde_json::json!({
                "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a", "pathWhitelist": paths,
            });
            serde_json::from_value(manifest).unwrap()
        };
        all.iter().map(manifest).fold(Whitelists::default(), |lists, manifest| lists.and(&manifest))
    }

    #[test]
    fn a_list_keeps_what_it_names_and_the_way_there() {
        let list = lists(&[&["/etc//./ca/crt/", "/bin/sh"]]);
        for kept in ["", "etc", "etc/ca", "etc/ca/crt", "bin", "bin/sh"] {
            assert!(list.keeps(kept.as_bytes()), "{kept}");
        }
        for gone in ["etc/ca/crt/below", "etc/ca-old", "etc/c", "bin/s", "bin/sh2", "usr"] {
            assert!(!list.keeps(gone.as_bytes()), "{gone}");
        }
    }

    #[test]
    fn an_empty_list_keeps_everything() {
        assert!(lists(&[&[]]).keeps(b"anything/at/all"));
        assert!(lists(&[&[]]).is_empty());
    }

    #[test]
    fn two_lists_keep_what_both_keep() {
        let both = lists(&[&["/a/b", "/a/c", "/d"], &["/a/c", "/a/e"]]);
        assert!(both.keeps(b"a") && both.keeps(b"a/c"));
        assert!(!both.keeps(b"a/b") && !both.keeps(b"a/e") && !both.keeps(b"d"));
    }

    #[test]
    fn two_lists_with_nothing_in_common_keep_the_shared_directory_only() {
        let both = lists(&[&["/a/b"], &["/a/c"]]);
        assert!(both.keeps(b"a"));
        assert!(!both.keeps(b"a/b") && !both.keeps(b"a/c"));
    }

    #[test]
    fn a_path_that_is_not_text_is_never_listed() {
        assert!(!lists(&[&["/a"]]).keeps(b"a/\xff"));
    }
}
