//! Resolvers that misread pages.

use serde::Deserialize;

use crate::case::Page;

/// How pages are misread.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misread {
    /// Pages of parents are not looked at.
    NoWalk,
    /// Every tag counts, whatever its prefix.
    AnyPrefix,
    /// Redirects are not followed.
    NoRedirect,
    /// Of several tags only the last counts.
    LastTag,
    /// A server's failure is taken for a missing page.
    SoftErrors,
    /// The version is not substituted.
    NoVersion,
    /// Templates without {ext} are used.
    NoExt,
    /// Key tags are not seen.
    NoKeys,
    /// A refusal for want of credentials ends the search.
    HardRefusal,
    /// Tags must have the name as their prefix, whole.
    WholePrefix,
}

impl Misread {
    /// Makes a page what the resolver takes it for.
    pub fn page(self, path: &str, names: &[&str], page: &mut Page) {
        let tags = &mut page.discovery;
        let rewrite = |tags: &mut Vec<String>, change: &dyn Fn(&str, &str) -> String| {
            for tag in tags {
                if let Some((prefix, template)) = tag.clone().split_once(' ') {
                    *tag = change(prefix, template);
                }
            }
        };
        match self {
            Misread::NoWalk => {
                let own =
                    names.iter().any(|name| name.split([':', ',']).next().is_some_and(|name| name.ends_with(path)));
                if !own || path == "/" {
                    tags.clear();
                }
            }
            Misread::AnyPrefix => rewrite(tags, &|_, template| format!("localhost {template}")),
            Misread::NoRedirect => {
                if page.location.take().is_some() {
                    page.status = Some(404);
                }
            }
            Misread::LastTag => drop(tags.drain(..tags.len().saturating_sub(1))),
            Misread::SoftErrors => {
                if page.status.is_some_and(|status| status >= 500) {
                    page.status = Some(404);
                }
            }
            Misread::NoVersion => {
                rewrite(tags, &|prefix, template| format!("{prefix} {}", template.replace("{version}", "latest")))
            }
            Misread::NoExt => rewrite(tags, &|prefix, template| {
                if template.contains("{ext}") {
                    format!("{prefix} {template}")
                } else {
                    format!("{prefix} {template}.{{ext}}")
                }
            }),
            Misread::NoKeys => page.keys.clear(),
            Misread::HardRefusal => {
                if page.demands.take().is_some() {
                    page.status = Some(503);
                }
            }
            Misread::WholePrefix => {
                tags.retain(|tag| names.iter().any(|name| name.split([':', ',']).next() == tag.split(' ').next()))
            }
        }
    }
}
