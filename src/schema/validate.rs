//! Everything that can be said about the bytes of a manifest, in one call.

use super::findings::Findings;
use super::json::{self, FaultKind, Node, Value};
use super::{ImageManifest, Isolator, PodManifest, rules, walk};
use crate::diagnostic::{Diagnostic, Severity};

/// How a manifest is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What a pod manifest is for.
    pub profile: Profile,
    /// Every warning is an error.
    pub strict: bool,
    /// Whose looser answers are given where a decision names one.
    pub compat: Compat,
    /// The kind that the place of the manifest demands: an image's within an image.
    pub kind: Option<Kind>,
    /// What comes of it.
    pub purpose: Purpose,
}

/// What comes of a manifest that is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A verdict.
    #[default]
    Verdict,
    /// A pod, whose executor ignores and reports isolators in the wrong scope (decision 8): a warning here.
    Pod,
}

/// What a pod manifest is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Written by people: image ids and mounts may still be found out.
    #[default]
    Template,
    /// Complete, as executors run it and the metadata service shows it (pod.reified).
    Reified,
}

/// Whose looser answers are given where a decision names one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compat {
    /// Nobody's.
    #[default]
    None,
    /// Those of the reference tools.
    Go,
}

/// The kind of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An image manifest.
    Image,
    /// A pod manifest.
    Pod,
}

impl Kind {
    /// What `acKind` says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "ImageManifest",
            Self::Pod => "PodManifest",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The kind that it was checked as; `None` when it is no JSON.
    pub kind: Option<Kind>,
    /// All findings, in the order of the document.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Whether there is no error. Warnings and notes are allowed.
    pub fn is_valid(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
    }
}

/// Checks the bytes of a manifest: JSON, schema and rules. No I/O, no panic on any bytes.
pub fn validate_manifest(bytes: &[u8], options: &Options) -> Report {
    let mut findings = Findings::default();
    let root = read(bytes, &mut findings);
    let kind = root.as_ref().and_then(|root| check(root, options, &mut findings));
    let mut diagnostics = findings.placed(bytes, root.as_ref());
    judge(&mut diagnostics, options);
    Report { kind, diagnostics }
}

/// Checks the bytes of one isolator, as it may be given beside a manifest, and gives the typed value when there is no error.
/// Whether it suits the place that it is put in is not asked.
pub fn isolator(bytes: &[u8]) -> Result<Isolator, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let root = read(bytes, &mut findings);
    if let Some(root) = &root {
        walk::check("isolator", root, &mut findings);
        rules::isolator(root, &mut findings);
    }
    from(bytes, findings.placed(bytes, root.as_ref()))
}

/// The document, with what is wrong with its text.
fn read<'b>(bytes: &'b [u8], findings: &mut Findings) -> Option<Node<'b>> {
    let (root, faults) = json::read(bytes);
    for fault in faults {
        let clause = match fault.kind {
            FaultKind::Syntax => "im.json.valid",
            FaultKind::Encoding => "x.json.encoding",
            FaultKind::Surrogate => "x.json.surrogate",
            FaultKind::DuplicateKey => "x.json.duplicate-key",
            FaultKind::Depth => "x.json.depth",
            FaultKind::Number => "x.json.number",
        };
        if matches!(fault.kind, FaultKind::Encoding | FaultKind::Surrogate) {
            findings.illegible(fault.span);
        }
        let finding = findings.error(clause, fault.span, fault.message);
        if let Some(first) = fault.first {
            finding.related(first, "given first");
        }
        if fault.kind == FaultKind::Encoding {
            finding.help("save the file as UTF-8 without byte-order mark");
        }
    }
    root
}

/// Checks the bytes of an image manifest and gives the typed value when there is no error.
pub fn image_manifest(bytes: &[u8], options: &Options) -> Result<ImageManifest, Vec<Diagnostic>> {
    typed(bytes, &Options { kind: Some(Kind::Image), ..*options }).map(|(manifest, _)| manifest)
}

/// Like [`image_manifest`], with what else there is to say of it: warnings and notes.
pub fn image_manifest_and_findings(
    bytes: &[u8],
    options: &Options,
) -> Result<(ImageManifest, Vec<Diagnostic>), Vec<Diagnostic>> {
    typed(bytes, &Options { kind: Some(Kind::Image), ..*options })
}

/// Checks the bytes of a pod manifest and gives the typed value when there is no error.
pub fn pod_manifest(bytes: &[u8], options: &Options) -> Result<PodManifest, Vec<Diagnostic>> {
    pod_manifest_and_findings(bytes, options).map(|(manifest, _)| manifest)
}

/// Like [`pod_manifest`], with what else there is to say of it: warnings and notes.
pub fn pod_manifest_and_findings(
    bytes: &[u8],
    options: &Options,
) -> Result<(PodManifest, Vec<Diagnostic>), Vec<Diagnostic>> {
    typed(bytes, &Options { kind: Some(Kind::Pod), ..*options })
}

fn typed<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    options: &Options,
) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
    let found = validate_manifest(bytes, options).diagnostics;
    from(bytes, found.clone()).map(|manifest| (manifest, found))
}

