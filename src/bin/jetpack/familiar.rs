//! Volumes and ports as fingers know them from other tools: `HOST:PATH[:ro]`, `[IP:]HOST:POD[/udp]`.

use std::collections::BTreeMap;

use appc::schema::{AbsPath, AcName, App, ExposedPort, ImageId, Ipv4, Mount, PodManifest, Port, Volume};
use serde_json::json;

use crate::adapt::{absolute, typed, word, wrong};
use crate::error::CommandError;
use crate::obtain::Obtained;

/// Whether a volume is `HOST:PATH[:ro]` or `NAME:PATH[:ro]`.
pub fn is_volume(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(host, path)| path.starts_with('/') && !path.starts_with("//") && !host.contains(['=', ',']))
}

/// Whether a port is `[IP:]HOST:POD[/PROTOCOL]`.
pub fn is_port(text: &str) -> bool {
    text.contains(':') && !text.contains('=')
}

/// Adds the volume and mounts it into the only app.
pub fn volume(pod: &mut PodManifest, text: &str) -> Result<(), CommandError> {
    let mut parts = text.split(':');
    let (host, path, how) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let read_only = match (how, parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return Err(wrong("volume", text, "behind the path stands `ro`, `rw` or nothing")),
    };
    let path: AbsPath = word("volume", text, "absPath", path)?;
    let free = |name: &str| !pod.volumes.iter().any(|volume| volume.name == *name);
    let value = if host.starts_with(['/', '.']) {
        let name = (1..).map(|number| format!("host-{number}")).find(|name| free(name)).unwrap_or_default();
        json!({ "name": name, "kind": "host", "source": absolute(host)?, "readOnly": read_only })
    } else {
        let name: AcName = word("volume", text, "acName", host)?;
        if !free(&name) {
            return Err(wrong("volume", text, "that name is given twice"));
        }
        json!({ "name": name, "kind": "empty", "readOnly": read_only })
    };
    let volume: Volume = typed("volume", text, value)?;
    let [app] = pod.apps.as_mut_slice() else {
        return Err(wrong("volume", text, "it does not say into which app; name the volume, and --mount it"));
    };
    let name = volume.name.clone();
    pod.volumes.push(volume);
    app.mounts.retain(|mount| mount.path.clean() != path.clean());
    app.mounts.push(Mount { app_volume: None, path, volume: name, extra: serde_json::Map::new() });
    Ok(())
}

/// Makes a port of the pod reachable: one that its manifest names, or one that is made for the first app.
pub fn port(pod: &mut PodManifest, text: &str, found: &BTreeMap<ImageId, Obtained>) -> Result<(), CommandError> {
    let (place, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (outside, inside) = place.rsplit_once(':').unwrap_or(("", place));
    let (ip, outside) = outside.rsplit_once(':').map_or((None, outside), |(ip, port)| (Some(ip), port));
    let number = |part: &str| {
        part.parse::<std::num::NonZeroU16>()
            .map_err(|_| wrong("port", text, format!("`{part}` is no number from 1 to 65535")))
    };
    let (outside, inside) = (number(outside)?, number(inside)?);
    let effective = |app: &appc::schema::PodApp| -> Option<App> {
        let image = || found.get(app.image.id.as_ref()?)?.image.manifest().app.clone();
        app.app.clone().or_else(image)
    };
    let fits = |port: &&Port| port.port.get() == inside.get() && *port.protocol == *protocol && port.count.get() == 1;
    let known =
        pod.apps.iter().filter_map(effective).find_map(|app| app.ports.iter().find(fits).map(|port| port.name.clone()));
    let name = match known {
        Some(name) => name,
        None => {
            let port: Port = typed(
                "port",
                text,
                json!({ "name": format!("{inside}-{protocol}"), "port": inside, "protocol": protocol }),
            )?;
            let app = pod.apps.first_mut().ok_or_else(|| wrong("port", text, "the pod has no app"))?;
            let mut own = effective(app)
                .ok_or_else(|| wrong("port", text, "the app is not known here; name one of its ports"))?;
            own.ports.retain(|other| other.name != port.name);
            let name = port.name.clone();
            own.ports.push(port);
            app.app = Some(own);
            name
        }
    };
    if pod.ports.iter().any(|other| other.name == name) {
        return Err(wrong("port", text, "that port is given twice"));
    }
    let mut value = json!({ "name": name, "hostPort": outside });
    if let Some(ip) = ip {
        value["hostIP"] = json!(word::<Ipv4>("port", text, "ipv4", ip)?);
    }
    let port: ExposedPort = typed("port", text, value)?;
    pod.ports.push(port);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ports: serde_json::Value) -> PodManifest {
        let app = json!({ "exec": ["/a"], "user": "0", "group": "0", "ports": ports });
        serde_json::from_value(json!({
            "acKind": "PodManifest", "acVersion": "0.8.11",
            "apps": [{ "name": "a", "image": { "id": format!("sha512-{}", "0".repeat(128)) }, "app": app }],
        }))
        .unwrap()
    }

    #[test]
    fn a_port_is_the_one_that_the_app_names_or_is_made() {
        let mut named = pod(json!([{ "name": "web", "protocol": "tcp", "port": 80 }]));
        assert!(port(&mut named, "127.0.0.1:8080:80", &BTreeMap::new()).is_ok());
        assert!(port(&mut named, "5353:53/udp", &BTreeMap::new()).is_ok());
        let ports = serde_json::to_value(&named.ports).unwrap();
        assert_eq!(
            ports,
            json!([{ "name": "web", "hostPort": 8080, "hostIP": "127.0.0.1" }, { "name": "53-udp", "hostPort": 5353 }])
        );
        assert_eq!(named.apps[0].app.as_ref().unwrap().ports.len(), 2);
        for wrong in ["0:80", "80:x", "a:80:80", "8081:80", "1:2:3:4", ":80"] {
            assert!(port(&mut named, wrong, &BTreeMap::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_volume_is_mounted_where_it_says() {
        let mut pod = pod(json!([]));
        assert!(volume(&mut pod, "/srv:/data:ro").is_ok());
        assert!(volume(&mut pod, "cache:/cache").is_ok());
        let volumes = serde_json::to_value(&pod.volumes).unwrap();
        assert_eq!(volumes[0]["source"], "/srv");
        assert_eq!((&volumes[0]["readOnly"], &volumes[1]["kind"]), (&json!(true), &json!("empty")));
        assert_eq!(pod.apps[0].mounts.len(), 2);
        for wrong in ["/a:/b:rx", "cache:/other", "/a:/b:ro:x"] {
            assert!(volume(&mut pod, wrong).is_err(), "{wrong}");
        }
        assert!(
            is_volume("./a:/b")
                && !is_volume("data,kind=host,source=/a:/b")
                && !is_volume("data")
                && !is_volume("oci://a")
        );
        assert!(is_port("80:80") && !is_port("web=127.0.0.1:80"));
    }
}
