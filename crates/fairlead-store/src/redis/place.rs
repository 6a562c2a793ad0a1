//! Where Redis is, and how one gets in: the forms of its address, the password and the authority that lie in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;

use super::RedisSettings;

/// The largest file taken, bytes.
const LARGEST: u64 = 1024 * 1024;

/// One of the ways to run Redis, with what opens its door.
pub struct Place {
    at: At,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    /// What the files held when clients were made of them last. Files that have not changed mean clients that remember,
    /// for one which Sentinel answered last.
    made: Mutex<Option<(Files, Arc<Way>)>>,
}

enum At {
    Single(Box<ConnectionInfo>),
    Sentinel { hosts: Vec<(String, u16)>, master: String, db: i64 },
    Cluster(Vec<(String, u16)>),
}

/// Clients that can connect with the files as they are now.
pub enum Way {
    /// One server.
    Single(Box<Client>),
    /// Servers of which Sentinel names the master. The client remembers which Sentinel answered last.
    Sentinel(Box<Mutex<SentinelClient>>),
    /// A Cluster, with clients of its first nodes for notices.
    Cluster(Box<ClusterClient>, Vec<Client>),
}

#[derive(PartialEq, Eq)]
struct Files {
    password: Option<String>,
    authorities: Option<Vec<u8>>,
}

impl Place {
    /// Reads an address; the error says what is wrong, without the password. Files are not opened yet.
    pub fn parse(settings: &RedisSettings) -> Result<Self, String> {
        let url = settings.url.as_str();
        let tls = url.starts_with("rediss");
        let form = |name: &str| {
            url.strip_prefix(if tls { "rediss" } else { "redis" })?.strip_prefix(name)?.strip_prefix("://")
        };
        let (at, user, password) = if let Some(rest) = form("+sentinel") {
            sentinel(rest, settings.password_file.is_some())?
        } else if let Some(rest) = form("+cluster") {
            cluster(rest)?
        } else if form("").is_some() || url.starts_with("unix://") {
            single(url)?
        } else {
            return Err(
                "redis://…, redis+sentinel://… or redis+cluster://… is wanted, rediss for TLS".to_owned()
            );
        };
        if settings.ca_file.is_some() && !tls {
            return Err(
                "an authority's file is given, and the address asks for no TLS (rediss://…)".to_owned()
            );
        }
        if password.is_some() && settings.password_file.is_some() {
            return Err("the address has a password, and a file for it is given too".to_owned());
        }
        let user = user.filter(|user| !user.is_empty());
        let (password_file, ca_file) = (settings.password_file.clone(), settings.ca_file.clone());
        let place = Place { at, tls, user, password, password_file, ca_file, made: Mutex::new(None) };
        // What is wrong without any file is wrong with it.
        place.way(&Files { password: None, authorities: None }).map_err(|error| error.to_string())?;
        Ok(place)
    }

    /// Clients for a connection that is made now; the error says which file is not there yet.
    pub async fn open(&self) -> Result<Arc<Way>, String> {
        let password = match &self.password_file {
            Some(path) => Some(password(path, read(path).await?)?),
            None => self.password.clone(),
        };
        let authorities = match &self.ca_file {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let files = Files { password, authorities };
        let mut made = self.made.lock().await;
        if let Some((before, way)) = made.as_ref()
            && *before == files
        {
            return Ok(way.clone());
        }
        let way = Arc::new(self.way(&files).map_err(|error| error.to_string())?);
        *made = Some((files, way.clone()));
        Ok(way)
    }

    fn way(&self, files: &Files) -> Result<Way, RedisError> {
        match &self.at {
            At::Single(info) => {
                let access = self.access(info.redis_settings().clone(), files);
                self.client(info.addr().clone(), access, files).map(|client| Way::Single(Box::new(client)))
            }
            At::Sentinel { hosts, master, db } => {
                let addresses = hosts.iter().map(|host| self.address(host));
                let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
                    .set_client_to_redis_db(*db);
                if let Some(user) = &self.user {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = &files.password {
                    builder = builder.set_client_to_redis_password(password);
                }
                if self.tls {
                    let certificates = certificates(files);
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates);
                }
                Ok(Way::Sentinel(Box::new(Mutex::new(builder.build()?))))
            }
            At::Cluster(hosts) => {
                let access = self.access(RedisConnectionInfo::default(), files);
                let info =
                    |host| Ok(self.address(host).into_connection_info()?.set_redis_settings(access.clone()));
                let nodes = hosts.iter().map(info).collect::<Result<Vec<ConnectionInfo>, RedisError>>()?;
                let clients = hosts.iter().map(|host| self.client(self.address(host), access.clone(), files));
                let clients = clients.collect::<Result<Vec<_>, _>>()?;
                let mut builder = ClusterClient::builder(nodes).retries(2);
                if self.tls {
                    builder = builder.tls(TlsMode::Secure).certs(certificates(files));
                }
                Ok(Way::Cluster(Box::new(builder.build()?), clients))
            }
        }
    }

    fn access(&self, mut access: RedisConnectionInfo, files: &Files) -> RedisConnectionInfo {
        if let Some(user) = &self.user {
            access = access.set_username(user);
        }
        match &files.password {
            Some(password) => access.set_password(password),
            None => access,
        }
    }

    fn client(
        &self,
        at: ConnectionAddr,
        access: RedisConnectionInfo,
        files: &Files,
    ) -> Result<Client, RedisError> {
        let info = at.into_connection_info()?.set_redis_settings(access);
        if self.tls { Client::build_with_tls(info, certificates(files)) } else { Client::open(info) }
    }

    fn address(&self, (host, port): &(String, u16)) -> ConnectionAddr {
        let (host, port) = (host.clone(), *port);
        if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }
}

/// Without a file of authorities those of the system are trusted.
fn certificates(files: &Files) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: files.authorities.clone() }
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |why: String| format!("{} cannot be read: {why}", path.display());
    let length = tokio::fs::metadata(path).await.map_err(|error| failed(error.to_string()))?.len();
    if length > LARGEST {
        return Err(failed(format!("it has {length} bytes")));
    }
    tokio::fs::read(path).await.map_err(|error| failed(error.to_string()))
}

