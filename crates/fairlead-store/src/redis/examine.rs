//! Redis examined: does it keep what it has, may it throw it away, what time is it.

use std::collections::HashMap;

use fairlead_model::id::UnixMillis;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{Cmd, RedisResult, Value, cmd};

use super::keeper::Link;
use super::read;
use crate::error::StoreError;
use crate::health::Health;
use crate::memory::now;

/// What one server answered.
#[derive(Default)]
struct Server {
    info: HashMap<String, String>,
    save: Option<String>,
    refused: Option<String>,
}

/// Asks each master.
pub async fn examine(link: &Link) -> Result<Health, StoreError> {
    let before = now();
    let time = ask(link, cmd("TIME")).await.map_err(super::away)?;
    let after = now();
    let mut memory = ask(link, info("memory")).await.map_err(super::away)?;
    let mut persistence = ask(link, info("persistence")).await.map_err(super::away)?;
    let mut config = cmd("CONFIG");
    config.arg("GET").arg("save");
    // Managed servers forbid it; then what INFO says has to do.
    let mut save = ask(link, config).await.unwrap_or_default();
    let mut health = Health {
        now: time.values().find_map(time_of).unwrap_or(after),
        asked: UnixMillis(before.0.midpoint(after.0)),
        persistent: None,
        eviction: None,
        remarks: Vec::new(),
    };
    let nodes: Vec<String> = persistence.keys().cloned().collect();
    for node in nodes {
        let mut server = Server::default();
        for reply in [memory.remove(&node), persistence.remove(&node)].into_iter().flatten() {
            match read::server_error(&reply) {
                Some(error) => server.refused = Some(format!("INFO: {error}")),
                None => server.info.extend(fields(&read::text(reply).unwrap_or_default())),
            }
        }
        match save.remove(&node) {
            Some(reply) => match read::server_error(&reply) {
                Some(error) => server.refused = Some(format!("CONFIG GET: {error}")),
                None => server.save = read::texts(reply).into_iter().nth(1).flatten(),
            },
            None => server.refused = Some("CONFIG GET: no answer".to_owned()),
        }
        add(&mut health, server);
    }
    Ok(health)
}

/// Takes one server in: the worst of all is what counts.
fn add(health: &mut Health, server: Server) {
    let persistent = server.persistent();
    health.persistent = match (health.persistent, persistent) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (known, said) => said.or(known),
    };
    let evicts = |policy: &String| policy != "noeviction";
    if !health.eviction.as_ref().is_some_and(evicts) {
        health.eviction = server.info.get("maxmemory_policy").cloned().or(health.eviction.take());
    }
    health.remarks.extend(server.refused);
}

impl Server {
    /// With an append-only file, or with points in time at which it is saved.
    fn persistent(&self) -> Option<bool> {
        if self.info.get("aof_enabled").is_some_and(|on| on == "1") {
            return Some(true);
        }
        self.save.as_ref().map(|points| !points.trim().is_empty())
    }
}

fn info(section: &str) -> Cmd {
    let mut command = cmd("INFO");
    command.arg(section);
    command
}

/// The reply of each master, by its address; of a single server under an empty one.
async fn ask(link: &Link, command: Cmd) -> RedisResult<HashMap<String, Value>> {
    match link {
        Link::One(_) => {
            let reply = link.send(&[command]).await?.pop().unwrap_or_default();
            Ok(HashMap::from([(String::new(), reply)]))
        }
        Link::Many(connection) => {
            let route = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None::<ResponsePolicy>));
            let Value::Map(nodes) = connection.clone().route_command(command, route).await? else {
                return Ok(HashMap::new());
            };
            Ok(nodes.into_iter().filter_map(|(node, reply)| Some((read::text(node)?, reply))).collect())
        }
    }
}

/// `name:value` lines.
fn fields(info: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = info.lines().filter_map(|line| line.trim().split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn time_of(reply: &Value) -> Option<UnixMillis> {
    let mut parts = read::texts(reply.clone()).into_iter().flatten();
    let seconds: u64 = parts.next()?.parse().ok()?;
    let micros: u64 = parts.next()?.parse().ok()?;
    Some(UnixMillis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(info: &str, save: Option<&str>) -> Server {
        Server { info: fields(info).collect(), save: save.map(str::to_owned), refused: None }
    }

    fn health() -> Health {
        Health {
            now: UnixMillis(0),
            asked: UnixMillis(0),
            persistent: None,
            eviction: None,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn without_the_right_to_ask_only_an_append_only_file_is_known() {
        assert_eq!(server("aof_enabled:1\r\n", None).persistent(), Some(true));
        assert_eq!(server("aof_enabled:0\r\n", None).persistent(), None);
        assert_eq!(server("aof_enabled:0\r\n", Some("")).persistent(), Some(false));
        assert_eq!(server("aof_enabled:0\r\n", Some("3600 1")).persistent(), Some(true));
    }

    #[test]
    fn the_worst_of_several_masters_counts() {
        let mut all = health();
        add(&mut all, server("aof_enabled:1\r\nmaxmemory_policy:allkeys-lru\r\n", Some("")));
        add(&mut all, server("aof_enabled:0\r\nmaxmemory_policy:noeviction\r\n", Some("")));
        assert_eq!((all.persistent, all.eviction.as_deref()), (Some(false), Some("allkeys-lru")));
    }
}
