//! What is collected, and what stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use appc::schema::ImageId;
use appc::store::{Kind, Store, Uses};
use appc_needs::{Need, skip};
use serde_json::json;

use super::{jetpack, printed, rubbish, store};
use crate::support::store::{Entry, archive, import, manifest, small};

/// What is collected until it is as much as expected, for a while: a child of another test has what this process holds, too, for the
/// moment before it becomes its program.
fn collected(store: &Store, uses: &Uses, expected: (usize, u64)) -> (BTreeSet<ImageId>, u64) {
    let (mut images, mut trees) = (BTreeSet::new(), 0);
    for _ in 0..1000 {
        let some = store.collect(Duration::ZERO, || Ok(uses.clone())).unwrap();
        assert!(some.bytes > 0 || some.images.is_empty());
        images.extend(some.images);
        trees += some.trees;
        if images.len() >= expected.0 && trees >= expected.1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (images, trees)
}

#[test]
fn collecting_takes_what_no_pod_and_no_image_needs_and_no_more() {
    let (_directory, store) = store();
    let on_base = |name: &str, list: &[&str]| {
        let dependencies = json!([{ "imageName": "example.com/base" }]);
        small(name, json!({ "dependencies": dependencies, "pathWhitelist": list }))
    };
    let base = import(&store, &small("example.com/base", json!({}))).unwrap().id().clone();
    let (app, layers) = {
        let app = import(&store, &on_base("example.com/app", &["/who"])).unwrap();
        (app.id().clone(), store.rendered(&app).unwrap().layers)
    };
    let other = import(&store, &small("example.com/other", json!({}))).unwrap().id().clone();
    let held = import(&store, &on_base("example.com/held", &[])).unwrap();

    // A pod stands on `app`; `held` is held by this process; both need `base`.
    let uses = Uses {
        images: [(app.clone(), "a pod".to_owned())].into(),
        layers: layers.into_iter().map(|layer| (layer, "a pod".to_owned())).collect(),
    };
    assert_eq!(collected(&store, &uses, (1, 0)), ([other].into(), 0));
    assert_eq!(*store.remove(&app, &uses).unwrap_err().kind(), Kind::Busy);
    assert_eq!(*store.remove(held.id(), &Uses::default()).unwrap_err().kind(), Kind::Busy);
    assert!(store.rendered(&store.image(&app).unwrap()).is_ok());

    drop(held);
    let young = store.collect(Duration::from_secs(3600), || Ok(Uses::default())).unwrap();
    assert!(young.images.is_empty(), "all are younger than an hour");
    let (images, trees) = collected(&store, &Uses::default(), (3, 1));
    assert!(images.len() == 3 && trees == 1 && images.contains(&base), "{images:?} {trees}");
    assert_eq!(store.trees().names().unwrap(), []);
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
    let again = store.collect(Duration::ZERO, || Ok(Uses::default())).unwrap();
    assert_eq!((again.images.len(), again.trees, again.bytes), (0, 0, 0));
}

#[test]
fn what_a_pod_stands_on_stays_until_the_pod_goes() {
    let (directory, store) = store();
    let write = |name: &str, besides| {
        let file = directory.path().join(format!("{name}.aci"));
        let entries = [Entry::directory(""), Entry::file(name, name)];
        fs::write(&file, archive(&manifest(&format!("example.com/{name}"), besides), &entries)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let base = write("base", json!({}));
    let app = write(
        "app",
        json!({ "dependencies": [{ "imageName": "example.com/base" }],
                "app": { "exec": ["/app"], "user": "0", "group": "0" } }),
    );
    let ids = printed(&jetpack(store.root(), &["fetch", "--pull", "never", &base, &app]));
    let prepared = jetpack(store.root(), &["prepare", "--no-metadata", "example.com/app"]);
    if !prepared.status.success() {
        return skip(Need::Pods, format_args!("no pods here: {}", String::from_utf8_lossy(&prepared.stderr)));
    }
    let pod = String::from_utf8(prepared.stdout).unwrap();
    let named = format!("pod {} uses it", pod.trim());
    printed(&jetpack(store.root(), &["image", "gc", "--grace", "0s"]));
    for id in ids.lines() {
        let refused = jetpack(store.root(), &["image", "rm", id]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains(&named), "{told}");
    }
    assert_eq!(store.list().unwrap().len(), 2);
    printed(&jetpack(store.root(), &["image", "verify", "--all"]));
    printed(&jetpack(store.root(), &["rm", pod.trim()]));
    printed(&jetpack(store.root(), &["image", "gc", "--grace", "0s"]));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn images_that_came_lately_stay_and_what_would_go_is_told_first() {
    let (_directory, store) = store();
    let id = import(&store, &small("example.com/a", json!({}))).unwrap().id().to_string();
    printed(&jetpack(store.root(), &["image", "gc"]));
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(printed(&jetpack(store.root(), &["image", "gc", "--dry-run"])), "");
    assert_eq!(printed(&jetpack(store.root(), &["image", "gc", "--dry-run", "--grace", "0s"])), format!("{id}\n"));
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(printed(&jetpack(store.root(), &["image", "gc", "--grace", "0s"])).starts_with(&id));
    assert_eq!(store.list().unwrap(), []);
}
