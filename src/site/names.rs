//! Which file an image is: what the template of the pages makes of its name and labels, as a server reads the URL.

use std::collections::BTreeMap;

use url::Url;

use super::index::{Published, Section};
use super::{Error, Kind, Result};
use crate::discovery::render;
use crate::schema::AcIdentifier;
use crate::schema::tables::OS_ARCH;

/// What stands for the image, its signatures.
pub(super) const ENDINGS: [&str; 3] = [".asc", ".sig", ".minisig"];
/// The usual template, behind where images are.
pub(super) const USUAL: &str = "{name}-{version}-{os}-{arch}.{ext}";
/// The most bytes of one part of a path that file systems take, less what is added for signatures.
const LONGEST: usize = 240;
/// What a client asks for that wants no version.
const LATEST: &str = "latest";

/// Whether a path can be one of a site's.
pub(super) fn check(path: &str) -> std::result::Result<(), String> {
    for part in path.split('/') {
        if part.is_empty() || part.starts_with('.') {
            return Err("a part of it is empty or begins with a dot".to_owned());
        }
        if part.len() > LONGEST {
            return Err(format!("a part of it is longer than {LONGEST} bytes"));
        }
        if let Some(bad) = part.chars().find(|c| c.is_control() || *c == '\\') {
            return Err(format!("`{}` in it", bad.escape_debug()));
        }
    }
    Ok(())
}

/// That what stands in an index leads nowhere else.
pub(super) fn section_is_sound(section: &Section) -> std::result::Result<(), String> {
    directory_is_sound(&section.directory)?;
    base(section).map(drop).map_err(|error| crate::error::chain(&error))
}

fn directory_is_sound(directory: &str) -> std::result::Result<(), String> {
    let plain = |part: &str| {
        !part.starts_with('.')
            && !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    match directory.is_empty() || directory.split('/').all(plain) {
        true => Ok(()),
        false => Err(format!("`{}` is no place below a document root", directory.escape_debug())),
    }
}

/// Whether `prefix` is `name` or above it.
pub(super) fn covers(prefix: &AcIdentifier, name: &AcIdentifier) -> bool {
    name.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where images are, for a URL: the directory below the document root, and the template.
pub(super) fn place(url: &Url, template: Option<&str>) -> Result<(String, String)> {
    let refuse = |why: String| Error::new(Kind::Refused, format!("have images at {url}")).because(why);
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() || !bare {
        return Err(refuse("a URL of https is wanted, with neither query nor user".to_owned()));
    }
    let directory = url.path().trim_matches('/').to_owned();
    directory_is_sound(&directory).map_err(refuse)?;
    let usual = template.unwrap_or(USUAL);
    if !usual.contains("{ext}") || usual.contains(char::is_whitespace) || usual.contains(['?', '#']) {
        return Err(refuse(format!("the template `{}` needs an {{ext}}, and can have no query", usual.escape_debug())));
    }
    let base = url.as_str().trim_end_matches('/');
    Ok((directory, format!("{base}/{}", usual.trim_start_matches('/'))))
}

/// The URL that a section's files are below.
pub(super) fn base(section: &Section) -> Result<&str> {
    let corrupt = || Error::new(Kind::Corrupt, format!("find where images of {} are", section.prefix));
    let (_, behind) = section.template.split_once("://").ok_or_else(corrupt)?;
    let host = behind.find('/').ok_or_else(corrupt)? + section.template.len() - behind.len();
    let end = match section.directory.as_str() {
        "" => host,
        directory if section.template[host + 1..].starts_with(&format!("{directory}/")) => host + 1 + directory.len(),
        _ => return Err(corrupt()),
    };
    Ok(&section.template[..end])
}

/// The file that the template makes of these values, relative to the document root.
fn file(section: &Section, image: &Published, version: &str, os: &str, arch: &str) -> Result<String> {
    let mut values = BTreeMap::from([("version", version), ("os", os), ("arch", arch)]);
    let others = image.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
    values.extend(others.filter(|(label, _)| !["version", "os", "arch"].contains(label)));
    values.insert("name", &image.name);
    values.insert("ext", "aci");
    let refuse = |why: String| {
        Error::new(Kind::Refused, format!("name a file for {}", described(image))).clause("disc.subst").because(why)
    };
    let link = render(&section.template, &values).map_err(refuse)?;
    let base = base(section)?;
    let below = link.as_str().strip_prefix(base).and_then(|below| below.strip_prefix('/'));
    let below = below.ok_or_else(|| refuse("the template leads elsewhere".to_owned()))?;
    // Servers decode the path before they look for a file: a slash in a version is one more directory.
    let below = decoded(below).ok_or_else(|| refuse("the URL is not one of text".to_owned()))?;
    let path = if section.directory.is_empty() { below } else { format!("{}/{below}", section.directory) };
    check(&path).map_err(|why| refuse(format!("`{}` cannot be the path of a file: {why}", path.escape_debug())))?;
    if !path.ends_with(".aci") {
        return Err(refuse(format!("`{}` does not end in .aci", path.escape_debug())));
    }
    Ok(path)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = behind;
            }
            (b'%', _) => return None,
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// An image for people.
pub(super) fn described(image: &Published) -> String {
    let labels: Vec<String> = image.labels.iter().map(|(label, value)| format!(",{label}={value}")).collect();
    format!("{}{}", image.name, labels.concat()).escape_debug().to_string()
}

fn label<'i>(image: &'i Published, name: &str) -> Option<&'i str> {
    image.labels.iter().find(|(label, _)| label.as_str() == name).map(|(_, value)| value.as_str())
}

