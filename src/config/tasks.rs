//! The section `tasks`: what workers do.

use warren_core::tasks::methods::{TaskMethodFault, TaskMethods};

use super::error::Located;
use super::keys::TasksSection;

pub(super) fn task_methods(tasks: &TasksSection) -> Result<TaskMethods, Located> {
    let mut methods = TaskMethods::default();
    for name in tasks.methods().names()? {
        methods.add(&name).map_err(|fault| {
            tasks.methods().conflict(&format_args!("a list with `{name}`"), why(fault).to_owned())
        })?;
    }
    Ok(methods)
}

fn why(fault: TaskMethodFault) -> &'static str {
    match fault {
        TaskMethodFault::NameInvalid => "allowed: names",
        TaskMethodFault::BuiltIn => "allowed: methods that the server does not do itself",
        TaskMethodFault::TooMany => "allowed: 1024 methods",
    }
}
