//! `fairlead operator`.

use anyhow::{Context, bail};
use fairlead_model::member::{Member, Role};
use fairlead_operator::keys::CertificatesConfig;
use fairlead_operator::{AroundConfig, OperatorConfig};
use fairlead_proto::attached::stay_attached;
use fairlead_proto::tls::PodTls;
use fairlead_runtime::common::Handles;
use fairlead_runtime::settings::value::HostPort;
use tokio::sync::watch;

use super::{Live, Start, member, pod_tls, registrars};
use crate::settings::OperatorSettings;
use crate::values::TlsMode;

/// Starts it: election, and while it leads, everything else. It makes the certificates of pods, so it asks registrars
/// only when its own has come.
pub async fn run(settings: OperatorSettings, start: Start) -> anyhow::Result<Live> {
    for (name, value) in [
        ("namespace", &settings.namespace),
        ("release", &settings.release),
        ("full-name", &settings.full_name),
    ] {
        if value.is_empty() {
            bail!("--{name} is empty");
        }
    }
    let names = settings.registrar.clone();
    let client = fairlead_operator::api::client().await?;
    let domain = start.own_tls.as_ref().and_then(|tls| tls.tls_domain.clone());
    let config = config(settings, domain)?;
    let (tell, certificates) = watch::channel(None);
    fairlead_operator::start(config, client, certificates, &start.handles);
    start.handles.health.flag("operator").set(true);
    // Certificates that never come must not keep the role from being told to end.
    let handles = start.handles.clone();
    let own_tls = start.own_tls;
    tokio::spawn(async move {
        match pod_tls(own_tls, Role::Operator, &handles).await {
            Ok(tls) => {
                tell.send_replace(Some(tls.clone()));
                be_listed(&names, &handles, tls).await;
            }
            Err(failed) => {
                tracing::error!(failed = format!("{failed:#}"), "this pod's certificates cannot be used");
                handles.drain.start();
            }
        }
    });
    Ok(Box::new(|| 0))
}

/// Until the end it is a member, whether it leads or stands by, so that people see it beside the other pods. What members
/// are told is nothing to it.
async fn be_listed(names: &[HostPort], handles: &Handles, tls: PodTls) {
    let registrars = match registrars(names, &handles.who, &tls) {
        Ok(registrars) => registrars,
        Err(failed) => return tracing::error!(failed = format!("{failed:#}"), "this pod will not be listed"),
    };
    let me = member(&handles.who, Role::Operator, Member::ASKED_NOTHING);
    let drain = handles.drain.clone();
    let _briefings = stay_attached(registrars, me, move || (0, drain.is_draining()));
    handles.drain.stopping().cancelled().await;
}

fn config(settings: OperatorSettings, domain: Option<String>) -> anyhow::Result<OperatorConfig> {
    let certificates = match settings.tls_mode {
        TlsMode::Files => None,
        TlsMode::Generated => {
            let domain = domain
                .context("--tls-mode=generated needs --tls-domain, the domain that certificates name")?;
            Some(CertificatesConfig {
                leaf_life: settings.tls_leaf_life,
                authority_life: settings.tls_authority_life,
                grace: settings.tls_grace,
                ..CertificatesConfig::new(domain)
            })
        }
    };
    let others = settings.watch_namespaces.iter().flat_map(|list| list.split(',')).map(str::trim);
    let mut watch_namespaces: Vec<String> = others
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .chain([settings.namespace.clone()])
        .collect();
    watch_namespaces.sort();
    watch_namespaces.dedup();
    let full_name = settings.full_name;
    Ok(OperatorConfig {
        namespace: settings.namespace,
        release: settings.release,
        registrars: settings.registrar.iter().map(ToString::to_string).collect(),
        watch_namespaces,
        status_writes_per_second: settings.status_writes_per_second,
        around: AroundConfig {
            sip_service: settings.sip_service.unwrap_or_else(|| format!("{full_name}-sip")),
            exposure: settings.media_exposure.0,
            sip_addresses: settings.sip_address.into_iter().map(|given| given.0).collect(),
            internal: settings.internal_networks.into_iter().map(|network| network.0).collect(),
        },
        certificates,
        admin_token_secret: settings.admin_token_secret,
        redis_password_secret: settings.redis_password_secret,
        full_name,
    })
}