/// For which hosts an image is: all that the specification knows, where it does not say.
fn platforms(image: &Published) -> Vec<(String, String)> {
    let (os, arch) = (label(image, "os"), label(image, "arch"));
    if let (Some(os), Some(arch)) = (os, arch) {
        return vec![(os.to_owned(), arch.to_owned())];
    }
    let known = OS_ARCH.iter().flat_map(|(os, arches)| arches.iter().map(move |arch| (*os, *arch)));
    let fits = |(o, a): &(&str, &str)| os.is_none_or(|os| os == *o) && arch.is_none_or(|arch| arch == *a);
    known.filter(fits).map(|(os, arch)| (os.to_owned(), arch.to_owned())).collect()
}

/// The files of the version that an image says it is.
pub(super) fn own(section: &Section, image: &Published) -> Result<Vec<String>> {
    let version = label(image, "version").unwrap_or(LATEST);
    let mut files = Vec::new();
    for (os, arch) in platforms(image) {
        files.push(file(section, image, version, &os, &arch)?);
    }
    if files.is_empty() {
        let why = "no host that the specification knows has its os and arch";
        return Err(Error::new(Kind::Refused, format!("publish {}", described(image)))
            .clause("im.labels.osarch.known")
            .because(why));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Which file is which image: those of all versions, and of each name the latest version under `latest`.
///
/// # Errors
/// [`Kind::Refused`] where two images would be one file.
pub(super) fn files(section: &Section) -> Result<BTreeMap<String, usize>> {
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    for (at, image) in section.images.iter().enumerate() {
        for path in own(section, image)? {
            if let Some(other) = files.insert(path.clone(), at) {
                let doing = format!("publish {}", described(image));
                let why = format!("it would be the file {path}, which is {}", described(&section.images[other]));
                return Err(Error::new(Kind::Refused, doing).clause("disc.subst").because(why));
            }
        }
    }
    let mut latest: BTreeMap<String, usize> = BTreeMap::new();
    for (at, image) in section.images.iter().enumerate() {
        for (os, arch) in platforms(image) {
            let path = file(section, image, LATEST, &os, &arch)?;
            let newer = |known: &usize| rank(image) > rank(&section.images[*known]);
            if latest.get(&path).is_none_or(newer) {
                latest.insert(path, at);
            }
        }
    }
    for (path, at) in latest {
        // An image that says that it is the latest is.
        files.entry(path).or_insert(at);
    }
    Ok(files)
}

/// The latest: the highest release of Semantic Versioning, else the highest before a release, else what was published last.
fn rank(image: &Published) -> (u8, Option<semver::Version>, &str) {
    let version = label(image, "version").and_then(|version| semver::Version::parse(version).ok());
    match version {
        Some(version) => (if version.pre.is_empty() { 2 } else { 1 }, Some(version), &image.published),
        None => (0, None, &image.published),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(template: &str) -> Section {
        let (directory, template) = place(&"https://example.com/aci".parse().unwrap(), Some(template)).unwrap();
        let prefix = "example.com/apps".parse().unwrap();
        Section { prefix, template, directory, keys: Vec::new(), images: Vec::new(), moving: Vec::new() }
    }

    fn image(labels: &[(&str, &str)]) -> Published {
        Published {
            name: "example.com/apps/a".parse().unwrap(),
            labels: labels.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect(),
            id: format!("sha512-{}", "0".repeat(128)).parse().unwrap(),
            bytes: 0,
            sha512: String::new(),
            published: "2026".to_owned(),
            signatures: Vec::new(),
            files: Vec::new(),
            chunks: Vec::new(),
        }
    }

    fn linux(version: &str) -> Published {
        image(&[("version", version), ("os", "linux"), ("arch", "amd64")])
    }

    #[test]
    fn a_file_stands_where_a_server_looks_for_what_the_template_asks() {
        let section = section(USUAL);
        for (version, path) in [
            ("1.0", "aci/example.com/apps/a-1.0-linux-amd64.aci"),
            ("1+b", "aci/example.com/apps/a-1+b-linux-amd64.aci"),
            ("1 %2f?#\u{e4}", "aci/example.com/apps/a-1 %2f?#\u{e4}-linux-amd64.aci"),
            ("{os}", "aci/example.com/apps/a-{os}-linux-amd64.aci"),
            ("1/2", "aci/example.com/apps/a-1/2-linux-amd64.aci"),
        ] {
            assert_eq!(own(&section, &linux(version)).unwrap(), [path]);
        }
    }

    #[test]
    fn no_label_leads_out_of_its_place() {
        for template in [USUAL, "{version}/{name}.{ext}", "{name}/{version}.{ext}"] {
            let section = section(template);
            for version in
                ["../x", "..", ".", "a/../../../x", "x/", "/etc", "a//b", "a/.htaccess", "a\0b", "a\nb", "a/.."]
            {
                let said = own(&section, &linux(version));
                let inside =
                    |path: &String| path.starts_with("aci/") && !path.split('/').any(|part| part.starts_with('.'));
                assert!(said.as_ref().map_or(true, |files| files.iter().all(inside)), "{template} {version}: {said:?}");
            }
            assert!(own(&section, &linux("a/../../../x")).is_err());
        }
        assert!(own(&section(USUAL), &linux(&"x".repeat(300))).is_err());
    }

    #[test]
    fn an_image_for_all_hosts_has_a_file_for_each() {
        let files = own(&section(USUAL), &image(&[("version", "1")])).unwrap();
        assert!(files.len() > 10 && files.contains(&"aci/example.com/apps/a-1-freebsd-amd64.aci".to_owned()));
        assert_eq!(own(&section("{name}-{version}.{ext}"), &image(&[("version", "1")])).unwrap().len(), 1);
    }

    #[test]
    fn the_highest_release_is_the_latest() {
        let mut section = section(USUAL);
        section.images = ["1.2.0", "1.10.0", "2.0.0-rc.1", "nightly"].map(linux).into();
        let files = files(&section).unwrap();
        assert_eq!(files["aci/example.com/apps/a-latest-linux-amd64.aci"], 1);
        section.images.truncate(0);
        section.images.extend([linux("nightly"), Published { published: "2027".to_owned(), ..linux("b") }]);
        assert_eq!(super::files(&section).unwrap()["aci/example.com/apps/a-latest-linux-amd64.aci"], 1);
        section.images.push(linux("latest"));
        assert_eq!(super::files(&section).unwrap()["aci/example.com/apps/a-latest-linux-amd64.aci"], 2);
    }

    #[test]
    fn two_images_that_would_be_one_file_are_refused() {
        let mut section = section(USUAL);
        section.images = vec![linux("1"), Published { labels: BTreeMap::new(), ..linux("1") }];
        let mut other = linux("1");
        other.labels.insert("channel".parse().unwrap(), "x".to_owned());
        section.images = vec![linux("1"), other];
        let error = files(&section).unwrap_err();
        assert!(crate::error::chain(&error).contains("it would be the file aci/example.com/apps/a-1-linux-amd64.aci"));
    }

    #[test]
    fn places_that_are_none_are_refused() {
        for url in [
            "ftp://h/a",
            "https://h/a?b",
            "https://u@h/a",
            "https://h/%7Bname%7D",
            "https://h/a/.well",
            "https://h/a//b",
        ] {
            assert!(place(&url.parse().unwrap(), None).is_err(), "{url}");
        }
        assert!(place(&"https://h/".parse().unwrap(), Some("{name}")).is_err());
        assert_eq!(place(&"https://h/".parse().unwrap(), None).unwrap(), (String::new(), format!("https://h/{USUAL}")));
    }
}
