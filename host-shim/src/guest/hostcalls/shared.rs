//! Shared data and shared queues.

use wasmtime::Linker;

use super::hostcalls;
use crate::base::Status;
use crate::guest::state::VmState;
use crate::state::quirks::Quirk;
use crate::state::shared_queue::Registrant;

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_get_shared_data(call, key: u32, key_length: u32, data: u32, length: u32, cas: u32) {
            let key = call.bytes(key, key_length)?;
            let state = call.state();
            let present = state.host.shared_data.get(&state.vm_id.id, &key);
            let absent = state.host.quirks.has(&Quirk::AbsentKeysAreEmpty).then(|| (Vec::new(), 0));
            let (value, number) = present.or(absent).ok_or(Status::NotFound)?;
            call.give(&value, data, length)?;
            call.write_u32(cas, number)
        }

        fn proxy_set_shared_data(call, key: u32, key_length: u32, data: u32, length: u32, cas: u32) {
            let (key, value) = (call.bytes(key, key_length)?, call.bytes(data, length)?);
            let state = call.state();
            let (host, vm_id) = (&state.host, state.vm_id.id.as_str());
            if cas != 0 && host.shared_data.has(vm_id, &key) && host.faults.strikes_cas() {
                return Err(Status::CasMismatch.into());
            }
            let present = || host.shared_data.get(vm_id, &key).map(|(_, number)| number);
            if cas != 0 && host.quirks.has(&Quirk::AbsentKeysMismatch) && present().is_none()
                || cas == 0 && host.quirks.has(&Quirk::WritesNeedNumbers) && present().is_some()
            {
                return Err(Status::CasMismatch.into());
            }
            if host.quirks.has(&Quirk::DataIsForgotten) {
                return Ok(());
            }
            let cas = if host.quirks.has(&Quirk::NumbersAreIgnored) { 0 } else { cas };
            Ok(host.shared_data.set(vm_id, &key, &value, cas).map_err(|_| Status::CasMismatch)?)
        }

        fn proxy_register_shared_queue(call, name: u32, name_length: u32, token: u32) {
            let name = call.bytes(name, name_length)?;
            let state = call.state();
            let context = state.contexts.root_id(state.acting());
            let registrant = Registrant { thread: state.thread, vm_key: state.spec.key.clone(), context };
            let id = state.host.queues.register(&state.vm_id.id, &name, registrant);
            call.write_u32(token, id)
        }

        fn proxy_resolve_shared_queue(call, vm_id: u32, vm_id_length: u32, name: u32, name_length: u32, token: u32) {
            let vm_id = String::from_utf8_lossy(&call.bytes(vm_id, vm_id_length)?).into_owned();
            let name = call.bytes(name, name_length)?;
            let state = call.state();
            let is_own = vm_id.is_empty() && !state.host.quirks.has(&Quirk::EmptyVmIdIsNotOwn);
            let vm_id = if is_own { state.vm_id.id.as_str() } else { &vm_id };
            let id = state.host.queues.resolve(vm_id, &name).ok_or(Status::NotFound)?;
            call.write_u32(token, id)
        }

        fn proxy_enqueue_shared_queue(call, token: u32, data: u32, length: u32) {
            let message = call.bytes(data, length)?;
            let host = &call.state().host;
            let registrant = host.queues.enqueue(token, &message)?;
            host.notify(registrant, token);
            Ok(())
        }

        fn proxy_dequeue_shared_queue(call, token: u32, data: u32, length: u32) {
            let message = call.state().host.queues.dequeue(token)?;
            call.give(&message, data, length)
        }
    }
    Ok(())
}
