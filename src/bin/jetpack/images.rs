//! `jetpack images`: what is in the store.

use std::io::{self, Write as _};
use std::process::ExitCode;

use appc::diagnostic::visible;
use appc::store::Listed;

use crate::context::Context;
use crate::error::CommandError;

/// List the images in the store, the newest import first.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.store()?.list()?;
    let mut out = io::BufWriter::new(appc::sys::output::stdout());
    if args.json {
        let facts: Vec<_> = images.iter().map(facts).collect();
        visible::write_json(&mut out, &facts)?;
    } else if context.quiet {
        images.iter().try_for_each(|image| writeln!(out, "{}", image.id))?;
    } else if !images.is_empty() {
        let width = images.iter().map(|image| title(image).len()).max().unwrap_or(0).max("NAME".len());
        writeln!(out, "{:<19}  {:<width$}  {:>9}  IMPORTED", "ID", "NAME", "SIZE")?;
        for image in &images {
            let imported = image.imported.strftime("%Y-%m-%dT%H:%M:%SZ");
            let (id, size) = (&image.id.as_str()[..19], size(image.archive_bytes));
            writeln!(out, "{id}  {:<width$}  {size:>9}  {imported}", title(image))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn facts(image: &Listed) -> serde_json::Value {
    serde_json::json!({
        "id": image.id,
        "name": image.name,
        "labels": image.labels,
        "imported": image.imported.to_string(),
        "source": image.source,
        "archive_bytes": image.archive_bytes,
        "tree_bytes": image.tree_bytes,
    })
}

/// The name with its labels, as a command line takes it.
pub fn title(image: &Listed) -> String {
    let mut title = image.name.to_string();
    if let Some(version) = image.labels.get("version") {
        title = format!("{title}:{version}");
    }
    for (name, value) in image.labels.iter().filter(|(name, _)| *name != "version") {
        title = format!("{title},{name}={value}");
    }
    visible::line(&title).into_owned()
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
