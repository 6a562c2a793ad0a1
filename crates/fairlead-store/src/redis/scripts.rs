//! The scripts, each known by its SHA-1.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file)), "\n"),+)));)*

        /// All of them.
        pub fn all() -> Vec<&'static Script> {
            vec![$(&$name),*]
        }
    };
}

scripts! {
    BIND = "take_nonce.lua" "bind.lua";
    USE_NONCE = "take_nonce.lua" "use_nonce.lua";
    TOUCH = "touch.lua";
    PUT_PEER = "put_peer.lua";
    CLAIM = "claim.lua";
    DISOWN = "disown.lua";
    OCCUPY = "occupy.lua";
    USAGE = "usage.lua";
    CHECKPOINT = "checkpoint.lua";
    BEAT = "beat.lua";
    MEMBERS = "members.lua";
    SECRET = "secret.lua";
    EPOCH = "epoch.lua";
    PROVISION = "provision.lua";
    WITHDRAW = "withdraw.lua";
    RESTORE = "restore.lua";
    RESTORE_PEER = "restore_peer.lua";
    SURROUNDINGS = "surroundings.lua";
}

/// Begins a call of a script; keys and arguments follow.
pub fn call(script: &Script, keys: &[String]) -> redis::Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys.len()).arg(keys);
    command
}
