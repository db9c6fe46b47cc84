//! Shuts root contexts down when their configuration is replaced, and at the end of the process.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use super::plugin::{PluginHandle, VmCell};
use crate::traffic::Ticket;

impl Worker {
    /// Handles the end of a stream: shuts down plugins of older configurations that no stream uses any more.
    pub fn stream_ended(&self) {
        // An unused plugin has two owners: the list of plugins to shut down, and this copy.
        let unused = |handle: &Rc<PluginHandle>| Rc::strong_count(handle) == 1;
        let gone: Vec<_> = {
            let mut retiring = self.retiring.borrow_mut();
            let (gone, kept) = retiring.drain(..).partition(|handle| unused(handle));
            *retiring = kept;
            gone
        };
        for handle in gone {
            self.shut_down(&handle);
        }
    }

    /// Shuts every root context down at the end of the process.
    pub fn shut_down_all(&self) {
        let mut handles: Vec<_> = self.plugins.take().into_iter().flatten().collect();
        handles.extend(self.retiring.take());
        // Equal filters share a handle.
        let mut done: Vec<Rc<PluginHandle>> = Vec::new();
        for handle in handles {
            if !done.iter().any(|other| Rc::ptr_eq(other, &handle)) {
                self.shut_down(&handle);
                done.push(handle);
            }
        }
    }

    /// Calls `proxy_on_done` of a root context. If the module returns true, calls `proxy_on_delete`. Otherwise it is
    /// called when the module calls `proxy_done`.
    fn shut_down(&self, handle: &PluginHandle) {
        let Some((cell, root)) = handle.running() else { return };
        if cell.has_failed() {
            self.forget_root(&cell, root);
            return;
        }
        let mut is_done = true;
        self.call(&cell, |vm| is_done = vm.done(root));
        if is_done {
            self.delete_root(&cell, root);
        } else {
            let mut vm = cell.vm.borrow_mut();
            if let Some(root) = vm.state_mut().contexts.root_mut(root) {
                root.is_closing = true;
            }
            drop(vm);
            // The root context stays until the module calls proxy_done.
            self.closing.borrow_mut().push((cell, root));
        }
    }

    fn delete_root(&self, cell: &Rc<VmCell>, root: u32) {
        let calls = {
            let vm = cell.vm.borrow();
            vm.state().contexts.root(root).map(|root| root.calls.clone()).unwrap_or_default()
        };
        let instance = cell.vm.borrow().instance();
        for token in calls {
            self.network.cancel(Ticket { instance, root, token });
        }
        self.call(cell, |vm| vm.delete(root));
        self.forget_root(cell, root);
    }

    fn forget_root(&self, cell: &Rc<VmCell>, root: u32) {
        let instance = cell.vm.borrow().instance();
        self.set_tick((instance, root), Duration::ZERO);
    }

    /// Handles the call of `proxy_done` by a root context.
    pub(super) fn finish_closing(&self, cell: &Rc<VmCell>, root: u32) {
        self.closing.borrow_mut().retain(|(other, closing)| !Rc::ptr_eq(other, cell) || *closing != root);
        self.delete_root(cell, root);
    }
}
