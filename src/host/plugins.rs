//! The plugins of this VM: one root context, one plugin.

use super::plugin::Plugin;
use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    /// In the order they came. There are few: one, or two while a new configuration takes over from an
    /// old one, or one for each cluster that has the filter.
    static PLUGINS: RefCell<Vec<(u32, Rc<Plugin>)>> = const { RefCell::new(Vec::new()) };
}

/// The plugin of the root context `root`.
pub(super) fn find(root: u32) -> Option<Rc<Plugin>> {
    PLUGINS.with_borrow(|plugins| {
        plugins
            .iter()
            .find(|(id, _)| *id == root)
            .map(|(_, plugin)| Rc::clone(plugin))
    })
}

/// Makes `plugin` the one of the root context `root`. It takes the tokens over that the newest plugin
/// of the same root id obtained by exactly the same exchanges: a new configuration replaces an old one
/// this way, and tokens that are still good need not be exchanged again. They move: what still drains
/// with the old configuration would otherwise hold each of them once more.
pub(super) fn install(root: u32, plugin: Plugin) {
    let newest = PLUGINS.with_borrow(|plugins| {
        let mut others = plugins.iter().rev();
        others
            .find(|(_, other)| other.root_id == plugin.root_id)
            .map(|(_, other)| Rc::clone(other))
    });
    if let Some(newest) = newest {
        plugin.take_over(&newest);
    }
    remove(root);
    PLUGINS.with_borrow_mut(|plugins| plugins.push((root, Rc::new(plugin))));
}

/// The root context `root` ends, or has another plugin from now on.
pub(super) fn remove(root: u32) {
    let removed = PLUGINS.with_borrow_mut(|plugins| {
        let place = plugins.iter().position(|(id, _)| *id == root)?;
        Some(plugins.remove(place))
    });
    if let Some((_, plugin)) = removed {
        plugin.retire();
    }
}
