//! What is said of images that are published: whose signatures and keys, and where.

use std::fs;
use std::path::{Path, PathBuf};

use appc::schema::AcIdentifier;
use appc::site::{self, Addition, Place, Publication, Sign};
use serde_json::json;
use url::Url;

use crate::error::CommandError;
use crate::output;
use crate::signing::Signer;

/// What the names of signatures end in, behind that of the image.
const ENDINGS: [&str; 3] = [".asc", ".sig", ".minisig"];

/// The options.
#[derive(clap::Args)]
pub struct Options {
    /// The prefix of names that the pages of discovery are for
    #[arg(long, value_name = "NAME", value_parser = prefix)]
    prefix: Option<AcIdentifier>,
    /// The URL that images are below: of the document root, or of a directory in it; needed the first time
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// What follows the URL for each image; {name}-{version}-{os}-{arch}.{ext} unless told
    #[arg(long, value_name = "TEMPLATE", requires = "url")]
    template: Option<String>,
    /// Sign with one of gpg's keys: a fingerprint or an address; or with the secret key in a file
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// Sign with this secret key of signify or minisign
    #[arg(long, value_name = "FILE")]
    signify_key: Option<PathBuf>,
    /// The passphrase of the key is on the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A signature of the one image: FILE.asc, FILE.sig or FILE.minisig. Those beside IMAGE are taken by themselves
    #[arg(long, value_name = "FILE")]
    signature: Vec<PathBuf>,
    /// Public keys to offer, with which signatures that are given have to be made
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
    /// Publish what nobody has signed
    #[arg(long)]
    unsigned: bool,
    /// Put a map of its chunks beside each image: who has another that is mostly the same fetches only the rest
    #[arg(long)]
    chunks: bool,
    /// Take away all other images of the prefix
    #[arg(long)]
    prune: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn prefix(text: &str) -> Result<AcIdentifier, String> {
    text.trim_end_matches('/').parse().map_err(|_| "it is no prefix of names".to_owned())
}

impl Options {
    /// Whether anything is said that only a site has.
    #[allow(dead_code, reason = "one of the programs has other places")]
    pub fn are_given(&self) -> bool {
        let one = self.prefix.is_some() || self.url.is_some() || self.key.is_some() || self.signify_key.is_some();
        one || self.unsigned || self.chunks || self.prune || !self.signature.is_empty() || !self.public_key.is_empty()
    }

    /// Whether JSON is asked for.
    #[allow(dead_code, reason = "one of the programs has other places")]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Publishes images, and prints for each its ID and a URL. Those of a site that is new are below `new_at` unless told.
    pub fn publish(&self, place: &mut dyn Place, images: &[PathBuf], new_at: Option<Url>) -> Result<(), CommandError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| CommandError::failed(format!("read {}: {error}", path.display())))
        };
        if !self.signature.is_empty() && images.len() != 1 {
            return Err(CommandError::usage("--signature is of one image, and there are several")
                .hint("signatures beside images are found by their names: IMAGE.asc"));
        }
        let mut signers = Vec::new();
        let passphrase_file = self.passphrase_file.clone();
        if let Some(key) = &self.key {
            signers.push(match Path::new(key).is_file() {
                true => Signer::of_file(Path::new(key), passphrase_file.clone())?,
                false => Signer::known_to_gpg(Some(key.clone()), passphrase_file.clone()),
            });
        }
        if let Some(key) = &self.signify_key {
            signers.push(Signer::signify(key, passphrase_file.as_deref())?);
        }
        let mut keys = self.public_key.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        for signer in &signers {
            keys.push(signer.public_keys()?);
        }
        let mut additions = Vec::new();
        for image in images {
            let mut signatures = Vec::new();
            for path in &self.signature {
                let ending = ENDINGS.iter().find(|ending| path.as_os_str().to_string_lossy().ends_with(*ending));
                let ending = ending.ok_or_else(|| {
                    CommandError::usage(format!("{} does not end in one of {}", path.display(), ENDINGS.join(", ")))
                })?;
                signatures.push(((*ending).to_owned(), read(path)?));
            }
            for ending in ENDINGS {
                let mut beside = image.as_os_str().to_owned();
                beside.push(ending);
                let beside = PathBuf::from(beside);
                let made = signers.iter().any(|signer| signer.ending() == ending);
                if !made && beside.is_file() && !signatures.iter().any(|(known, _)| known == ending) {
                    signatures.push((ending.to_owned(), read(&beside)?));
                }
            }
            additions.push(Addition { path: image.clone(), signatures });
        }
        let signers = signers.iter().map(|signer| {
            let sign: Box<Sign<'_>> =
                Box::new(move |path: &Path| signer.sign(path).map_err(|error| error.into_message().into()));
            (signer.ending(), sign)
        });
        let publication = Publication {
            prefix: self.prefix.clone(),
            url: self.url.clone(),
            new_at,
            template: self.template.clone(),
            images: additions,
            keys,
            signers: signers.collect(),
            unsigned: self.unsigned,
            chunks: self.chunks,
            prune: self.prune,
        };
        let done = site::publish(place, &publication).map_err(hinted)?;
        for told in &done.told {
            eprintln!("warning: {told}");
        }
        if self.json {
            let published = done.images.iter().map(|(image, url, written)| {
                json!({ "id": image.id, "name": image.name, "labels": image.labels, "url": url, "written": written })
            });
            let removed = done.removed.iter().map(|image| &image.id);
            let (published, removed): (Vec<_>, Vec<_>) = (published.collect(), removed.collect());
            output::json(json!({ "images": published, "removed": removed }))?;
            return Ok(());
        }
        for (image, url, written) in &done.images {
            println!("{} {url}{}", image.id, if *written { "" } else { " (unchanged)" });
        }
        for image in &done.removed {
            println!("{} removed", image.id);
        }
        Ok(())
    }
}

fn hinted(error: site::Error) -> CommandError {
    let hint = match (error.kind(), error.clause_id()) {
        (site::Kind::Refused, Some("disc.sigpolicy")) => {
            "--key or --signify-key signs it, --public-key names whose signatures are offered, --unsigned does without"
        }
        (site::Kind::Refused, None) if appc::error::chain(&error).contains("at which URL") => {
            "--url says where images are: of the document root, or of a directory in it"
        }
        _ => return error.into(),
    };
    CommandError::from(error).hint(hint)
}
