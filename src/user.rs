//! The user that this process runs as, and whether the kernel can tell that user from others.

use std::fs;
use std::str::FromStr;

use nix::unistd::Uid;

/// Returns true if the kernel may show other users under our uid.
///
/// In a user namespace, every user without a mapping appears as the overflow uid, both as the peer of a socket and as the
/// owner of a file. A process that has this uid itself cannot tell these users from its own.
pub fn is_ambiguous() -> bool {
    // Only Linux has user namespaces. The uid is compared first, so that nearly every process reads one file only.
    cfg!(any(target_os = "linux", target_os = "android"))
        && Uid::effective().as_raw() == overflow_uid()
        && !namespace_maps_every_user()
}

/// Describes the situation that [`is_ambiguous`] finds, for errors.
pub fn ambiguity() -> String {
    format!(
        "this user cannot be told from others: users without a mapping in this user namespace are uid {} too",
        Uid::effective()
    )
}

fn overflow_uid() -> u32 {
    let set = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    set.and_then(|text| u32::from_str(text.trim()).ok()).unwrap_or(DEFAULT_OVERFLOW_UID)
}

/// Returns false also where this cannot be read: there, the user with the overflow uid is assumed to be ambiguous.
fn namespace_maps_every_user() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_ascii_whitespace().eq(WHOLE_MAP))
}

/// The kernel's own default of `/proc/sys/kernel/overflowuid`.
const DEFAULT_OVERFLOW_UID: u32 = 65534;
/// What `/proc/self/uid_map` holds where every uid stands for itself: from, to, count.
const WHOLE_MAP: [&str; 3] = ["0", "0", "4294967295"];
/// The hint for errors about it.
pub const MAP_THE_USER: &str = "map your user in the namespace, such as with `unshare --map-current-user`";
