//! `actool ls`: what is in an image.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, Data, Entry, EntryKind, Sink};

use crate::error::CommandError;
use crate::input::{self, Reading};
use crate::print;

/// List the entries of an image in the order of the archive.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    /// With mode, owner, size, time and target of links
    #[arg(short, long)]
    long: bool,
    /// Print JSON, an object a line
    #[arg(long, conflicts_with = "long")]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let mut list = List { long: args.long, json: args.json, out: BufWriter::new(appc::sys::output::stdout()) };
    let read = aci::read(input::open(&args.image)?, &args.reading.options()?, &mut list);
    // What was listed up to a fault is of use, too.
    list.out.flush()?;
    print::findings(&input::of(&args.image, read)?.diagnostics);
    Ok(ExitCode::SUCCESS)
}

struct List<W> {
    long: bool,
    json: bool,
    out: W,
}

impl<W: Write> Sink for List<W> {
    fn entry(&mut self, entry: &Entry, _: &mut Data<'_, '_>) -> aci::Result<()> {
        let line = match (self.json, self.long) {
            (true, _) => document(entry).to_string(),
            (_, true) => long(entry),
            _ => entry.display_name(),
        };
        writeln!(self.out, "{line}").map_err(|error| aci::Error::new(aci::Kind::Io, "write the list").because(error))
    }
}

fn document(entry: &Entry) -> serde_json::Value {
    let (kind, is_link) = match entry.kind {
        EntryKind::File => ("file", false),
        EntryKind::Directory => ("directory", false),
        EntryKind::Symlink => ("symlink", true),
        EntryKind::Hardlink => ("hardlink", true),
        EntryKind::Character => ("character", false),
        EntryKind::Block => ("block", false),
        EntryKind::Fifo => ("fifo", false),
    };
    let mut document = serde_json::json!({
        "name": entry.display_name(),
        "type": kind,
        "mode": format!("{:04o}", entry.mode),
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "modified": time(entry),
    });
    if is_link {
        document["target"] = entry.display_target().into();
    }
    if matches!(entry.kind, EntryKind::Character | EntryKind::Block) {
        document["device"] = serde_json::json!([entry.device.0, entry.device.1]);
    }
    if !entry.xattrs.is_empty() {
        let names = entry.xattrs.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned());
        document["xattrs"] = names.collect();
    }
    document
}

/// In RFC 3339, or as `@SECONDS` where no calendar reaches.
fn time(entry: &Entry) -> String {
    jiff::Timestamp::new(entry.mtime.seconds, entry.mtime.nanos.try_into().unwrap_or(0))
        .map_or_else(|_| format!("@{}", entry.mtime.seconds), |time| time.to_string())
}

fn long(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Hardlink => 'h',
        EntryKind::Character => 'c',
        EntryKind::Block => 'b',
        EntryKind::Fifo => 'p',
    };
    let size = match entry.kind {
        EntryKind::Character | EntryKind::Block => format!("{},{}", entry.device.0, entry.device.1),
        _ => entry.size.to_string(),
    };
    let time = time(entry);
    let owner = format!("{}/{}", entry.uid, entry.gid);
    let target = match entry.kind {
        EntryKind::Symlink => format!(" -> {}", entry.display_target()),
        EntryKind::Hardlink => format!(" link to {}", entry.display_target()),
        _ => String::new(),
    };
    let xattrs = if entry.xattrs.is_empty() { ' ' } else { '+' };
    let mode = mode(entry.mode);
    format!("{kind}{mode}{xattrs} {owner:>11} {size:>12} {time} {}{target}", entry.display_name())
}

fn mode(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => set,
            (false, true) => set.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}
