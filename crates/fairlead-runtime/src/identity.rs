//! Who this process is: a name for machines that no other incarnation has, and one for people.

use std::time::{SystemTime, UNIX_EPOCH};

use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::Role;

/// Who this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This incarnation: random, another one after each start.
    pub pod: PodRef,
    /// `POD_NAME`, else host name and role.
    pub name: String,
    /// What it does; `standalone` takes one identity for each of its roles.
    pub role: Role,
    /// When it started.
    pub started: UnixMillis,
}

impl Identity {
    /// A new incarnation of `role`. `pod_name` is the setting (`--pod-name`, `POD_NAME` in Kubernetes).
    pub fn new(role: Role, pod_name: Option<&str>) -> Self {
        let name = match pod_name {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("{}-{}", host_name(), role.word()),
        };
        Identity { pod: PodRef::from_random(rand::random()), name, role, started: now() }
    }
}

/// The wall clock.
pub fn now() -> UnixMillis {
    // A clock before 1970 is set wrong; time 0 makes every lease old, which is what such a pod deserves.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_another_incarnation() {
        let first = Identity::new(Role::Media, None);
        let second = Identity::new(Role::Media, None);
        assert_ne!(first.pod, second.pod);
        assert!(first.pod.0 <= PodRef::MAX);
    }

    #[test]
    fn the_pod_name_is_taken_from_the_setting_else_from_the_host() {
        assert_eq!(Identity::new(Role::Admin, Some("fairlead-admin-0")).name, "fairlead-admin-0");
        assert!(Identity::new(Role::Admin, None).name.ends_with("-admin"));
    }
}
