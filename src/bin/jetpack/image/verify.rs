//! `jetpack image verify`: are images still what they were?

use std::process::ExitCode;

use appc::aci::ReadOptions;
use appc::store::{Damage, ImageRef, Store};
use serde_json::json;

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::reference;
use crate::reading;

/// Hash images again and compare their trees with their archives, entry by entry.
#[derive(clap::Args)]
pub struct Args {
    /// IDs, beginnings of IDs, or names with labels
    #[arg(required_unless_present = "all", value_name = "IMAGE", value_parser = reference)]
    images: Vec<ImageRef>,
    /// All images of the store
    #[arg(long, conflicts_with = "images")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    let (ids, strangers) = if args.all {
        store.names()?
    } else {
        (args.images.iter().map(|image| store.identify(image)).collect::<Result<_, _>>()?, Vec::new())
    };
    let mut sound = strangers.is_empty();
    for name in strangers {
        eprintln!("jetpack: {}: it is no image", store.root().join("images").join(name).display());
    }
    let mut facts = Vec::new();
    for id in ids {
        let Some(damage) = damage(&store, &id) else { continue };
        if args.json {
            sound &= damage.is_empty();
            let damage: Vec<_> =
                damage.into_iter().map(|Damage { place, what }| json!({ "place": place, "what": what })).collect();
            facts.push(json!({ "id": id, "damage": damage }));
            continue;
        }
        if damage.is_empty() {
            println!("{id} ok");
        } else {
            sound = false;
            println!("{id} damaged");
        }
        for Damage { place, what } in damage {
            println!("  {place}: {what}");
        }
    }
    if args.json {
        crate::output::json(facts)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `None` when it went meanwhile.
fn damage(store: &Store, id: &appc::schema::ImageId) -> Option<Vec<Damage>> {
    let image = match store.try_image(id) {
        Ok(Some(image)) => image,
        Ok(None) => return None,
        Err(error) => return Some(unreadable(&error)),
    };
    let progress = reading::bar(id, image.origin().archive_bytes);
    let options = ReadOptions { progress, ..ReadOptions::default() };
    // What cannot even be looked at is damage of this image, and no reason to leave out the others.
    let mut damage = store.verify(&image, &options).unwrap_or_else(|error| unreadable(&error));
    damage.extend(store.verify_rendered(&image).unwrap_or_else(|error| unreadable(&error)));
    Some(damage)
}

fn unreadable(error: &dyn std::error::Error) -> Vec<Damage> {
    vec![Damage { place: "image".into(), what: appc::error::chain(error) }]
}
