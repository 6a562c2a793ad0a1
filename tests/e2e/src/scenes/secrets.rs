//! Certificates between pods.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::Load;
use crate::world::{World, until};

const ROLES: [&str; 5] = ["signaling", "media", "registrar", "admin", "operator"];

pub async fn twenty_renewals_under_calls(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 40).await?;
    let (ann, ben) = world.ann_and_ben().await?;
    ann.call("ben").await?;
    let pair = [(ann.clone(), ben)];
    let chapter = super::calls::begin(world, &pair).await?;
    let (registering, calling) = phones.split_at(20);
    let (callers, callees) = calling.split_at(10);
    let registrations = Load::registrations(registering.to_vec(), 5);
    let calls = Load::calls(callers.iter().cloned().zip(callees.iter().cloned()).collect(), 2);
    let outcome = renew(world).await;
    let (registrations, calls) = (registrations.stop().await, calls.stop().await);
    outcome?;
    super::calls::compare(world, &pair, chapter).await?;
    ann.hang_up().await?;
    world.figure(format!("20 renewals: {}", registrations.all_succeeded("REGISTERs")?));
    world.figure(calls.all_succeeded("calls")?);
    Ok(())
}

/// Each role's certificate four times: the Secret is deleted, the operator makes another, pods take it.
async fn renew(world: &World) -> anyhow::Result<()> {
    for number in 0..20 {
        let secret = format!("edge-fairlead-tls-{}", ROLES[number % ROLES.len()]);
        let read = format!("kubectl -n sip get secret {secret} -o jsonpath='{{.data.tls\\.crt}}'");
        let before = world.run(&read).await?;
        world.run(&format!("kubectl -n sip delete secret {secret}")).await?;
        until(Duration::from_secs(20), || async {
            let after = world.run(&read).await?;
            ensure!(!after.is_empty() && after != before, "{secret} was not made anew");
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

pub async fn strangers_get_no_answer(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    for (role, port) in [("registrar", 7001), ("media", 7003), ("signaling", 7002)] {
        let pods = world.kube.pods(role).await?;
        let pod = pods.first().with_context(|| format!("there is no pod of {role}"))?;
        // A forward ends with the first connection that is refused: each attempt has its own.
        let target = format!("pod/{}", pod.name);
        let forward = world.forward(&target, port).await?;
        // TLS without a certificate: the handshake is refused, and not one octet of an answer is in it.
        let tls = format!(
            "(printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'; sleep 2) | timeout 5 openssl s_client -alpn h2 -connect localhost:{} 2>&1",
            forward.port
        );
        let (_, said) = world.cluster.shell.both(&tls).await?;
        forward.end().await?;
        ensure!(
            said.to_ascii_lowercase().contains("alert"),
            "{role} let somebody in without a certificate, or was not reached:\n{said}"
        );
        let forward = world.forward(&target, port).await?;
        let answer = plain_http2(forward.port).await?;
        forward.end().await?;
        ensure!(!is_http2(&answer), "{role} answered plain HTTP/2: {answer:02x?}");
        world.figure(format!("{role}:{port} refuses TLS without a certificate and plain HTTP/2"));
    }
    Ok(())
}

/// What comes back for HTTP/2 in plain text, as a pod with `tls.internal.mode=off` would speak it (RFC 9113 §3.4), in 3 s.
async fn plain_http2(port: u16) -> anyhow::Result<Vec<u8>> {
    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    // A peer that hangs up at the first octets is one that does not answer.
    let _ = stream.write_all(&EMPTY_SETTINGS).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await;
    Ok(answer)
}

/// Whether it begins with a SETTINGS frame (RFC 9113 §6.5), as every answer of an HTTP/2 server does.
fn is_http2(answer: &[u8]) -> bool {
    answer.get(3) == Some(&4) && answer.first() == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::is_http2;

    #[test]
    fn settings_are_told_from_a_tls_alert() {
        assert!(is_http2(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3]));
        assert!(!is_http2(&[0x15, 3, 3, 0, 2, 2, 50]));
        assert!(!is_http2(&[]));
    }
}
