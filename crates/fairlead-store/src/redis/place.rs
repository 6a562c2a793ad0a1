//! Where Redis is: the three forms of its address.

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, IntoConnectionInfo};

/// One of the ways to run Redis.
pub enum Place {
    /// One server.
    Single(Client),
    /// Servers of which Sentinel names the master. The client remembers which Sentinel answered last.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
    /// A Cluster, with clients of its first nodes for notices.
    Cluster(Box<redis::cluster::ClusterClient>, Vec<Client>),
}

impl Place {
    /// Reads an address; the error says what is wrong, without the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(rest) = url.strip_prefix("redis+sentinel://") {
            return sentinel(rest);
        }
        if let Some(rest) = url.strip_prefix("redis+cluster://") {
            return cluster(rest);
        }
        if !url.starts_with("redis://") && !url.starts_with("unix://") {
            return Err("redis://…, redis+sentinel://… or redis+cluster://… is wanted".to_owned());
        }
        Client::open(url).map(Place::Single).map_err(|error| error.to_string())
    }
}

/// `[user:password@]host:port,host:port/rest` in its parts.
fn parts(text: &str) -> (Option<&str>, Vec<&str>, &str) {
    let (access, text) = match text.rsplit_once('@') {
        Some((access, text)) => (Some(access), text),
        None => (None, text),
    };
    let (hosts, rest) = text.split_once('/').unwrap_or((text, ""));
    (access, hosts.split(',').filter(|host| !host.is_empty()).collect(), rest)
}

fn sentinel(text: &str) -> Result<Place, String> {
    let (access, hosts, rest) = parts(text);
    let (master, db) = rest.split_once('/').unwrap_or((rest, "0"));
    if master.is_empty() || hosts.is_empty() {
        return Err("redis+sentinel://host:port,host:port/MASTER[/db] is wanted".to_owned());
    }
    let db: i64 = db.parse().map_err(|_| "the number of the database is not a number".to_owned())?;
    let addresses = hosts.iter().map(|host| address(host, 26379)).collect::<Result<Vec<_>, _>>()?;
    let text = |error: redis::RedisError| error.to_string();
    let mut builder =
        SentinelClientBuilder::new(addresses, master, SentinelServerType::Master).map_err(text)?;
    builder = builder.set_client_to_redis_db(db);
    if let Some((user, password)) = access.map(|access| access.split_once(':').unwrap_or(("", access))) {
        builder = builder.set_client_to_redis_password(password);
        if !user.is_empty() {
            builder = builder.set_client_to_redis_username(user);
        }
    }
    let client = builder.build().map_err(text)?;
    Ok(Place::Sentinel(Box::new(tokio::sync::Mutex::new(client))))
}

fn cluster(text: &str) -> Result<Place, String> {
    let (access, hosts, _) = parts(text);
    let access = access.map(|access| format!("{access}@")).unwrap_or_default();
    let nodes = hosts
        .iter()
        .map(|host| format!("redis://{access}{host}").as_str().into_connection_info())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if nodes.is_empty() {
        return Err("redis+cluster://host:port,host:port is wanted".to_owned());
    }
    let clients = nodes
        .iter()
        .map(|node| Client::open(node.clone()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let client = redis::cluster::ClusterClient::builder(nodes)
        .retries(2)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Place::Cluster(Box::new(client), clients))
}

fn address(host: &str, default_port: u16) -> Result<ConnectionAddr, String> {
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| format!("{port} is not a port"))?)
        }
        _ => (host, default_port),
    };
    Ok(ConnectionAddr::Tcp(host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_three_forms() {
        assert!(matches!(Place::parse("redis://127.0.0.1:6379/1"), Ok(Place::Single(_))));
        assert!(matches!(Place::parse("redis+sentinel://u:p@a:26379,b/mymaster/2"), Ok(Place::Sentinel(_))));
        assert!(matches!(Place::parse("redis+cluster://a:7000,b:7001"), Ok(Place::Cluster(..))));
        assert!(Place::parse("http://127.0.0.1").is_err());
        assert!(Place::parse("redis+sentinel://a:26379").is_err());
    }
}
