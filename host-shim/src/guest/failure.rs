//! The reasons for failed calls of a guest, with the messages of Envoy and V8.

use crate::base::LogLevel;
use crate::state::Host;

/// The trap of a planned fault.
#[derive(Debug, thiserror::Error)]
#[error("injected fault: the VM dies in {0}")]
pub struct InjectedDeath(pub &'static str);

/// The maximum number of logged frames of a backtrace.
const MAX_FRAMES: usize = 50;

pub fn reason(error: &wasmtime::Error, host: &Host) -> String {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => {
            let limit = host.limits.callback.unwrap_or_default();
            format!("it ran for more than {} s without returning: an endless loop?", limit.as_secs_f32())
        }
        Some(wasmtime::Trap::StackOverflow) => "Uncaught RangeError: Maximum call stack size exceeded".to_owned(),
        Some(trap) => format!("Uncaught RuntimeError: {}", trap_text(*trap)),
        None => format!("{}", error.root_cause()),
    }
}

/// Returns V8's message for a trap if it is known.
fn trap_text(trap: wasmtime::Trap) -> String {
    use wasmtime::Trap;
    let text = match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds => "memory access out of bounds",
        Trap::TableOutOfBounds => "table index is out of bounds",
        Trap::IndirectCallToNull | Trap::BadSignature => "null function or function signature mismatch",
        Trap::IntegerDivisionByZero => "divide by zero",
        Trap::IntegerOverflow => "divide result unrepresentable",
        Trap::BadConversionToInteger => "float unrepresentable in integer range",
        other => return other.to_string(),
    };
    text.to_owned()
}

/// Logs the reason for a failed call with the guest's stack. Returns the logged text.
pub fn report(function: &str, error: &wasmtime::Error, host: &Host, thread: usize) -> String {
    let mut text = format!("Function: {function} failed: {}", reason(error, host));
    if let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() {
        text.push_str("\nProxy-Wasm plugin in-VM backtrace:");
        for (number, frame) in backtrace.frames().iter().take(MAX_FRAMES).enumerate() {
            let name = frame.func_name().map_or_else(|| format!("func[{}]", frame.func_index()), str::to_owned);
            text.push_str(&format!("\n  {number}: {name}"));
        }
    }
    host.log(thread, LogLevel::Error, text.clone());
    if !error.is::<InjectedDeath>() {
        host.vm_failed(format!("a VM of thread {thread} has failed: {text}"));
    }
    text
}
