//! How images are read, for all commands that read one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use appc::aci::{self, Passphrase, ReadOptions};
use appc::schema::quantity::{self, Quantity};

use crate::error::CommandError;
use crate::reading;

/// Bytes of a passphrase file that are read.
const MAX_PASSPHRASE: u64 = 4096;

/// How to read an image.
#[derive(clap::Args)]
pub struct Reading {
    /// Largest size after decompression, in bytes or with k, M, G, T, Ki, Mi, Gi, Ti
    #[arg(long, value_name = "SIZE", default_value = "16Gi", value_parser = size)]
    max_size: u64,
    /// Decrypt with the passphrase on the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Reading {
    /// The library's options.
    pub fn options(&self) -> Result<ReadOptions, CommandError> {
        let mut options = ReadOptions { max_size: self.max_size, ..ReadOptions::default() };
        if let Some(path) = &self.passphrase_file {
            let mut text = String::new();
            opened(path)?
                .take(MAX_PASSPHRASE)
                .read_to_string(&mut text)
                .map_err(|error| CommandError::failed(format!("read {}: {error}", path.display())))?;
            options.passphrase = Some(Passphrase::new(text.lines().next().unwrap_or_default()));
        }
        Ok(options)
    }
}

/// Opens an image file, with a progress bar where somebody watches and it is long.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>, CommandError> {
    let file = opened(path)?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    Ok(match reading::shown(&path.display().to_string(), length) {
        Some(bar) => Box::new(bar.wrap_read(file)),
        None => Box::new(file),
    })
}

/// What came of reading an image, whose name an error shall say.
pub fn of<T>(image: &Path, read: aci::Result<T>) -> Result<T, CommandError> {
    read.map_err(|error| CommandError::failed(format!("read {}: {}", image.display(), appc::error::chain(&error))))
}

/// Where the signature of an image is unless told: its name with `ending` behind.
pub fn beside(image: &Path, ending: &str) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// All of a small file.
pub fn small(path: &Path, most: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let failed = |why: String| CommandError::failed(format!("read {}: {why}", path.display()));
    opened(path)?.take(most + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(failed(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

fn opened(path: &Path) -> Result<File, CommandError> {
    let failed = |why: String| CommandError::failed(format!("open {}: {why}", path.display()));
    // A pipe's other end may come later, which is what whoever names one wants; a directory is no image.
    if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(failed("it is a directory".into()));
    }
    File::open(path).map_err(|error| failed(error.to_string()))
}

/// A size, for the command line's parser.
pub fn size(text: &str) -> Result<u64, String> {
    let size: Quantity = text.parse().map_err(|error: quantity::Fault| error.to_string())?;
    match size.is_whole() {
        true => Ok(size.units()),
        false => Err("a part of a byte; M is a million of them, m a thousandth of one".to_owned()),
    }
}
