//! `proxy_define_metric`, `proxy_increment_metric`, `proxy_record_metric`, `proxy_get_metric`.

use std::sync::Arc;

use wasmtime::Linker;

use super::{Answer, Call, hostcalls};
use crate::base::{MetricType, Status};
use crate::guest::state::VmState;
use crate::state::metrics::Stat;

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_define_metric(call, kind: u32, name: u32, name_length: u32, id: u32) {
            let name = call.bytes(name, name_length)?;
            let kind = MetricType::from_code(kind)?;
            let state = call.state_mut();
            let stat = state.host.metrics.define(kind, &format!("wasmcustom.{}", String::from_utf8_lossy(&name)));
            let new = state.metrics.add(kind, stat);
            call.write_u32(id, new)
        }

        fn proxy_increment_metric(call, id: u32, offset: i64) {
            let kind = kind(id)?;
            if kind == MetricType::Histogram {
                return Err(Status::BadArgument.into());
            }
            let stat = stat(call, id)?;
            match (kind, u64::try_from(offset)) {
                (_, Ok(amount)) if amount > 0 => stat.add(amount),
                (MetricType::Gauge, _) => stat.sub(offset.unsigned_abs()),
                _ => return Err(Status::BadArgument.into()),
            }
            Ok(())
        }

        fn proxy_record_metric(call, id: u32, value: u64) {
            let stat = stat(call, id)?;
            match stat.kind {
                MetricType::Counter => stat.add(value),
                MetricType::Gauge => stat.set(value),
                MetricType::Histogram => stat.record(value),
            }
            Ok(())
        }

        fn proxy_get_metric(call, id: u32, value: u32) {
            if kind(id)? == MetricType::Histogram {
                return Err(Status::BadArgument.into());
            }
            let current = stat(call, id)?.value();
            call.write_u64(value, current)
        }
    }
    Ok(())
}

/// Returns the kind of a metric, which is in the low two bits of its id.
fn kind(id: u32) -> Result<MetricType, Status> {
    MetricType::from_code(id & 3)
}

fn stat(call: &Call<'_>, id: u32) -> Answer<Arc<Stat>> {
    Ok(Arc::clone(call.state().metrics.get(id).ok_or(Status::NotFound)?))
}
