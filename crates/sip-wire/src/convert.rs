//! To and from the crate rsip, whose types are the vocabulary that other SIP libraries share.
//!
//! rsip's own parser and printer are used nowhere: the parser loses users with a dot, IPv6 hosts and list values, and
//! the printer changes phrases, transports and bodies. Its public fields are filled and read here instead. URI
//! parameters always become `Param::Other` and a status `StatusCode::Other`, which rsip keeps as they are written; so
//! compare a status by `.code()`.

use bytes::Bytes;
use rsip::headers::UntypedHeader;
use rsip::headers::untyped;

use crate::header::Header;
use crate::malformed::Malformed;
use crate::message::Message;
use crate::method::Method;
use crate::scan::ListValues;
use crate::status::default_reason;
use crate::text::Text;
use crate::uri::{BadUri, Uri};
use crate::writer::Head;

/// What rsip's types cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInRsip {
    /// rsip knows no extension methods.
    #[error("rsip knows no extension methods")]
    Method,
    /// The Request-URI is no URI, or has headers.
    #[error("rsip holds no such URI")]
    Uri,
    /// A header line is not UTF-8.
    #[error("rsip holds no header lines that are not UTF-8")]
    NotText,
}

macro_rules! shared_headers {
    ($($id:ident $theirs:ident;)*) => {
        fn to_header(header: Option<Header>, name: &str, value: &str) -> rsip::Header {
            match header {
                $(Some(Header::$id) => rsip::Header::$theirs(untyped::$theirs::new(value)),)*
                Some(other) => rsip::Header::Other(other.name().to_owned(), value.to_owned()),
                None => rsip::Header::Other(name.to_owned(), value.to_owned()),
            }
        }

        /// The name and value of one of rsip's headers.
        fn from_header(header: &rsip::Header) -> (&str, &str) {
            match header {
                $(rsip::Header::$theirs(value) => (Header::$id.name(), value.value()),)*
                rsip::Header::Other(name, value) => (name, value),
            }
        }
    };
}

shared_headers! {
    Accept Accept;
    AcceptEncoding AcceptEncoding;
    AcceptLanguage AcceptLanguage;
    AlertInfo AlertInfo;
    Allow Allow;
    AuthenticationInfo AuthenticationInfo;
    Authorization Authorization;
    CSeq CSeq;
    CallId CallId;
    CallInfo CallInfo;
    Contact Contact;
    ContentDisposition ContentDisposition;
    ContentEncoding ContentEncoding;
    ContentLanguage ContentLanguage;
    ContentLength ContentLength;
    ContentType ContentType;
    Date Date;
    ErrorInfo ErrorInfo;
    Event Event;
    Expires Expires;
    From From;
    InReplyTo InReplyTo;
    MaxForwards MaxForwards;
    MimeVersion MimeVersion;
    MinExpires MinExpires;
    Organization Organization;
    Priority Priority;
    ProxyAuthenticate ProxyAuthenticate;
    ProxyAuthorization ProxyAuthorization;
    ProxyRequire ProxyRequire;
    RecordRoute RecordRoute;
    ReplyTo ReplyTo;
    Require Require;
    RetryAfter RetryAfter;
    Route Route;
    Server Server;
    Subject Subject;
    SubscriptionState SubscriptionState;
    Supported Supported;
    Timestamp Timestamp;
    To To;
    Unsupported Unsupported;
    UserAgent UserAgent;
    Via Via;
    Warning Warning;
    WwwAuthenticate WwwAuthenticate;
}

/// Lists of which rsip's typed headers read one value only.
const SPLIT: [Header; 4] = [Header::Via, Header::Contact, Header::Route, Header::RecordRoute];

impl Message {
    /// The message in rsip's types: folds joined, names in their long form, address lists one value a line.
    pub fn to_rsip(&self) -> Result<rsip::SipMessage, NotInRsip> {
        let mut headers = Vec::with_capacity(self.lines().len());
        for line in self.lines() {
            if line.aside && std::str::from_utf8(line.whole.of(self.bytes())).is_err() {
                return Err(NotInRsip::NotText);
            }
        }
        for (header, name, value) in self.fields() {
            if header.is_some_and(|header| SPLIT.contains(&header)) {
                headers.extend(ListValues::new(value).map(|value| to_header(header, name, value)));
            } else {
                headers.push(to_header(header, name, value));
            }
        }
        let headers = rsip::Headers::from(headers);
        let version = rsip::Version::V2;
        let body = self.body().to_vec();
        match self.status() {
            Some(status) => {
                let status_code = rsip::StatusCode::Other(status, self.reason().to_owned());
                Ok(rsip::SipMessage::Response(rsip::Response { status_code, version, headers, body }))
            }
            None => {
                let method = self.method().to_rsip().ok_or(NotInRsip::Method)?;
                let uri = self.uri().map_err(|_| NotInRsip::Uri)?.to_rsip()?;
                Ok(rsip::SipMessage::Request(rsip::Request { method, uri, version, headers, body }))
            }
        }
    }