fn from<T: serde::de::DeserializeOwned>(bytes: &[u8], found: Vec<Diagnostic>) -> Result<T, Vec<Diagnostic>> {
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(found);
    }
    // Only the looser answers of another tool get a document here that the types refuse.
    serde_json::from_slice(bytes).map_err(|error| vec![Diagnostic::error("im.json.valid", error.to_string())])
}

/// What options make of severities.
pub(crate) fn judge(diagnostics: &mut [Diagnostic], options: &Options) {
    for diagnostic in diagnostics {
        if options.compat == Compat::Go && is_loose_in_go(diagnostic) {
            diagnostic.severity = Severity::Note;
            diagnostic.help = Some("the reference tools accept it".to_owned());
        } else if options.purpose == Purpose::Pod && is_misplaced(&diagnostic.clause) {
            diagnostic.severity = Severity::Warning;
        } else if options.strict && diagnostic.severity == Severity::Warning {
            diagnostic.severity = Severity::Error;
        }
    }
}

/// Whether an executor's report says what a warning of this clause says: isolators that it ignores.
pub fn is_told_by_executor(clause: &str) -> bool {
    clause == "iso.unknown.ignore" || is_misplaced(clause)
}

/// Whether the clause is about isolators in the wrong scope.
fn is_misplaced(clause: &str) -> bool {
    matches!(
        clause,
        "iso.scope" | "iso.caps.scope" | "iso.seccomp-remove.scope" | "iso.seccomp-retain.scope" | "sysctl.scope"
    )
}

/// Whether a decision names the looser answer of the reference tools: doubled separators in names (2), entries beside `rootfs`
/// that begin like it (18), what follows the archive's end, damage of its compression included, and its lack (19).
pub fn is_loose_in_go(diagnostic: &Diagnostic) -> bool {
    match diagnostic.clause.as_ref() {
        "types.acidentifier.regex" | "types.acname.regex" | "x.aci.trailing" | "x.aci.end" => true,
        "aci.toplevel.noextra" => diagnostic.place.entry.as_ref().is_some_and(|entry| entry.starts_with("rootfs")),
        _ => diagnostic.loose_in_go,
    }
}

fn check(root: &Node<'_>, options: &Options, findings: &mut Findings) -> Option<Kind> {
    if !matches!(root.value, Value::Object(_)) {
        let message = format!("a manifest is an object, found {}", root.kind());
        findings.error("im.json.valid", root.span, message);
        return options.kind;
    }
    let kind = kind(root, options);
    let definition = match kind {
        Kind::Image => "imageManifest",
        Kind::Pod => "podManifest",
    };
    walk::check(definition, root, findings);
    match kind {
        Kind::Image => rules::image(root, findings),
        Kind::Pod => rules::pod(root, options.profile, findings),
    }
    Some(kind)
}

