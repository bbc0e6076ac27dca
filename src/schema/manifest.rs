//! What manifests can be asked, beyond their fields.

use super::{
    Annotation, Annotations, App, EnvironmentVariable, EventHandler, EventHandlerName, ImageManifest, Label, Labels,
    PodApp, PodManifest, Port, Volume, VolumeKind,
};

impl Labels {
    /// The value of a label.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|label| label.name == *name).map(|label| label.value.as_str())
    }
}

impl Annotations {
    /// The value of an annotation.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|annotation| annotation.name == *name).map(|annotation| annotation.value.as_str())
    }
}

impl ImageManifest {
    /// The labels; none where the manifest has no list.
    pub fn labels(&self) -> &[Label] {
        self.labels.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.value(name)
    }

    /// The annotations; none where the manifest has no list.
    pub fn annotations(&self) -> &[Annotation] {
        self.annotations.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl App {
    /// The program of an event, if there is one.
    pub fn handler(&self, event: EventHandlerName) -> Option<&EventHandler> {
        self.event_handlers.iter().find(|handler| handler.name == event)
    }

    /// An environment variable, if the app sets it.
    pub fn variable(&self, name: &str) -> Option<&EnvironmentVariable> {
        self.environment.iter().find(|variable| variable.name == *name)
    }

    /// A port by name.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == *name)
    }
}

impl Port {
    /// All numbers of the port, from the first to the last; `None` where they would pass 65535 (im.app.ports.count).
    pub fn range(&self) -> Option<std::ops::RangeInclusive<u16>> {
        let first = self.port.get();
        let last = u64::from(first).checked_add(self.count.get() - 1)?;
        Some(first..=u16::try_from(last).ok()?)
    }
}

impl PodManifest {
    /// An app by name.
    pub fn app(&self, name: &str) -> Option<&PodApp> {
        self.apps.iter().find(|app| app.name == *name)
    }

    /// A volume by name.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == *name)
    }
}

impl Volume {
    /// Permission bits of an empty volume's directory (pm.volumes.mode).
    pub fn mode_bits(&self) -> u32 {
        self.mode.as_ref().map_or(0o755, super::OctalMode::bits)
    }

    /// Owner and group of an empty volume's directory (pm.volumes.uid, pm.volumes.gid).
    pub fn owner(&self) -> (u32, u32) {
        (self.uid.unwrap_or(0), self.gid.unwrap_or(0))
    }

    /// Whether what is mounted below a host volume's source comes along (pm.volumes.recursive).
    pub fn is_recursive(&self) -> bool {
        self.kind == VolumeKind::Host && self.recursive.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_read_and_written_keeps_what_it_did_not_know() {
        let text = json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a", "novel": [1],
            "labels": [{"name": "os", "value": "linux", "novel": true}],
            "app": {"user": "0", "group": "0", "novel": {}, "workingDirectory": "/w",
                "mountPoints": [{"name": "a", "path": "/a", "readOnly": true, "novel": 1}],
                "isolators": [{"name": "resource/cpu", "value": {"limit": "1", "novel": 2}, "novel": 3}]},
            "dependencies": [{"imageName": "b", "novel": null}],
        });
        let read: ImageManifest = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), text);
    }

    #[test]
    fn a_pod_read_and_written_keeps_what_it_did_not_know() {
        let text = json!({
            "acKind": "PodManifest", "acVersion": "0.8.11", "novel": "x",
            "apps": [{"name": "a", "image": {"name": "b", "novel": 1}, "readOnlyRootFS": true, "novel": 2,
                "mounts": [{"volume": "v", "path": "/v", "novel": 3}]}],
            "volumes": [{"name": "v", "kind": "empty", "readOnly": false, "novel": 4}],
            "ports": [{"name": "p", "hostPort": 80, "novel": 5}],
            "annotations": [],
        });
        let read: PodManifest = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), text);
    }

    #[test]
    fn a_port_range_ends_at_65535() {
        let port = |port: u16, count: u64| -> Port {
            serde_json::from_value(json!({"name": "p", "protocol": "tcp", "port": port, "count": count})).unwrap()
        };
        assert_eq!(port(80, 3).range(), Some(80..=82));
        assert_eq!(port(65535, 1).range(), Some(65535..=65535));
        assert_eq!(port(65535, 2).range(), None);
        assert_eq!(port(2, u64::MAX).range(), None);
    }
}
