//! How root contexts end: when their configuration is replaced, and with the process.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use super::plugin::{PluginHandle, VmCell};
use crate::traffic::Ticket;

impl Worker {
    /// A stream has ended: plugins of older configurations that nobody uses any more are shut down.
    pub fn stream_ended(&self) {
        // Two owners: the list of plugins that retire, and the copy here.
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

    /// The process ends: every root context is shut down.
    pub fn shut_down_all(&self) {
        let mut handles: Vec<_> = self.plugins.take().into_iter().flatten().collect();
        handles.extend(self.retiring.take());
        // Filters that are alike share a handle.
        let mut done: Vec<Rc<PluginHandle>> = Vec::new();
        for handle in handles {
            if !done.iter().any(|other| Rc::ptr_eq(other, &handle)) {
                self.shut_down(&handle);
                done.push(handle);
            }
        }
    }

    /// `proxy_on_done` for a root context; if the module answers true, `proxy_on_delete`, or else when it calls
    /// `proxy_done`.
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
            // It lives on until it calls proxy_done.
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

    /// A root context has called `proxy_done`.
    pub(super) fn finish_closing(&self, cell: &Rc<VmCell>, root: u32) {
        self.closing.borrow_mut().retain(|(other, closing)| !Rc::ptr_eq(other, cell) || *closing != root);
        self.delete_root(cell, root);
    }
}