    /// A message of rsip's types, written by our writer and read back.
    pub fn from_rsip(message: &rsip::SipMessage) -> Result<Message, Malformed> {
        Message::parse(rsip_bytes(message))
    }
}

/// The octets of a message of rsip's types. Content-Length is written anew.
fn rsip_bytes(message: &rsip::SipMessage) -> Bytes {
    let mut head = Head::with_capacity(1024);
    let headers = match message {
        rsip::SipMessage::Request(request) => {
            head.request_line(&Method::from_rsip(request.method), &uri_text(&request.uri));
            &request.headers
        }
        rsip::SipMessage::Response(response) => {
            let status = response.status_code.code();
            let reason = match &response.status_code {
                rsip::StatusCode::Other(_, phrase) => phrase,
                _ => default_reason(status),
            };
            head.status_line(status, reason);
            &response.headers
        }
    };
    for header in headers.iter() {
        let (name, value) = from_header(header);
        if Header::parse(name) != Some(Header::ContentLength) {
            head.line(name, value.as_bytes());
        }
    }
    head.finish(message.body())
}

impl Method {
    /// The same in rsip, which knows no extension methods.
    pub fn to_rsip(&self) -> Option<rsip::Method> {
        Some(match self {
            Method::Invite => rsip::Method::Invite,
            Method::Ack => rsip::Method::Ack,
            Method::Bye => rsip::Method::Bye,
            Method::Cancel => rsip::Method::Cancel,
            Method::Register => rsip::Method::Register,
            Method::Options => rsip::Method::Options,
            Method::Info => rsip::Method::Info,
            Method::Message => rsip::Method::Message,
            Method::Notify => rsip::Method::Notify,
            Method::Subscribe => rsip::Method::Subscribe,
            Method::Refer => rsip::Method::Refer,
            Method::Update => rsip::Method::Update,
            Method::Prack => rsip::Method::PRack,
            Method::Publish => rsip::Method::Publish,
            Method::Other(_) => return None,
        })
    }

    /// The same method, from rsip.
    pub fn from_rsip(method: rsip::Method) -> Method {
        Method::parse(&method.to_string())
    }
}

impl Uri {
    /// The same in rsip. URI headers have no place there. Of other schemes than sip and sips, what follows the colon
    /// stands as host.
    pub fn to_rsip(&self) -> Result<rsip::Uri, NotInRsip> {
        if self.headers().is_some() {
            return Err(NotInRsip::Uri);
        }
        if !self.is_sip() {
            let opaque = self.as_str().get(self.scheme().len() + 1..).unwrap_or_default();
            return Ok(rsip::Uri {
                scheme: Some(rsip::Scheme::Other(self.scheme().to_owned())),
                auth: None,
                host_with_port: rsip::Host::Domain(rsip::Domain::from(opaque)).into(),
                params: Vec::new(),
                headers: Vec::new(),
            });
        }
        let host = match self.host_ip() {
            Some(address) => rsip::Host::IpAddr(address),
            None => rsip::Host::Domain(rsip::Domain::from(self.host())),
        };
        let param = |(name, value): (&str, Option<&str>)| {
            rsip::Param::Other(
                name.into(),
                value.map(|value| rsip::param::OtherParamValue::from(value.to_owned())),
            )
        };
        Ok(rsip::Uri {
            scheme: Some(if self.is_sips() { rsip::Scheme::Sips } else { rsip::Scheme::Sip }),
            auth: self.user().map(|user| rsip::Auth {
                user: user.to_owned(),
                password: self.password().map(str::to_owned),
            }),
            host_with_port: rsip::HostWithPort { host, port: self.port().map(rsip::Port::from) },
            params: self.params().map(param).collect(),
            headers: Vec::new(),
        })
    }

    /// The same URI, from rsip: IPv6 in brackets, other schemes without `//`.
    pub fn from_rsip(uri: &rsip::Uri) -> Result<Uri, BadUri> {
        Uri::from_text(Text::from(uri_text(uri)))
    }
}

fn uri_text(uri: &rsip::Uri) -> String {
    let mut text = match &uri.scheme {
        None | Some(rsip::Scheme::Sip) => String::from("sip:"),
        Some(rsip::Scheme::Sips) => String::from("sips:"),
        Some(rsip::Scheme::Other(scheme)) => format!("{scheme}:"),
    };
    if let Some(auth) = &uri.auth {
        text.push_str(&format!("{auth}@"));
    }
    match uri.host() {
        rsip::Host::IpAddr(std::net::IpAddr::V6(address)) => text.push_str(&format!("[{address}]")),
        host => text.push_str(&host.to_string()),
    }
    if let Some(port) = uri.port() {
        text.push_str(&format!(":{}", port.value()));
    }
    for param in &uri.params {
        text.push_str(&param.to_string());
    }
    text
}
