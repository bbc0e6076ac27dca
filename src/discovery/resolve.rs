//! The walk from a name up to its host, and what the pages on it say.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use url::Url;

use super::meta::{self, MetaTag, TagName};
use super::template::{self, Link};
use super::{Error, ImageName, Kind, Platform};
use crate::diagnostic::Diagnostic;

/// Who gets pages. Follows redirects, gives credentials, keeps limits.
pub trait Fetch {
    /// The answer of `url` after all redirects, whatever its status. An error means that there was no answer.
    fn page(&mut self, url: &Url) -> Result<Page, Box<dyn StdError + Send + Sync>>;
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// HTTP status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    /// Where the answer came from in the end.
    pub url: Url,
}

/// The most places for images, and for keys, that a page can name: each may have to be waited for.
const MAX_PLACES: usize = 32;

/// How to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// What `os` and `arch` are where the name does not say.
    pub platform: Platform,
    /// Another port for discovery URLs.
    pub port: Option<u16>,
    /// Whether plain http is tried where https gave nothing.
    pub http: bool,
    /// Whether the walk goes on after errors of servers and network, as the Go tool's does.
    pub walk_on_errors: bool,
    /// What to look for.
    pub seek: Seek,
}

impl Default for Options {
    fn default() -> Self {
        Self { platform: Platform::host(), port: None, http: false, walk_on_errors: false, seek: Seek::Both }
    }
}

/// What to look for. The walk ends when it has been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Images and their signatures.
    Endpoints,
    /// Keys.
    Keys,
    /// Images, and keys if there are any.
    Both,
}

/// Where an image and its signature are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The image.
    pub aci: Link,
    /// Its signature.
    pub asc: Link,
    /// Its signature by signify or minisign, which the specification does not know: where either is, if it has one.
    pub signify: [Link; 2],
    /// The map of its chunks, which the specification does not know either: where it is, if it has one.
    pub chunks: Link,
    /// The page that said so.
    pub page: Url,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// In the order in which they are to be tried.
    pub endpoints: Vec<Endpoint>,
    /// Where keys are, each with the page that said so. None is no failure.
    pub keys: Vec<(Link, Url)>,
    /// Tags that were passed over, and what is doubtful about those that were not.
    pub diagnostics: Vec<Diagnostic>,
}

/// One step of the walk, for people who want to watch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step<'s> {
    /// A page is asked for.
    Asking(&'s Url),
    /// It answered with this status, from there.
    Answered(u16, &'s Url),
    /// There was no answer.
    Failed(&'s Url, &'s str),
    /// A tag was passed over, or is doubtful.
    Told(&'s Diagnostic),
    /// What a page had: so many endpoints and so many keys.
    Read(&'s Url, usize, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking(url) => write!(f, "asking {url}"),
            Self::Answered(status, url) => write!(f, "answered {status} from {url}"),
            Self::Failed(url, why) => write!(f, "no answer from {url}: {why}"),
            Self::Told(told) => write!(f, "{}: {}", told.clause, told.message),
            Self::Read(url, endpoints, keys) => write!(f, "read {url}: endpoints {endpoints}, keys {keys}"),
        }
    }
}

/// Finds out where an image is.
///
/// A page that answers 4xx or has no usable tag leads to its parent (`disc.walk`); any other failure ends the walk, as
/// the parent of a broken page may know another truth. Once images are found, a failure on the way to keys is told
/// and no error.
pub fn discover(
    wanted: &ImageName,
    options: &Options,
    fetch: &mut dyn Fetch,
    watch: &mut dyn FnMut(&Step<'_>),
) -> Result<Discovered, Error> {
    let mut walk = Walk { wanted, options, fetch, watch, found: Discovered::default() };
    let mut tried = Vec::new();
    let mut prefix = wanted.name.as_str();
    loop {
        match walk.visit(prefix) {
            Ok(page) => tried.push(format!("{page} has no usable tag")),
            Err(Refusal { why, ends }) => {
                let goes_on = !ends || options.walk_on_errors;
                if !goes_on && walk.found.endpoints.is_empty() {
                    let doing = format!("ask {prefix} where {wanted} is");
                    return Err(Error::new(Kind::Unreachable, doing).clause("disc.walk").because(why));
                }
                if !goes_on {
                    walk.tell(Diagnostic::warning("disc.meta.pubkeys", format!("no keys from {prefix}: {why}")));
                    return Ok(walk.found);
                }
                tried.push(why);
            }
        }
        if walk.done() {
            return Ok(walk.found);
        }
        match prefix.rsplit_once('/') {
            Some((parent, _)) => prefix = parent,
            None => break,
        }
    }
    if !walk.found.endpoints.is_empty() {
        return Ok(walk.found);
    }
    let what = if options.seek == Seek::Keys { "keys for" } else { "where to get" };
    Err(Error::new(Kind::NotFound, format!("find {what} {wanted}")).clause("disc.walk").because(tried.join("; ")))
}

/// Why a page gave nothing.
struct Refusal {
    why: String,
    /// Whether the walk must not go on to the parent.
    ends: bool,
}

struct Walk<'w> {
    wanted: &'w ImageName,
    options: &'w Options,
    fetch: &'w mut dyn Fetch,
    watch: &'w mut dyn FnMut(&Step<'_>),
    found: Discovered,
}

