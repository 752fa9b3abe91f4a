//! The Gateway's listeners as `--listener` names them, and what Envoy Gateway calls them in Envoy.

use super::super::Rendering;

/// A listener of the Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listener {
    name: String,
    port: u16,
    is_https: bool,
}

/// The listeners that requests for the backends come in by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listeners {
    /// `NAMESPACE/GATEWAY`.
    gateway: String,
    listeners: Vec<Listener>,
}

impl Listeners {
    /// As the options have them.
    ///
    /// # Errors
    /// One that cannot be read, or contradicts another.
    pub(super) fn of(target: &mut Rendering<'_>) -> Result<Self, String> {
        let options = target.options;
        if options.listeners.is_empty() {
            target.note(
                "--listener is missing: http:80 is assumed. Name every listener that requests come in \
                 by (NAME:PORT, or NAME:PORT:HTTPS): one that is not named has no filter, and no \
                 route of these",
            );
        }
        let mut listeners = Vec::new();
        for text in &options.listeners {
            let listener = parse(text)?;
            add(&mut listeners, listener).map_err(|error| format!("--listener {text}: {error}"))?;
        }
        if listeners.is_empty() {
            listeners.push(Listener {
                name: "http".to_owned(),
                port: 80,
                is_https: false,
            });
        }
        Ok(Self {
            gateway: format!("{}/{}", options.namespace(), options.gateway()),
            listeners,
        })
    }

    /// What the listeners are called in the Gateway.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.listeners.iter().map(|listener| listener.name.as_str())
    }

    /// The names of Envoy's listeners: those of one port are one, called after the first.
    pub(super) fn listener_names(&self) -> Vec<String> {
        self.named(|listener| self.is_first_of_its_port(listener))
    }

    /// The names of Envoy's route configurations: each HTTPS listener has its own, those without TLS
    /// on one port share one.
    pub(super) fn route_names(&self) -> Vec<String> {
        self.named(|listener| listener.is_https || self.is_first_of_its_port(listener))
    }

    fn named(&self, is_wanted: impl Fn(&Listener) -> bool) -> Vec<String> {
        let wanted = self.listeners.iter().filter(|listener| is_wanted(listener));
        wanted
            .map(|listener| format!("{}/{}", self.gateway, listener.name))
            .collect()
    }

    fn is_first_of_its_port(&self, listener: &Listener) -> bool {
        let mut of_port = self
            .listeners
            .iter()
            .filter(|other| other.port == listener.port);
        of_port.next() == Some(listener)
    }
}

fn add(listeners: &mut Vec<Listener>, listener: Listener) -> Result<(), String> {
    for other in listeners.iter() {
        if other.name == listener.name {
            return Err("is given twice; leave one out".to_owned());
        }
        if other.port == listener.port && other.is_https != listener.is_https {
            return Err(format!(
                "{} is on the same port with another protocol; say HTTPS of both, or of neither",
                other.name
            ));
        }
    }
    listeners.push(listener);
    Ok(())
}

fn parse(text: &str) -> Result<Listener, String> {
    let mut parts = text.split(':');
    let (name, port) = (parts.next().unwrap_or_default(), parts.next());
    let is_https = match parts.next() {
        None => Some(false),
        Some(protocol) if protocol.eq_ignore_ascii_case("https") => Some(true),
        Some(protocol) if protocol.eq_ignore_ascii_case("http") => Some(false),
        Some(_) => None,
    };
    let port = port
        .and_then(|port| port.parse().ok())
        .filter(|port| *port != 0);
    match (super::places::is_name(name), port, is_https, parts.next()) {
        (true, Some(port), Some(is_https), None) => Ok(Listener {
            name: name.to_owned(),
            port,
            is_https,
        }),
        _ => Err(format!(
            "--listener {text}: write NAME:PORT as the Gateway has them, such as http:80, or \
             NAME:PORT:HTTPS, such as https:443:HTTPS"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(texts: &[&str]) -> Result<Listeners, String> {
        let mut listeners = Vec::new();
        for text in texts {
            add(&mut listeners, parse(text)?)?;
        }
        Ok(Listeners {
            gateway: "ns/gw".to_owned(),
            listeners,
        })
    }

    #[test]
    fn listeners_of_one_port_share_one_of_envoys() {
        let listeners = listeners(&["a:80", "b:80", "s:443:HTTPS", "t:443:https", "c:81"]).unwrap();
        assert_eq!(
            listeners.listener_names(),
            ["ns/gw/a", "ns/gw/s", "ns/gw/c"]
        );
        assert_eq!(
            listeners.route_names(),
            ["ns/gw/a", "ns/gw/s", "ns/gw/t", "ns/gw/c"]
        );
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for text in [
            "http",
            "http:",
            "http:0",
            ":80",
            "a:80:TCP",
            "a:80:HTTP:x",
            "A:80",
            "a:x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(listeners(&["a:80", "a:81"]).is_err());
        assert!(listeners(&["a:80", "b:80:HTTPS"]).is_err());
    }
}
