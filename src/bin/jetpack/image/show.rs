//! `jetpack image show`: what the store knows about an image.

use std::process::ExitCode;

use appc::diagnostic::visible;
use appc::schema::Dependency;
use appc::store::{Image, ImageRef, Store};
use serde_json::json;

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};

/// Show what the store knows about an image.
#[derive(clap::Args)]
pub struct Args {
    /// ID, beginning of an ID, or name with labels
    #[arg(value_parser = reference)]
    image: ImageRef,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    let image = find(&store, &args.image)?;
    if args.json {
        crate::output::json(facts(&store, &image))?;
    } else {
        print!("{}", text(&store, &image));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known about it, as one document.
pub fn facts(store: &Store, image: &Image) -> serde_json::Value {
    let (origin, manifest) = (image.origin(), image.manifest());
    let passes = store.plan(image).ok().map(|plan| plan.passes);
    json!({
        "id": image.id(),
        "name": manifest.name,
        "labels": manifest.labels,
        "annotations": manifest.annotations,
        "dependencies": manifest.dependencies,
        "pathWhitelist": manifest.path_whitelist,
        "app": manifest.app,
        "source": origin.source,
        "imported": origin.imported.to_string(),
        "signed_by": origin.signed_by,
        "compression": origin.compression,
        "archive_bytes": origin.archive_bytes,
        "tree_bytes": origin.tree_bytes,
        "notes": origin.notes,
        "rendered": passes,
    })
}

fn text(store: &Store, image: &Image) -> String {
    let (origin, manifest) = (image.origin(), image.manifest());
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<13} {}\n", visible::line(value)));
    line("id", image.id());
    line("name", &manifest.name);
    for label in manifest.labels() {
        line("label", &format!("{}={}", label.name, label.value));
    }
    for annotation in manifest.annotations() {
        // Whole documents, for export: `jetpack image inspect` has them.
        let document = annotation.name.starts_with(appc::oci::PREFIX) && annotation.value.len() > 200;
        let value = if document { format!("({} bytes)", annotation.value.len()) } else { annotation.value.clone() };
        line("annotation", &format!("{}={value}", annotation.name));
    }
    if let Some(app) = &manifest.app {
        let exec: Vec<&str> = app.exec.iter().map(|argument| argument.as_str()).collect();
        line("exec", &exec.join(" "));
        line("user", &format!("{}:{}", *app.user, *app.group));
        line("directory", &app.working_directory);
        for variable in &app.environment {
            line("environment", &format!("{}={}", *variable.name, variable.value));
        }
        for port in &app.ports {
            let more = port.count.get().checked_sub(1).filter(|more| *more > 0);
            let last = more.map(|more| format!("-{}", u64::from(port.port.get()) + more));
            let activated = if port.socket_activated { ", handed over open" } else { "" };
            let numbers = format!("{}{}", port.port, last.unwrap_or_default());
            line("port", &format!("{} {numbers}/{}{activated}", *port.name, *port.protocol));
        }
        for point in &app.mount_points {
            let how = if point.read_only { ", read-only" } else { "" };
            line("mount point", &format!("{} {}{how}", *point.name, *point.path));
        }
        for handler in &app.event_handlers {
            line("handler", &format!("{} {}", handler.name, handler.exec.join(" ")));
        }
        for isolator in &app.isolators {
            let value = serde_json::to_value(isolator).unwrap_or_default();
            line("isolator", &format!("{} {}", isolator.name(), value["value"]));
        }
    }
    for dependency in &manifest.dependencies {
        line("dependency", &describe(dependency));
    }
    if !manifest.path_whitelist.is_empty() {
        line("whitelist", &format!("{} paths", manifest.path_whitelist.len()));
    }
    match store.plan(image) {
        Ok(plan) if plan.passes.len() > 1 => {
            for pass in plan.passes {
                line("made of", &pass.image);
            }
        }
        Ok(_) => {}
        Err(error) => line("made of", &format!("failed to {}", appc::error::chain(&error))),
    }
    line("source", &origin.source);
    line("imported", &origin.imported.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    for key in &origin.signed_by {
        line("signed by", key);
    }
    line("archive", &format!("{} bytes, compression {}", origin.archive_bytes, origin.compression));
    line("uncompressed", &format!("{} bytes", origin.tree_bytes));
    for note in &origin.notes {
        line("note", note);
    }
    text
}

fn describe(dependency: &Dependency) -> String {
    let mut text = dependency.image_name.to_string();
    for label in dependency.labels.iter().flat_map(|labels| &labels.0) {
        text.push_str(&format!(",{}={}", label.name, label.value));
    }
    if let Some(id) = &dependency.image_id {
        text.push_str(&format!(" {id}"));
    }
    if let Some(size) = dependency.size {
        text.push_str(&format!(" {size} bytes"));
    }
    text
}
