//! `proxy_log`, `proxy_get_log_level`, `proxy_get_current_time_nanoseconds`, `proxy_set_tick_period_milliseconds`.

use wasmtime::Linker;

use super::hostcalls;
use crate::base::{LogLevel, Status};
use crate::guest::codes::AbiVersion;
use crate::guest::effects::Effect;
use crate::guest::memory::index;
use crate::guest::state::VmState;
use crate::state::quirks::Quirk;

pub(super) fn offer(linker: &mut Linker<VmState>, abi: AbiVersion) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_log(call, level: u32, text: u32, length: u32) {
            let level = *LogLevel::ALL.get(index(level)).ok_or(Status::BadArgument)?;
            let text = call.bytes(text, length)?;
            call.state().log(level, &String::from_utf8_lossy(&text));
            Ok(())
        }

        fn proxy_get_current_time_nanoseconds(call, time: u32) {
            let host = &call.state().host;
            let now = host.clock.now();
            let shown = if host.quirks.has(&Quirk::TimeIsCutShort) { now & u64::from(u32::MAX) } else { now };
            call.write_u64(time, shown)
        }

        fn proxy_set_tick_period_milliseconds(call, period: u32) {
            let state = call.state_mut();
            let root = state.contexts.root_id(state.acting());
            state.effects.push(Effect::Tick { root, period });
            Ok(())
        }
    }
    if abi >= AbiVersion::V0_2_1 {
        hostcalls! { linker;
            fn proxy_get_log_level(call, level: u32) {
                let lowest = call.state().host.logs.level();
                let number = LogLevel::ALL.iter().position(|level| *level == lowest).unwrap_or_default();
                call.write_u32(level, crate::guest::memory::word(number))
            }
        }
    }
    Ok(())
}
