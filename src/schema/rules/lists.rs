//! Labels and annotations.

use super::{each, unique};
use crate::schema::findings::Findings;
use crate::schema::json::Node;
use crate::schema::tables::OS_ARCH;
use crate::schema::walk::short;

/// Labels of an image, a dependency or a pod's image.
pub(super) fn labels(labels: &[Node<'_>], findings: &mut Findings) {
    unique(each(labels, "name"), findings, "im.labels.unique", "label");
    for name in each(labels, "name") {
        if name.as_str() == Some("name") {
            findings
                .error("im.labels.notname", name.span, "a label cannot be called `name`")
                .help("the image's name stands in `name` of the manifest");
        }
    }
    let value =
        |name| labels.iter().find(|label| label.text("name") == Some(name)).and_then(|label| label.get("value"));
    let os = value("os").and_then(|node| Some((node, node.as_str()?)));
    let arch = value("arch").and_then(|node| Some((node, node.as_str()?)));
    let known = os.and_then(|(_, os)| OS_ARCH.iter().find(|(name, _)| *name == os));
    match (os, known, arch) {
        (None, _, Some((arch, _))) => {
            findings
                .warning("im.labels.arch.needs-os", arch.span, "an architecture says nothing without an os")
                .help("add a label `os`");
        }
        (Some((os, text)), None, _) => {
            findings
                .warning("im.labels.osarch.known", os.span, format!("os `{}` is not known", short(text)))
                .meant(text, OS_ARCH.iter().map(|(os, _)| *os));
        }
        (Some((_, os)), Some((_, archs)), Some((node, arch))) if !archs.contains(&arch) => {
            let message = format!("architecture `{}` of {os} is not known", short(arch));
            let finding = findings.warning("im.labels.osarch.known", node.span, message);
            finding.help(format!("known are {}", archs.join(", ")));
            if let Some(right) = alias(os, arch) {
                finding.help(format!("write `{right}`"));
            } else {
                finding.meant(arch, archs.iter().copied());
            }
        }
        _ => {}
    }
}

/// What an architecture that goes by another name elsewhere is called here.
fn alias(os: &str, arch: &str) -> Option<&'static str> {
    match (os, arch) {
        ("darwin", "amd64") => Some("x86_64"),
        ("linux" | "freebsd", "x86_64" | "x64") => Some("amd64"),
        (_, "386" | "i686" | "x86") => Some("i386"),
        ("linux" | "freebsd", "arm64") => Some("aarch64"),
        _ => None,
    }
}

