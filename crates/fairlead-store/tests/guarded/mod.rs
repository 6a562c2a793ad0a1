//! Real redis-servers that speak only TLS and want a user and a password, ended with the test.
#![allow(dead_code)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub const USER: &str = "registrar";
pub const PASSWORD: &str = "p:w/@%";

/// Who signs certificates, and the file that says so.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), dir }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    fn certify(&self, dir: &Path) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join("tls.crt"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    }
}

pub struct Guarded {
    child: Child,
    pub port: u16,
    dir: tempfile::TempDir,
    ca: PathBuf,
}

impl Guarded {
    pub fn start(ca: &Authority) -> Self {
        Self::start_with(ca, "")
    }

    /// Three nodes that share the slots.
    pub fn start_cluster(ca: &Authority) -> [Self; 3] {
        let nodes: [Self; 3] = std::array::from_fn(|_| {
            Self::start_with(ca, "cluster-enabled yes\ntls-cluster yes\ncluster-node-timeout 2000\n")
        });
        for (node, slots) in nodes.iter().zip([("0", "5461"), ("5462", "10922"), ("10923", "16383")]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
        }
        for other in &nodes[1..] {
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]);
        }
        eventually(|| {
            nodes.iter().all(|node| node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
        nodes
    }

    /// One that watches `master` under the name `edge`.
    pub fn start_sentinel(ca: &Authority, master: &Guarded) -> Self {
        let watch = format!(
            "sentinel monitor edge 127.0.0.1 {} 1\nsentinel auth-user edge {USER}\nsentinel auth-pass edge {PASSWORD}\n\
             tls-replication yes\n",
            master.port
        );
        Self::run(ca, &watch, true)
    }

    fn start_with(ca: &Authority, more: &str) -> Self {
        Self::run(
            ca,
            &format!("user default off\nuser {USER} on >{PASSWORD} ~* &* +@all\nsave \"\"\n{more}"),
            false,
        )
    }

    fn run(ca: &Authority, more: &str, sentinel: bool) -> Self {
        // A node of a cluster also takes its port + 10,000.
        let port = loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if port < 55_000 {
                break port;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        ca.certify(dir.path());
        let at = dir.path().display();
        let conf = format!(
            "bind 127.0.0.1\nport 0\ntls-port {port}\ntls-cert-file {at}/tls.crt\ntls-key-file {at}/tls.key\n\
             tls-ca-cert-file {}\ntls-auth-clients no\ndir {at}\n{more}",
            ca.file().display()
        );
        std::fs::write(dir.path().join("redis.conf"), conf).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(dir.path().join("redis.conf"));
        if sentinel {
            command.arg("--sentinel");
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server");
        let server = Guarded { child, port, dir, ca: ca.file() };
        eventually(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    pub fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["--tls", "--cacert"]).arg(&self.ca).args(["-p", &self.port.to_string()]);
        command.args(["--no-auth-warning", "--user", USER, "--pass", PASSWORD]).args(words);
        String::from_utf8_lossy(&command.output().expect("redis-cli").stdout).into_owned()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not come about");
}
