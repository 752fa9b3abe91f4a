//! The host functions about metrics.

use super::abi::{answer, text};
use super::state::{Metric, host, status};

const COUNTER: u32 = 0;
const HISTOGRAM: u32 = 2;

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_define_metric(
    kind: u32,
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    let name = unsafe { text(name, name_size) };
    answer(host(|host| {
        host.enter("define_metric", &name)?;
        if host.metrics.iter().any(|metric| metric.name == name) {
            host.violation(format!("{name} was defined twice: Envoy keeps both"));
        }
        let defined = Metric {
            kind,
            name,
            value: 0,
            recorded: Vec::new(),
        };
        host.metrics.push(defined);
        unsafe { *id = u32::try_from(host.metrics.len()).unwrap() };
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    metric(id, "increment_metric", |metric| {
        let refused = metric.kind == HISTOGRAM || (metric.kind == COUNTER && offset <= 0);
        metric.value += offset;
        !refused
    })
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    metric(id, "record_metric", |metric| {
        metric.recorded.push(value);
        metric.kind == HISTOGRAM
    })
}

fn metric(id: u32, function: &'static str, change: impl FnOnce(&mut Metric) -> bool) -> u32 {
    answer(host(|host| {
        let place = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let metric = place.and_then(|place| host.metrics.get_mut(place));
        let Some(metric) = metric else {
            host.violation("a metric that was never defined");
            return Err(status::NOT_FOUND);
        };
        let name = metric.name.clone();
        if !change(metric) {
            host.violation(format!(
                "{function} of {name} with a value that Envoy refuses"
            ));
            return Err(status::BAD_ARGUMENT);
        }
        host.enter(function, &name)
    }))
}