/// Annotations of an image, a pod or a pod's app; `once` is the clause that a name stands once there.
pub(super) fn annotations(annotations: &[Node<'_>], once: &'static str, findings: &mut Findings) {
    unique(each(annotations, "name"), findings, once, "annotation");
    for annotation in annotations {
        let Some(node) = annotation.get("value") else { continue };
        let Some(text) = node.as_str() else { continue };
        match annotation.text("name") {
            Some("created") => timestamp(node, text, findings),
            Some("homepage") => url(node, text, "im.ann.homepage", findings),
            Some("documentation") => url(node, text, "im.ann.documentation", findings),
            Some("appc.io/executor/supports-systemd-notify") if text != "true" && text != "false" => {
                let message = format!("`{}` is neither `true` nor `false`", short(text));
                findings.error("im.ann.sdnotify", node.span, message).meant(text, ["true", "false"]);
            }
            _ => {}
        }
    }
}

/// im.ann.created, types.timestamp.*.
fn timestamp(node: &Node<'_>, text: &str, findings: &mut Findings) {
    let bytes = text.as_bytes();
    let digits =
        |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let dated = digits(0..4) && digits(5..7) && digits(8..10) && bytes[4] == b'-' && bytes[7] == b'-';
    if !dated {
        findings
            .error("im.ann.created", node.span, format!("`{}` is not a timestamp", short(text)))
            .help("as in \"2016-05-24T17:30:00Z\"");
        return;
    }
    if bytes.get(10) != Some(&b'T') {
        let message = "date and time are not joined by a capital `T`";
        findings.error("types.timestamp.T", node.span, message).help("as in \"2016-05-24T17:30:00Z\"");
        return;
    }
    match rfc3339(text) {
        Err(why) => {
            findings
                .error("types.timestamp.rfc3339", node.span, format!("`{}` is not a timestamp: {why}", short(text)))
                .help("as in \"2016-05-24T17:30:00Z\" or \"2016-05-24T19:30:00.5+02:00\"");
        }
        Ok(()) if text.ends_with('z') => {
            findings
                .warning("types.timestamp.rfc3339", node.span, "the zone is written with a lower-case `z`")
                .help("write `Z`");
        }
        Ok(()) => {}
    }
}

/// RFC 3339's `date-time`, the date's separators and the `T` being there.
fn rfc3339(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    let two = |at: usize| -> Option<u32> {
        let pair = bytes.get(at..at + 2)?;
        pair.iter().all(u8::is_ascii_digit).then(|| u32::from(pair[0] - b'0') * 10 + u32::from(pair[1] - b'0'))
    };
    let year = two(0).zip(two(2)).map_or(0, |(high, low)| high * 100 + low);
    let month = two(5).filter(|month| (1..=12).contains(month)).ok_or("there is no such month")?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    two(8).filter(|day| (1..=days).contains(day)).ok_or("there is no such day")?;
    if bytes.get(13) != Some(&b':') || bytes.get(16) != Some(&b':') {
        return Err("the time is not `hours:minutes:seconds`");
    }
    let hour = two(11).filter(|hour| *hour < 24).ok_or("there is no such hour")?;
    let minute = two(14).filter(|minute| *minute < 60).ok_or("there is no such minute")?;
    let second = two(17).filter(|second| *second <= 60).ok_or("there is no such second")?;
    let mut rest = &bytes[19..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err("the fraction has no digits");
        }
        rest = &fraction[count..];
    }
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) => {
            let hours = i32::from(h1 - b'0') * 10 + i32::from(h2 - b'0');
            let minutes = i32::from(m1 - b'0') * 10 + i32::from(m2 - b'0');
            if hours > 23 || minutes > 59 {
                return Err("there is no such zone");
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return Err("it ends neither in `Z` nor in an offset such as `+02:00`"),
    };
    // A leap second is the last one of a day in UTC.
    let utc = (i32::try_from(hour * 60 + minute).unwrap_or(0) - offset).rem_euclid(24 * 60);
    if second == 60 && utc != 24 * 60 - 1 {
        return Err("a leap second ends a day in UTC");
    }
    Ok(())
}

fn url(node: &Node<'_>, text: &str, clause: &'static str, findings: &mut Findings) {
    let web = match url::Url::parse(text) {
        // The parser mends what people do not write: the authority must really stand there.
        Ok(url) => {
            let rest = text.get(url.scheme().len()..).unwrap_or_default();
            matches!(url.scheme(), "http" | "https")
                && rest.starts_with("://")
                && !rest[3..].starts_with(['/', '?', '#'])
                && url.has_host()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\')
        }
        Err(_) => false,
    };
    if !web {
        findings
            .error(clause, node.span, format!("`{}` is not an http or https URL", short(text)))
            .help("as in \"https://example.com/\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_rfc() {
        for good in [
            "2016-02-29T23:59:59Z",
            "1999-12-31T23:59:60Z",
            "2016-12-31T18:59:60-05:00",
            "2016-01-01T00:00:00.123456789012+14:00",
            "0000-01-01T00:00:00z",
        ] {
            assert_eq!(rfc3339(good), Ok(()), "{good}");
        }
        for bad in [
            "2015-02-29T00:00:00Z",
            "2016-13-01T00:00:00Z",
            "2016-01-32T00:00:00Z",
            "2016-01-01T24:00:00Z",
            "2016-01-01T00:60:00Z",
            "2016-01-01T00:00:61Z",
            "2016-01-01T00:00:60Z",
            "2016-01-01T00:00:00",
            "2016-01-01T00:00:00.Z",
            "2016-01-01T00:00:00,5Z",
            "2016-01-01T0:00:00Z",
            "2016-01-01T00:00:00+0200",
            "2016-01-01T00:00:00+24:00",
            "2016-01-01T00:00:00Z ",
            "2016-01-01T",
            "2016-01-01",
        ] {
            assert!(rfc3339(bad).is_err(), "{bad}");
        }
    }
}
