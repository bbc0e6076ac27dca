//! Images made of what apps changed: what the command line says about them, and how they get into the store.

use std::io::{self, PipeReader, Read};
use std::path::{Path, PathBuf};

use appc::executor::changed;
use appc::layer::{Commit, Describe};
use appc::pod::PodDir;
use appc::render::Pull;
use appc::schema::AcIdentifier;
use appc::store::{Image, Import, Store};
use appc::validate::MAX_MANIFEST;
use clap::Parser as _;
use serde_json::{Map, Value};

use crate::adapt::{word, wrong};
use crate::context::Context;
use crate::edits::Edits;
use crate::error::CommandError;
use crate::image;
use crate::obtain::{Obtained, whole};

/// What an image made of changes shall be.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// The image's name, its version behind a colon [default: its parent's]
    #[arg(long = "name", value_name = "NAME[:VERSION]")]
    name: Option<String>,
    /// A file with keys of the manifest that take the place of the parent's; one that is null takes it away
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Change the manifest as an option of `actool patch-manifest` does: exec='/bin/app -v', user=web, label=arch=amd64
    #[arg(long, value_name = "OPTION=VALUE")]
    patch: Vec<String>,
    /// Let the image hold everything, and depend on nothing
    #[arg(long)]
    pub flat: bool,
    /// Write the image's archive into this file too
    #[arg(long, value_name = "FILE.aci")]
    output: Option<PathBuf>,
    /// Replace that file if it is there
    #[arg(long, requires = "output")]
    overwrite: bool,
}

/// The words of `--patch`, each an option of its own.
#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Patch {
    #[command(flatten)]
    edits: Edits,
}

impl ImageArgs {
    /// What is wrong with it before anything was done.
    pub fn check(&self) -> Result<(), CommandError> {
        self.named()?;
        self.edits()?;
        let Some(output) = &self.output else { return Ok(()) };
        if output.extension().is_none_or(|extension| extension != "aci") {
            return Err(CommandError::usage(format!("{} must end in .aci (aci.ext)", output.display())));
        }
        if !self.overwrite && output.symlink_metadata().is_ok() {
            let error = CommandError::failed(format!("write {}: it is there already", output.display()));
            return Err(error.hint("--overwrite replaces it"));
        }
        Ok(())
    }

    /// What the manifest comes to, `instead` being what the file says.
    pub fn describe(
        &self,
        (parent, manifest): (appc::schema::ImageId, Vec<u8>),
        instead: Option<Map<String, Value>>,
    ) -> Result<Describe, CommandError> {
        Ok(Describe { parent, manifest, instead, name: self.named()?, edits: self.edits()? })
    }

    /// What is said about the manifest, in words.
    pub fn words(&self) -> Vec<String> {
        let name = self.name.iter().map(|name| format!("name {name}"));
        name.chain(self.patch.iter().map(|patch| format!("patch {patch}")))
            .chain([format!("flat {}", self.flat)])
            .collect()
    }

    /// Writes the archive where it was asked for.
    pub fn write(&self, image: &Image) -> Result<(), CommandError> {
        match &self.output {
            Some(output) => image::export::write(image, output, appc::whole::Overwrite::asked(self.overwrite)),
            None => Ok(()),
        }
    }

    fn named(&self) -> Result<Option<(AcIdentifier, Option<String>)>, CommandError> {
        let Some(text) = &self.name else { return Ok(None) };
        let (name, version) =
            text.split_once(':').map_or((text.as_str(), None), |(name, version)| (name, Some(version)));
        if version == Some("") {
            return Err(wrong("name", text, "no version stands behind the colon"));
        }
        Ok(Some((word("name", text, "acIdentifier", name)?, version.map(str::to_owned))))
    }

    fn edits(&self) -> Result<Vec<appc::schema::patch::Edit>, CommandError> {
        if let Some(text) = self.patch.iter().find(|text| !text.contains('=') || text.starts_with('-')) {
            return Err(wrong("patch", text, "it is not OPTION=VALUE"));
        }
        let parsed = Patch::try_parse_from(self.patch.iter().map(|text| format!("--{text}")));
        let parsed = parsed.map_err(|error| {
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            CommandError::usage(format!("--patch: {why}")).hint("`actool patch-manifest --help` tells the options")
        })?;
        parsed.edits.edits()
    }
}

/// The keys of a manifest that a file holds.
pub fn keys(mut file: impl Read, path: &Path) -> Result<Map<String, Value>, CommandError> {
    let failed = |why: String| CommandError::failed(format!("read the manifest {}: {why}", path.display()));
    let mut text = Vec::new();
    (&mut file).take(MAX_MANIFEST + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err(failed(format!("it is larger than {MAX_MANIFEST} bytes")));
    }
    match serde_json::from_slice(&text) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err(failed("it is no object".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Makes an image of what an app changed and brings it into the store, ready to run. `origin` is where people are told that it
/// comes from; `through` may keep the archive from being read to its end.
pub fn commit<R: Read + Send>(
    (pod, app): (&PodDir, Option<&str>),
    how: &Commit,
    describe: &Describe,
    origin: &str,
    through: impl FnOnce(PipeReader) -> R,
    context: &Context,
) -> Result<Obtained, CommandError> {
    let store: Store = context.store()?;
    let tell = |what: &str| eprintln!("jetpack: {what}");
    if describe.is_the_parents() {
        tell(
            "the image is called as its parent is, and comes before it where that name is asked for; --name gives another",
        );
    }
    let keep = |archive: PipeReader| store.import(through(archive), Import::new(origin));
    let image = changed::commit(pod, app, how, |form| describe.manifest(form), tell, keep)??;
    whole(context, &store, (image, true), Pull::Never)
}

/// A file of the host, whole.
pub fn open(path: &Path) -> Result<std::fs::File, CommandError> {
    std::fs::File::open(path)
        .map_err(|error: io::Error| CommandError::failed(format!("read the manifest {}: {error}", path.display())))
}

/// `SOURCE_DATE_EPOCH`.
pub fn epoch() -> Result<Option<i64>, CommandError> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let Some(text) = crate::context::variable(NAME) else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    seconds.map(Some).ok_or_else(|| CommandError::usage(format!("{NAME} is no number of seconds: {}", text.display())))
}
