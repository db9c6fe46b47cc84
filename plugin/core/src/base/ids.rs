//! Index types for configured objects.

/// The index of a handler in a configuration's list of handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerIndex(pub usize);
