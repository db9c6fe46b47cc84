//! Numbers of things that are configured.

/// A handler's place in the list of all handlers of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerIndex(pub usize);