/// The kind that a document must have, says it has, or by its keys seems to have.
fn kind(root: &Node<'_>, options: &Options) -> Kind {
    let seems = if root.get("apps").is_some() { Kind::Pod } else { Kind::Image };
    options.kind.unwrap_or_else(|| match root.text("acKind") {
        Some("ImageManifest") => Kind::Image,
        Some("PodManifest") => Kind::Pod,
        _ => seems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a"}"#;

    fn clauses(text: &str, options: &Options) -> Vec<String> {
        let report = validate_manifest(text.as_bytes(), options);
        report.diagnostics.iter().map(|d| d.clause.to_string()).collect()
    }

    #[test]
    fn the_smallest_manifests_are_valid() {
        assert_eq!(clauses(IMAGE, &Options::default()), [""; 0]);
        assert!(image_manifest(IMAGE.as_bytes(), &Options::default()).is_ok());
        assert!(pod_manifest(IMAGE.as_bytes(), &Options::default()).is_err());
    }

    #[test]
    fn one_fault_does_not_hide_another() {
        let text = r#"{"acKind": "ImageManifest", "acVersion": "01.2.3", "labels": [{"name": "os", "value": 1}, {"name": "os", "value": "x"}],
            "app": {"user": "", "ports": [{"name": "p", "protocol": "tcp", "port": 65535, "count": 2}]}}"#;
        assert_eq!(
            clauses(text, &Options::default()),
            [
                "im.name",
                "types.acversion.semver",
                "im.labels.value",
                "im.labels.unique",
                "im.app.group.required",
                "im.app.user.required",
                "im.app.ports.count"
            ]
        );
    }

    #[test]
    fn an_isolator_in_the_wrong_scope_is_for_the_executor_to_tell_where_a_pod_comes_of_it() {
        let isolator = r#"{"name": "os/unix/sysctl", "value": {"a": "b"}}"#;
        let text =
            IMAGE.replace('}', &format!(r#", "app": {{"user": "0", "group": "0", "isolators": [{isolator}]}}}}"#));
        assert!(image_manifest(text.as_bytes(), &Options::default()).is_err());
        assert!(image_manifest(text.as_bytes(), &Options { purpose: Purpose::Pod, ..Options::default() }).is_ok());
    }

    #[test]
    fn a_key_that_is_refused_is_not_called_unknown_as_well() {
        let isolator = r#"{"name": "resource/block-iops", "value": {"default": true, "limit": "1", "request": "1"}}"#;
        let text =
            IMAGE.replace('}', &format!(r#", "app": {{"user": "0", "group": "0", "isolators": [{isolator}]}}}}"#));
        assert_eq!(clauses(&text, &Options::default()), ["res.block-iops.limit"]);
    }

    #[test]
    fn what_follows_the_document_does_not_hide_its_faults() {
        let text = IMAGE.replace("example.com/a", "Example") + "{}";
        let report = validate_manifest(text.as_bytes(), &Options::default());
        let places = report.diagnostics.iter().map(|d| (d.clause.as_ref(), d.place.pointer.as_deref(), d.place.column));
        assert_eq!(
            places.collect::<Vec<_>>(),
            [("types.acidentifier.charset", Some("/name"), Some(60)), ("im.json.valid", Some(""), Some(70))]
        );
    }

    #[test]
    fn versions_beyond_64_bits_are_told() {
        for (version, clause) in [
            ("18446744073709551616.0.0", "types.acversion.major"),
            ("0.18446744073709551616.0", "types.acversion.tagged"),
            ("0.8.18446744073709551616-rc.1", "types.acversion.tagged"),
        ] {
            let text = IMAGE.replace("0.8.11", version);
            assert_eq!(clauses(&text, &Options::default()), [clause]);
        }
    }

    #[test]
    fn of_a_string_that_cannot_be_read_only_that_is_told() {
        for (bytes, clause) in [
            (&br#""example.com/\ud800""#[..], "x.json.surrogate"),
            (&b"\"example.com/\xff\""[..], "x.json.encoding"),
            (&b"\xff"[..], "x.json.encoding"),
        ] {
            let head = br#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "#;
            let report = validate_manifest(&[head, bytes, b"}"].concat(), &Options::default());
            assert_eq!(report.diagnostics.iter().map(|d| d.clause.as_ref()).collect::<Vec<_>>(), [clause]);
        }
        let text: Vec<u8> = IMAGE.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(validate_manifest(&text, &Options::default()).diagnostics[0].clause, "x.json.encoding");
    }

    #[test]
    fn names_from_other_worlds_are_found_whatever_their_case() {
        let isolator = |name: &str, value: &str| format!(r#"{{"name": "os/linux/{name}", "value": {value}}}"#);
        let isolators = [
            isolator("capabilities-retain-set", r#"{"set": ["kill", "Cap_Net_Admn", "é"]}"#),
            isolator("seccomp-remove-set", r#"{"set": ["reboot"], "errno": "eperm"}"#),
        ];
        let app = format!(r#", "app": {{"user": "0", "group": "0", "isolators": [{}]}}}}"#, isolators.join(","));
        let report = validate_manifest(IMAGE.replace('}', &app).as_bytes(), &Options::default());
        let help: Vec<&str> = report.diagnostics.iter().filter_map(|found| found.help.as_deref()).collect();
        let meant = |name: &str| format!("did you mean `{name}`?");
        assert_eq!((help[0], help[1], help[3]), (&*meant("CAP_KILL"), &*meant("CAP_NET_ADMIN"), &*meant("EPERM")));
    }

    #[test]
    fn places_are_exact() {
        let text = "{\"acKind\": \"ImageManifest\", \"acVersion\": \"0.8.11\",\n \"name\": \"example.com/a\", \"labels\": [\n\t{\"name\": \"os\", \"value\": null}]}";
        let report = validate_manifest(text.as_bytes(), &Options::default());
        let place = &report.diagnostics[0].place;
        assert_eq!(place.pointer.as_deref(), Some("/labels/0/value"));
        assert_eq!((place.line, place.column, place.length), (Some(3), Some(26), Some(4)));
    }

    #[test]
    fn strict_makes_errors_of_warnings_and_leaves_notes() {
        let text = IMAGE.replace("}", r#", "novel": 1, "labels": [{"name": "arch", "value": "amd64"}]}"#);
        let severities = |strict| -> Vec<Severity> {
            let options = Options { strict, ..Options::default() };
            validate_manifest(text.as_bytes(), &options).diagnostics.iter().map(|d| d.severity).collect()
        };
        assert_eq!(severities(false), [Severity::Note, Severity::Warning]);
        assert_eq!(severities(true), [Severity::Note, Severity::Error]);
    }

    #[test]
    fn the_reference_tools_looser_names_are_accepted_when_asked_for() {
        let text = IMAGE.replace("example.com/a", "example.com/a--b");
        assert_eq!(clauses(&text, &Options::default()), ["types.acidentifier.regex"]);
        assert!(validate_manifest(text.as_bytes(), &Options { compat: Compat::Go, ..Options::default() }).is_valid());
    }

    #[test]
    fn an_undefined_kind_is_told_once_and_the_rest_is_checked() {
        let text = IMAGE.replace("ImageManifest", "ImageManifes").replace("example.com/a", "Example");
        assert_eq!(clauses(&text, &Options::default()), ["types.ackind.defined", "types.acidentifier.charset"]);
    }
}
