//! A real redis-server on a free port, ended with the test.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Server {
    child: Option<Child>,
    port: u16,
    dir: tempfile::TempDir,
    cluster: bool,
}

impl Server {
    pub fn start() -> Self {
        Server::start_as(false)
    }

    /// One node that has all slots: enough to have keys of different slots refused in one command.
    pub fn start_cluster() -> Self {
        let server = Server::start_as(true);
        server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        for _ in 0..200 {
            if server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                return server;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the cluster does not come up");
    }

    fn start_as(cluster: bool) -> Self {
        // A node of a cluster also takes its port + 10,000.
        let port = loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if !cluster || port < 55_000 {
                break port;
            }
        };
        let mut server = Server { child: None, port, dir: tempfile::tempdir().unwrap(), cluster };
        server.start_again();
        server
    }

    pub fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--dir", &self.dir.path().display().to_string(), "--enable-debug-command", "yes"]);
        if self.cluster {
            command.args(["--cluster-enabled", "yes"]);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server"));
        for _ in 0..250 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("redis-server does not listen");
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Sends one command and returns the reply as it comes.
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(text.as_bytes()).unwrap();
        let mut reply = vec![0; 65_536];
        let count = stream.read(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply[..count]).into_owned();
        assert!(!reply.starts_with('-'), "{words:?}: {reply}");
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
