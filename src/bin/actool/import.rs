//! `actool import`: an OCI or Docker image becomes one ACI, or one a layer.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use appc::aci::ReadOptions;
use appc::discovery::RegistryName;
use appc::oci::registry::{Accounts, Mirrors, Shelf, Ways};
use appc::oci::{self, Conversion, Form, ImportOptions, Layers, Pick, Platform, Source, Written};
use appc::schema::AcIdentifier;
use appc::store::Partials;
use appc::transport::{Client, Settings};
use appc::whole::Overwrite;

use crate::build::Codec;
use crate::error::CommandError;
use crate::insecure::Insecure;
use crate::print;

/// Make ACIs of an OCI image layout, of what `docker save` wrote, or of an image in a registry. Prints the image IDs, that of the image to be run last.
///
/// SOURCE is a directory or an archive, plain or compressed, - for standard input, or docker://[HOST[:PORT]/]NAME[:TAG][@DIGEST];
/// :TAG, :NAME:TAG or @DIGEST behind the others says which image of several is meant. What appc has no place for is kept in annotations, from which `actool export` restores it, and
/// told.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The image to be written (--squash), or the directory to be made for one a layer (--layers)
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// One image of all layers (the default)
    #[arg(long, conflicts_with = "layers")]
    squash: bool,
    /// One image a layer, each depending on the one below
    #[arg(long)]
    layers: bool,
    /// What the image is called
    #[arg(long)]
    name: Option<AcIdentifier>,
    /// Its version; the tag unless told
    #[arg(long, value_name = "VERSION")]
    version_label: Option<String>,
    /// What the image is to run on, as linux/arm64 or freebsd/amd64; the best first
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    platform: Vec<Platform>,
    /// How to compress
    #[arg(long, value_name = "CODEC", default_value = "gzip")]
    compression: Codec,
    /// Replace the image where there is one; a directory is never replaced
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    insecure: Insecure,
    /// Largest size of a layer after decompression, in bytes or with k, M, G, Ki, Mi, Gi
    #[arg(long, value_name = "SIZE", default_value = "16Gi", value_parser = crate::input::size)]
    max_size: u64,
}

/// A platform, for the command line's parser.
pub fn platform(text: &str) -> Result<Platform, String> {
    text.parse().map_err(|error| format!("failed to {}", appc::error::chain(&error)))
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let read = ReadOptions { max_size: args.max_size, ..ReadOptions::default() };
    let platforms = if args.platform.is_empty() { oci::host_platforms() } else { args.platform.clone() };
    // Blobs of a registry, for as long as this takes.
    let blobs = oci::private_directory(&std::env::temp_dir())?;
    let (path, image) = if RegistryName::is_meant(&args.source) {
        let name: RegistryName = args.source.parse()?;
        let mut settings = crate::discover::settings(None)?;
        args.insecure.apply("actool", &mut settings);
        let variable = &crate::discover::variable;
        let ways = Ways {
            client: Client::new(settings.clone())?,
            unprotected: Client::new(Settings { insecure_tls: true, insecure_http: true, ..settings })?,
            accounts: Accounts::of_user(variable),
            mirrors: Mirrors::load(&appc::config::registry_files(variable))?,
        };
        let (registry, found) = ways.find(&name, &platforms, None, &|place, error| {
            eprintln!("actool: {place} gives nothing: {}", appc::error::chain(error));
        })?;
        // Nobody else is at what is this process' own.
        let shelf = Shelf {
            whole: blobs.path().to_owned(),
            partials: Partials::new(blobs.path().join("partial")),
            waiting: Arc::new(|_| {}),
        };
        (PathBuf::from(&name.name), registry.image(found, shelf)?)
    } else {
        let (path, mut pick) = place(&args.source)?;
        pick.platforms = platforms;
        let image = Source::open(&path, &read)?.find(&pick)?;
        (path, image)
    };
    let stem = path.file_name().and_then(|name| name.to_str()).map(|name| name.split('.').next().unwrap_or(name));
    let name = args.name.clone().or_else(|| image.named().is_none().then(|| oci::identifier(stem?)).flatten());
    let options = ImportOptions {
        form: if args.layers { Form::Layers } else { Form::Squash },
        name,
        version: args.version_label.clone(),
        compression: args.compression.into(),
        read,
    };
    if let Some(platform) = image.second_choice() {
        eprintln!("actool: the image is for {platform}: there is none for what was asked for first");
    }
    let written = if args.layers { layers(args, &image, options)? } else { squashed(args, &image, options)? };
    for written in &written {
        println!("{}", written.image_id);
    }
    Ok(ExitCode::SUCCESS)
}

/// The path, and which image there.
fn place(source: &str) -> Result<(PathBuf, Pick), CommandError> {
    let whole = |path: &str| (PathBuf::from(path), Pick::default());
    if source == "-" || Path::new(source).exists() {
        return Ok(whole(source));
    }
    if let Some((path, digest)) = source.rsplit_once('@')
        && Path::new(path).exists()
    {
        return Ok((PathBuf::from(path), Pick { digest: Some(digest.parse()?), ..Pick::default() }));
    }
    // The shortest path that is there: names have colons too.
    for (at, _) in source.match_indices(':') {
        let (path, name) = (&source[..at], &source[at + 1..]);
        if path == "-" || (!path.is_empty() && Path::new(path).exists()) {
            return Ok((PathBuf::from(path), Pick { name: Some(name.to_owned()), ..Pick::default() }));
        }
    }
    Ok(whole(source))
}

fn squashed(args: &Args, image: &Layers, options: ImportOptions) -> Result<Vec<Written>, CommandError> {
    let named = args.out.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b".aci") && name.len() > 4);
    if !named {
        return Err(CommandError::failed(format!(
            "write {}: the name of an image file ends in `.aci`",
            args.out.display()
        )));
    }
    let written = oci::write_file(&args.out, Overwrite::asked(args.overwrite), |file| {
        let mut conversion = Conversion::new(image, options)?;
        let written = conversion.write(file)?;
        Ok((written, conversion.told().to_vec()))
    })?;
    print::findings(&written.1);
    Ok(vec![written.0])
}

fn layers(args: &Args, image: &Layers, options: ImportOptions) -> Result<Vec<Written>, CommandError> {
    let (written, told) = oci::write_directory(&args.out, |directory| {
        let mut conversion = Conversion::new(image, options)?;
        let mut all = Vec::new();
        for number in 0..conversion.count() {
            let path = directory.join(format!("{:03}.aci", number + 1));
            let failed = |error: std::io::Error| {
                oci::Error::new(oci::Kind::Io, format!("write {}", path.display())).because(error)
            };
            let mut file = File::create_new(&path).map_err(failed)?;
            all.push(conversion.write(&mut file)?);
            file.flush().map_err(failed)?;
        }
        Ok((all, conversion.told().to_vec()))
    })?;
    print::findings(&told);
    Ok(written)
}