impl Walk<'_> {
    fn done(&self) -> bool {
        let endpoints = !self.found.endpoints.is_empty();
        let keys = !self.found.keys.is_empty();
        match self.options.seek {
            Seek::Endpoints => endpoints,
            Seek::Keys => keys,
            Seek::Both => endpoints && keys,
        }
    }

    /// Asks by https, then by http where that is allowed, and reads what comes. Returns where it came from.
    fn visit(&mut self, prefix: &str) -> Result<Url, Refusal> {
        let first = self.ask("https", prefix);
        let page = match first {
            Err(refusal) if self.options.http => self.ask("http", prefix).map_err(|second| Refusal {
                why: format!("{}; by http: {}", refusal.why, second.why),
                ends: refusal.ends && second.ends,
            })?,
            other => other?,
        };
        self.read(&page);
        Ok(page.url)
    }

    fn ask(&mut self, scheme: &str, prefix: &str) -> Result<Page, Refusal> {
        let ends = |why: String| Refusal { why, ends: true };
        let mut url =
            Url::parse(&format!("{scheme}://{prefix}?ac-discovery=1")).map_err(|error| ends(error.to_string()))?;
        if self.options.port.is_some() {
            url.set_port(self.options.port).map_err(|()| ends("this host cannot have a port".to_owned()))?;
        }
        (self.watch)(&Step::Asking(&url));
        let page = self.fetch.page(&url).map_err(|error| {
            let why = crate::error::chain(&*error);
            (self.watch)(&Step::Failed(&url, &why));
            ends(why)
        })?;
        (self.watch)(&Step::Answered(page.status, &page.url));
        match page.status {
            200..=299 => Ok(page),
            status => {
                let wants = if status == 401 { ": it wants credentials" } else { "" };
                let why = format!("{} answered {status}{wants}", page.url);
                Err(Refusal { why, ends: !(400..=499).contains(&status) })
            }
        }
    }

    /// Takes what the page has of what is still wanted: one page says it all, several are never mixed.
    fn read(&mut self, page: &Page) {
        let mut endpoints = Vec::new();
        let mut keys = Vec::new();
        for tag in meta::tags(&page.body) {
            match self.tag(&tag) {
                Ok(Some(Found::Endpoint(links))) => {
                    let [aci, asc, sig, minisig, chunks] = *links;
                    endpoints.push(Endpoint { aci, asc, signify: [sig, minisig], chunks, page: page.url.clone() });
                }
                Ok(Some(Found::Keys(link))) => keys.push((link, page.url.clone())),
                Ok(None) => {}
                Err(Ignored { clause, why }) => {
                    let quoted = quote(&tag);
                    self.tell(Diagnostic::warning(clause, format!("{quoted} ignored: {why}")));
                }
            }
        }
        if endpoints.len().max(keys.len()) > MAX_PLACES {
            let message = format!("{} names more than {MAX_PLACES} places; the rest is passed over", page.url);
            self.tell(Diagnostic::warning("disc.multi", message));
        }
        endpoints.truncate(MAX_PLACES);
        keys.truncate(MAX_PLACES);
        (self.watch)(&Step::Read(&page.url, endpoints.len(), keys.len()));
        if self.found.endpoints.is_empty() && self.options.seek != Seek::Keys {
            self.found.endpoints = endpoints;
        }
        if self.found.keys.is_empty() && self.options.seek != Seek::Endpoints {
            self.found.keys = keys;
        }
    }

    fn tag(&mut self, tag: &MetaTag) -> Result<Option<Found>, Ignored> {
        let ignored = |clause: &'static str, why: String| Ignored { clause, why };
        let (prefix, url) =
            tag.words().ok_or_else(|| ignored("disc.meta.format", "its content is not two words".to_owned()))?;
        let Some(rest) = self.wanted.name.strip_prefix(prefix) else { return Ok(None) };
        if !(rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')) {
            let message = format!("{}: its prefix matches `{}` within a word", quote(tag), self.wanted.name);
            self.tell(Diagnostic::warning("disc.prefix", message));
        }
        match tag.name {
            TagName::PublicKeys => {
                Link::parse(url).map(|link| Some(Found::Keys(link))).map_err(|why| ignored("disc.meta.pubkeys", why))
            }
            TagName::Discovery if !url.contains("{ext}") => Err(ignored("disc.ext", "it has no `{ext}`".to_owned())),
            TagName::Discovery => {
                let render = |ext| self.render(url, ext).map_err(|why| ignored("disc.meta.template", why));
                let links = [
                    render("aci")?,
                    render("aci.asc")?,
                    render("aci.sig")?,
                    render("aci.minisig")?,
                    render("aci.chunks")?,
                ];
                Ok(Some(Found::Endpoint(Box::new(links))))
            }
        }
    }

    fn render(&self, template: &str, ext: &str) -> Result<Link, String> {
        let mut values: BTreeMap<&str, &str> = self.options.platform.labels().into();
        values.insert("version", "latest");
        values.extend(self.wanted.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())));
        // Last, so that labels of these names change nothing.
        values.insert("name", &self.wanted.name);
        values.insert("ext", ext);
        template::render(template, &values)
    }

    fn tell(&mut self, told: Diagnostic) {
        (self.watch)(&Step::Told(&told));
        self.found.diagnostics.push(told);
    }
}