/// Editors end a file with a newline, which is no part of the password.
fn password(path: &Path, bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty", path.display())),
        text => Ok(text.to_owned()),
    }
}

type Parsed = (At, Option<String>, Option<String>);

/// User, password, hosts and what follows them.
type Parts<'a> = (Option<String>, Option<String>, Vec<&'a str>, &'a str);

/// `[user[:password]@]host:port,host:port/rest` in its parts. In user and password, `%` escapes what an address does
/// not allow.
fn parts(text: &str) -> Result<Parts<'_>, String> {
    let (access, text) = match text.rsplit_once('@') {
        Some((access, text)) => (Some(access), text),
        None => (None, text),
    };
    let (hosts, rest) = text.split_once('/').unwrap_or((text, ""));
    let decoded = |text: &str| {
        let bytes = percent_encoding::percent_decode_str(text);
        bytes
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| "user or password is no text".to_owned())
    };
    let (user, password) = match access.map(|access| access.split_once(':').ok_or(access)) {
        None => (None, None),
        Some(Ok((user, password))) => (Some(decoded(user)?), Some(decoded(password)?)),
        Some(Err(alone)) => (Some(decoded(alone)?), None),
    };
    Ok((user, password, hosts.split(',').filter(|host| !host.is_empty()).collect(), rest))
}

fn single(url: &str) -> Result<Parsed, String> {
    let info = url.into_connection_info().map_err(|error| error.to_string())?;
    let access = info.redis_settings();
    let (user, password) =
        (access.username().map(ToOwned::to_owned), access.password().map(ToOwned::to_owned));
    Ok((At::Single(Box::new(info)), user, password))
}

/// `alone@` is the user when a file has the password, else the password.
fn sentinel(text: &str, password_in_file: bool) -> Result<Parsed, String> {
    let (user, password, hosts, rest) = parts(text)?;
    let (user, password) = match (user, password) {
        (Some(alone), None) if !password_in_file => (None, Some(alone)),
        both => both,
    };
    let (master, db) = rest.split_once('/').unwrap_or((rest, "0"));
    if master.is_empty() || hosts.is_empty() {
        return Err("redis+sentinel://host:port,host:port/MASTER[/db] is wanted".to_owned());
    }
    let db: i64 = db.parse().map_err(|_| "the number of the database is not a number".to_owned())?;
    let hosts = hosts.iter().map(|host| address(host, 26379)).collect::<Result<Vec<_>, _>>()?;
    Ok((At::Sentinel { hosts, master: master.to_owned(), db }, user, password))
}

fn cluster(text: &str) -> Result<Parsed, String> {
    let (user, password, hosts, _) = parts(text)?;
    if hosts.is_empty() {
        return Err("redis+cluster://host:port,host:port is wanted".to_owned());
    }
    let hosts = hosts.iter().map(|host| address(host, 6379)).collect::<Result<Vec<_>, _>>()?;
    Ok((At::Cluster(hosts), user, password))
}

fn address(host: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| format!("{port} is not a port"))?)
        }
        _ => (host, default_port),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Place, String> {
        Place::parse(&RedisSettings::new(url))
    }

    #[test]
    fn an_address_has_three_forms_each_with_and_without_tls() {
        for tls in ["", "s"] {
            let form = |rest: &str| parsed(&format!("redis{tls}{rest}")).unwrap();
            assert!(matches!(form("://127.0.0.1:6379/1").at, At::Single(_)));
            assert!(matches!(form("+sentinel://u:p@a:26379,b/mymaster/2").at, At::Sentinel { .. }));
            assert!(matches!(form("+cluster://a:7000,[2001:db8::1]:7001").at, At::Cluster(_)));
            assert_eq!(form("://a").tls, tls == "s");
        }
        for wrong in
            ["http://127.0.0.1", "redis+sentinel://a:26379", "redis+cluster://", "rediss+tls://a", "redis"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_stands_in_the_address_and_the_password_in_a_file_or_there() {
        let in_file = |url: &str| {
            Place::parse(&RedisSettings {
                password_file: Some("/no/such/file".into()),
                ..RedisSettings::new(url)
            })
        };
        for form in ["redis://%@a", "redis+sentinel://%@a/m", "redis+cluster://%@a"] {
            let with = |access: &str| form.replace('%', access);
            let place = parsed(&with("ann:p%3Aw")).unwrap();
            assert_eq!(
                (place.user.as_deref(), place.password.as_deref()),
                (Some("ann"), Some("p:w")),
                "{form}"
            );
            let place = in_file(&with("ann")).unwrap();
            assert_eq!((place.user.as_deref(), place.password.as_deref()), (Some("ann"), None), "{form}");
            assert!(in_file(&with("ann:pw")).is_err(), "{form}");
            assert_eq!(parsed(&with(":pw")).unwrap().password.as_deref(), Some("pw"), "{form}");
        }
        let place = parsed("redis+sentinel://pw@a/m").unwrap();
        assert_eq!((place.user, place.password.as_deref()), (None, Some("pw")));
    }

    #[test]
    fn an_authority_without_tls_is_a_mistake() {
        let ca_file = Some("/no/such/file".into());
        let place = Place::parse(&RedisSettings { ca_file, ..RedisSettings::new("redis://a") });
        assert!(place.err().is_some_and(|error| error.contains("rediss")));
    }
}
