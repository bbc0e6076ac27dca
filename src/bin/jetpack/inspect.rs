//! `jetpack inspect`: all that is known about pods and images, as JSON.

use std::process::ExitCode;

use serde_json::{Value, json};

use appc::pod::{Part, PodDir};

use crate::context::Context;
use crate::error::CommandError;
use crate::image::show;
use crate::{obtain, status};

/// Print all that is known about pods and images, as a JSON list in the order of the names.
#[derive(clap::Args)]
pub struct Args {
    /// Pods or images, as other commands name them; what could be both is the pod
    #[arg(required = true, value_name = "POD|IMAGE")]
    things: Vec<String>,
    /// Look for these alone
    #[arg(long, value_name = "KIND", value_parser = ["pod", "image"])]
    kind: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let inspect = |text: &String| match args.kind.as_deref() {
        Some("pod") => pod(&context.pods()?.find(text)?),
        Some(_) => image(text, context),
        None => match context.pods()?.find(text) {
            Ok(found) => pod(&found),
            Err(error) if *error.kind() == appc::pod::Kind::Missing => image(text, context)
                .map_err(|_| CommandError::failed(format!("find {text}: there is no pod and no image of that name"))),
            Err(error) => Err(error.into()),
        },
    };
    let known = args.things.iter().map(inspect).collect::<Result<Vec<_>, _>>()?;
    crate::output::json(known)?;
    Ok(ExitCode::SUCCESS)
}

fn pod(pod: &PodDir) -> Result<Value, CommandError> {
    let mut known = json!({ "kind": "pod" });
    merge(&mut known, serde_json::to_value(status::Facts::of(pod)?)?);
    known["directory"] = json!(pod.path());
    // One that is still being made has not all of them.
    known["manifest"] = pod.read_json_if_there::<Value>(Part::Manifest)?.unwrap_or_default();
    known["plan"] = pod.read_json_if_there::<Value>(Part::Plan)?.unwrap_or_default();
    Ok(known)
}

/// The image, which need not be one of those that are there by name alone.
pub fn image(text: &str, context: &Context) -> Result<Value, CommandError> {
    let store = context.store()?;
    let image = obtain::find(&store, &text.parse()?)?;
    let mut known = json!({ "kind": "image" });
    merge(&mut known, show::facts(&store, &image));
    known["manifest"] = serde_json::to_value(image.manifest())?;
    Ok(known)
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