fn quote(tag: &MetaTag) -> String {
    format!("{} tag `{}`", tag.name.as_str(), tag.content.escape_debug())
}

/// Why a tag is of no use.
struct Ignored {
    clause: &'static str,
    why: String,
}

enum Found {
    Endpoint(Box<[Link; 5]>),
    Keys(Link),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages by URL; what is not there answers 404.
    struct Pages<'p>(&'p [(&'p str, u16, &'p str)], Vec<String>);

    impl Fetch for Pages<'_> {
        fn page(&mut self, url: &Url) -> Result<Page, Box<dyn StdError + Send + Sync>> {
            self.1.push(url.to_string());
            match self.0.iter().find(|(at, ..)| *at == url.as_str()) {
                Some((_, 0, why)) => Err((*why).into()),
                Some((_, status, body)) => Ok(Page { status: *status, body: body.as_bytes().into(), url: url.clone() }),
                None => Ok(Page { status: 404, body: Vec::new(), url: url.clone() }),
            }
        }
    }

    const ENDPOINT: &str =
        "<meta name=ac-discovery content='example.com https://s/{name}-{version}-{os}-{arch}.{ext}'>";
    const KEYS: &str = "<meta name=ac-discovery-pubkeys content='example.com https://s/keys.gpg'>";

    fn options() -> Options {
        let platform = Platform { os: "linux".to_owned(), arch: "amd64".to_owned() };
        Options { platform, ..Options::default() }
    }

    fn look(name: &str, options: &Options, pages: &[(&str, u16, &str)]) -> (Result<Discovered, Error>, Vec<String>) {
        let mut pages = Pages(pages, Vec::new());
        let found = discover(&name.parse().unwrap(), options, &mut pages, &mut |_| {});
        (found, pages.1)
    }

    fn acis(found: Result<Discovered, Error>) -> Vec<String> {
        found.unwrap().endpoints.iter().map(|endpoint| endpoint.aci.to_string()).collect()
    }

    #[test]
    fn the_walk_goes_up_to_the_host_and_no_further() {
        let page = format!("{ENDPOINT}{KEYS}");
        let (found, asked) =
            look("example.com/a/b", &options(), &[("https://example.com/?ac-discovery=1", 200, &page)]);
        let found = found.unwrap();
        assert_eq!(found.endpoints[0].asc.to_string(), "https://s/example.com/a/b-latest-linux-amd64.aci.asc");
        assert_eq!(found.keys[0].0.to_string(), "https://s/keys.gpg");
        assert_eq!(asked.len(), 3);
        let (nothing, asked) = look("example.com/a/b", &options(), &[]);
        assert_eq!(*nothing.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(asked.last().unwrap(), "https://example.com/?ac-discovery=1");
    }

    #[test]
    fn endpoints_and_keys_may_stand_on_different_pages() {
        let pages = [
            ("https://example.com/a?ac-discovery=1", 200, ENDPOINT),
            ("https://example.com/?ac-discovery=1", 200, KEYS),
        ];
        let (found, _) = look("example.com/a", &options(), &pages);
        assert_eq!(found.unwrap().keys.len(), 1);
    }

    #[test]
    fn the_nearest_page_with_usable_tags_is_the_one() {
        let other = "<meta name=ac-discovery content='example.com https://other/{name}.{ext}'>";
        let unusable = "<meta name=ac-discovery content='example.org https://other/{name}.{ext}'>";
        let root = ("https://example.com/?ac-discovery=1", 200, other);
        let (found, _) =
            look("example.com/a", &options(), &[("https://example.com/a?ac-discovery=1", 200, ENDPOINT), root]);
        assert_eq!(acis(found), ["https://s/example.com/a-latest-linux-amd64.aci"]);
        let (found, _) =
            look("example.com/a", &options(), &[("https://example.com/a?ac-discovery=1", 200, unusable), root]);
        assert_eq!(acis(found), ["https://other/example.com/a.aci"]);
    }

    #[test]
    fn a_broken_server_ends_the_walk_unless_told_otherwise() {
        let root = ("https://example.com/?ac-discovery=1", 200, ENDPOINT);
        for broken in [503, 0] {
            let pages = [("https://example.com/a?ac-discovery=1", broken, "reset"), root];
            let (found, asked) = look("example.com/a", &options(), &pages);
            assert_eq!((found.unwrap_err().kind(), asked.len()), (&Kind::Unreachable, 1));
            let loose = Options { walk_on_errors: true, ..options() };
            assert_eq!(acis(look("example.com/a", &loose, &pages).0).len(), 1);
        }
    }

    #[test]
    fn a_failure_on_the_way_to_keys_is_told_and_no_error() {
        let pages =
            [("https://example.com/a?ac-discovery=1", 200, ENDPOINT), ("https://example.com/?ac-discovery=1", 500, "")];
        let found = look("example.com/a", &options(), &pages).0.unwrap();
        assert!(found.keys.is_empty());
        assert_eq!(found.diagnostics[0].clause, "disc.meta.pubkeys");
    }

    #[test]
    fn plain_http_is_asked_only_where_allowed_and_only_second() {
        let pages = [("http://example.com:8080/?ac-discovery=1", 200, ENDPOINT)];
        let with_port = Options { port: Some(8080), ..options() };
        assert!(look("example.com", &with_port, &pages).1.iter().all(|url| url.starts_with("https:")));
        let (found, asked) = look("example.com", &Options { http: true, ..with_port }, &pages);
        assert_eq!(acis(found).len(), 1);
        assert_eq!(asked, ["https://example.com:8080/?ac-discovery=1", "http://example.com:8080/?ac-discovery=1"]);
    }

    #[test]
    fn tags_that_cannot_be_used_are_told_and_passed_over() {
        for (tag, clause) in [
            ("example.com https://s/{name}", "disc.ext"),
            ("example.com", "disc.meta.format"),
            ("example.com https://s/{name}.{ext} more", "disc.meta.format"),
            ("example.com https://s/{+name}.{ext}", "disc.meta.template"),
            ("example.com https://s/{flavour}.{ext}", "disc.meta.template"),
            ("example.com /{name}.{ext}", "disc.meta.template"),
        ] {
            let page = format!("<meta name=ac-discovery content='{tag}'>{ENDPOINT}");
            let found = look("example.com/a", &options(), &[("https://example.com/a?ac-discovery=1", 200, &page)]).0;
            let found = found.unwrap();
            assert_eq!((found.endpoints.len(), &*found.diagnostics[0].clause), (1, clause), "{tag}");
        }
    }

    #[test]
    fn no_page_can_send_us_to_places_without_end() {
        let page = ENDPOINT.repeat(1000);
        let found = look("example.com/a", &options(), &[("https://example.com/a?ac-discovery=1", 200, &page)]).0;
        let found = found.unwrap();
        assert_eq!((found.endpoints.len(), &*found.diagnostics[0].clause), (MAX_PLACES, "disc.multi"));
    }

    #[test]
    fn a_prefix_is_plain_text_and_a_match_within_a_word_is_told() {
        let page = "<meta name=ac-discovery content='example.com/fo https://s/{name}.{ext}'>";
        let found = look("example.com/foo", &options(), &[("https://example.com/foo?ac-discovery=1", 200, page)]).0;
        let found = found.unwrap();
        assert_eq!((found.endpoints.len(), &*found.diagnostics[0].clause), (1, "disc.prefix"));
    }

    #[test]
    fn labels_asked_for_fill_the_template() {
        let page = "<meta name=ac-discovery content='e.com https://s/{version}/{os}/{arch}/{channel}.{ext}'>";
        let found =
            look("e.com:1.2,os=freebsd,channel=x", &options(), &[("https://e.com/?ac-discovery=1", 200, page)]).0;
        assert_eq!(acis(found), ["https://s/1.2/freebsd/amd64/x.aci"]);
    }
}
