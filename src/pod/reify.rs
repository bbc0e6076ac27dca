//! From a template to a reified pod manifest: every image by its ID, every mount point satisfied (`pod.reified`).

use crate::schema::{AbsPath, App, ImageId, ImageManifest, Mount, PodApp, PodImage, PodManifest};

use super::{Error, Kind};

/// An image that was found for an app.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// Its ID.
    pub id: ImageId,
    /// Its manifest.
    pub manifest: ImageManifest,
}

/// The app of `app` that counts: the pod's, which replaces the image's as a whole, or the image's (decision 16).
///
/// # Errors
/// [`Kind::Invalid`] when there is neither.
pub fn effective<'a>(app: &'a PodApp, image: &'a ImageManifest) -> Result<&'a App, Error> {
    app.app.as_ref().or(image.app.as_ref()).ok_or_else(|| {
        invalid(&format!("run app {}", &*app.name))
            .clause("pm.apps.app")
            .because(format!("its image {} has no app, and the pod manifest gives it none", &*image.name))
    })
}

/// Reifies `template`: `find` gives the image of each app. Mount points without a mount get one of the volume of their
/// name (decision 44).
///
/// # Errors
/// [`Kind::Invalid`], naming app and clause, when the manifest cannot be run; those of `find`.
pub fn reify<E: From<Error>>(
    template: PodManifest,
    mut find: impl FnMut(&PodImage) -> Result<ResolvedImage, E>,
) -> Result<(PodManifest, Vec<ResolvedImage>), E> {
    let mut pod = template;
    if pod.apps.is_empty() {
        return Err(invalid("run the pod").clause("pm.apps").because("it has no apps").into());
    }
    let mut images = Vec::with_capacity(pod.apps.len());
    let volumes: Vec<String> = pod.volumes.iter().map(|volume| volume.name.to_string()).collect();
    for app in &mut pod.apps {
        let image = find(&app.image)?;
        app.image.id = Some(image.id.clone());
        if app.image.name.is_none() {
            app.image.name = Some(image.manifest.name.clone());
        }
        let added = missing_mounts(app, &image.manifest, &volumes)?;
        app.mounts.extend(added);
        check_mounts(app, &volumes)?;
        images.push(image);
    }
    Ok((pod, images))
}

fn missing_mounts(app: &PodApp, image: &ImageManifest, volumes: &[String]) -> Result<Vec<Mount>, Error> {
    let effective = effective(app, image)?;
    if effective.exec.is_empty() {
        return Err(invalid(&format!("run app {}", &*app.name)).clause("im.app.exec.type").because("it has no exec"));
    }
    let mut added: Vec<Mount> = Vec::new();
    for point in &effective.mount_points {
        let path = point.path.clean();
        if app.mounts.iter().any(|mount| mount.path.clean() == path) {
            continue;
        }
        if !volumes.contains(&point.name.to_string()) {
            return Err(invalid(&format!("run app {}", &*app.name)).clause("pod.reified.mounts").because(format!(
                "its mount point {} at {} has no mount, and no volume of the pod has its name",
                &*point.name, &*point.path
            )));
        }
        added.push(Mount {
            app_volume: None,
            path: point.path.clone(),
            volume: point.name.clone(),
            extra: serde_json::Map::new(),
        });
    }
    Ok(added)
}

/// Every mount has its volume, and no target is another or below another (decision 45).
fn check_mounts(app: &PodApp, volumes: &[String]) -> Result<(), Error> {
    let name = &*app.name;
    for (index, mount) in app.mounts.iter().enumerate() {
        if mount.app_volume.is_none() && !volumes.contains(&mount.volume.to_string()) {
            return Err(invalid(&format!("mount volume {} into app {name}", &*mount.volume))
                .clause("pm.apps.mounts.volume")
                .because("the pod has no such volume"));
        }
        let path: AbsPath = mount.path.clean();
        for other in &app.mounts[..index] {
            let other = other.path.clean();
            if path == other || path.contains(&other) || other.contains(&path) {
                return Err(invalid(&format!("mount volume {} into app {name}", &*mount.volume))
                    .clause("vol.target.overlap")
                    .because(format!("its target {} overlaps {}", &*path, &*other)));
            }
        }
    }
    Ok(())
}

fn invalid(doing: &str) -> Error {
    Error::new(Kind::Invalid, doing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(app: serde_json::Value) -> ResolvedImage {
        let mut manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a"});
        if !app.is_null() {
            manifest["app"] = app;
        }
        let id = format!("sha512-{}", "ab".repeat(64)).parse().unwrap();
        ResolvedImage { id, manifest: serde_json::from_value(manifest).unwrap() }
    }

    fn pod(app: serde_json::Value, volumes: serde_json::Value) -> PodManifest {
        let json = json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [app], "volumes": volumes});
        serde_json::from_value(json).unwrap()
    }

    fn try_reify(
        app: serde_json::Value,
        volumes: serde_json::Value,
        of: serde_json::Value,
    ) -> Result<PodManifest, Error> {
        reify(pod(app, volumes), |_| Ok::<_, Error>(image(of.clone()))).map(|(pod, _)| pod)
    }

    #[test]
    fn a_mount_point_gets_the_volume_of_its_name_and_the_image_its_id() {
        let of = json!({"exec": ["/a"], "user": "0", "group": "0", "mountPoints": [{"name": "db", "path": "/db/"}]});
        let app = json!({"name": "a", "image": {}});
        let reified = try_reify(app, json!([{"name": "db", "kind": "empty"}]), of).unwrap();
        assert_eq!(&*reified.apps[0].mounts[0].volume, "db");
        assert!(reified.apps[0].image.id.is_some());
        assert_eq!(reified.apps[0].image.name.as_deref().map(String::as_str), Some("example.com/a"));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_clause() {
        let plain = json!({"exec": ["/a"], "user": "0", "group": "0"});
        let pointed =
            json!({"exec": ["/a"], "user": "0", "group": "0", "mountPoints": [{"name": "db", "path": "/db"}]});
        let bare = json!({"name": "a", "image": {}});
        let mounts = |list: serde_json::Value| json!({"name": "a", "image": {}, "mounts": list});
        let volume = json!([{"name": "v", "kind": "empty"}]);
        let cases = [
            (bare.clone(), json!([]), json!(null), "pm.apps.app"),
            (bare.clone(), json!([]), json!({"user": "0", "group": "0"}), "im.app.exec.type"),
            (bare, json!([]), pointed, "pod.reified.mounts"),
            (mounts(json!([{"volume": "w", "path": "/w"}])), volume.clone(), plain.clone(), "pm.apps.mounts.volume"),
            (
                mounts(json!([{"volume": "v", "path": "/w"}, {"volume": "v", "path": "/w//x/"}])),
                volume,
                plain,
                "vol.target.overlap",
            ),
        ];
        for (app, volumes, of, clause) in cases {
            assert_eq!(try_reify(app, volumes, of).unwrap_err().clause_id(), Some(clause));
        }
    }
}
