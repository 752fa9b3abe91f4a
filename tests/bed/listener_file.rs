//! A listener in a file that Envoy watches: the smallest control plane there is.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Envoy, bootstrap, eventually, paths};

/// How Envoy counts the listeners that it was given: taken, and refused.
const TAKEN: &str = "listener_manager.lds.update_success";
const REFUSED: &str = "listener_manager.lds.update_rejected";

/// The file.
pub(crate) struct ListenerFile {
    directory: PathBuf,
}

impl ListenerFile {
    /// Writes the first version.
    pub(crate) fn write(name: &str, listener: &Value) -> std::io::Result<Self> {
        let directory = paths::scratch(&format!("{name}-listener"))?;
        let file = Self { directory };
        file.put(listener)?;
        Ok(file)
    }

    /// A bootstrap that takes its listener from the file.
    pub(crate) fn bootstrap(&self, clusters: &[Value]) -> Value {
        let mut bootstrap = bootstrap::bootstrap_of(&[], clusters);
        bootstrap["node"] = json!({"id": "bed", "cluster": "bed"});
        bootstrap["dynamic_resources"] = json!({
            "lds_config": {
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": self.path(),
                    "watched_directory": {"path": self.directory},
                },
            },
        });
        bootstrap
    }

    /// Puts another version there and waits until Envoy has looked at it; false if it was refused.
    pub(crate) async fn replace(&self, envoy: &Envoy, listener: &Value) -> bool {
        let taken = envoy.stat(TAKEN).await;
        let refused = envoy.stat(REFUSED).await;
        self.put(listener).expect("a writable directory");
        eventually("Envoy to look at its listener", || async {
            if envoy.stat(REFUSED).await > refused {
                return Some(false);
            }
            let warming = envoy.stat("listener_manager.total_listeners_warming").await;
            (envoy.stat(TAKEN).await > taken && warming == 0).then_some(true)
        })
        .await
    }

    /// Envoy looks at the file when one is moved there, so that it never sees half of it.
    fn put(&self, listener: &Value) -> std::io::Result<()> {
        let mut resource = listener.clone();
        resource["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        let draft = self.directory.join("draft");
        std::fs::write(&draft, json!({"resources": [resource]}).to_string())?;
        std::fs::rename(&draft, self.path())
    }

    fn path(&self) -> PathBuf {
        Path::new(&self.directory).join("listener.json")
    }
}
