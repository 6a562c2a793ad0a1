//! REGISTER, on the side that hears it (RFC 3261 §10.3). What it changes the registrar decides.

use fairlead_model::ask::{ContactChange, Contacts, RegisterRequest, Registered};
use fairlead_model::id::UnixMillis;
use sip_wire::NameAddr;

use super::checks::Refused;
use super::*;

/// More contacts than this in one REGISTER are refused.
const MAX_CONTACTS: usize = 16;

impl Core {
    pub(super) fn register(&mut self, request: Message, flow: Flow, now: Now) {
        let Ok(credentials) = self.credentials(&request, &flow) else { return };
        if !self.has_room() {
            let refused = self.whole_edge_refuses("Too many questions", "asks_full");
            return self.refuse_stateless(&request, &flow, refused);
        }
        let differs = respond::via_differs(&request, &flow);
        let mut read = match read(&request) {
            Ok(read) => read,
            Err(refused) => return self.refuse_stateless(&request, &flow, refused),
        };
        read.flow = flow;
        read.via_differs = differs;
        read.credentials = credentials;
        read.received_at = now.wall;
        let Some(server) = self.open_server(&request, flow, differs, now) else { return };
        let key = self.key_of(&request, &flow);
        self.ask(Ask::Register(Box::new(read)), key, Asked::Register { server });
    }

    /// The registrar has done it.
    pub(super) fn registered(&mut self, server: u64, registered: &Registered, now: Now) {
        let Some(known) = self.servers.get(&server) else { return };
        let (request, flow, forced) = (known.request.clone(), known.flow, known.forced);
        let mut writer = self.answer(&request, &flow, forced, 200, "OK", Kind::Answer);
        for (value, seconds) in &registered.contacts {
            writer.push(Header::Contact, &format!("{value};expires={seconds}"));
        }
        if !registered.path.is_empty() {
            writer.push(Header::Supported, "path");
            for value in &registered.path {
                writer.push(Header::Path, value);
            }
        }
        writer.push(Header::Date, &http_date(now.wall));
        self.sources.registered(&flow, now.mono);
        let longest = registered.contacts.iter().map(|(_, seconds)| *seconds).max().unwrap_or(0);
        self.keep_open(&flow, longest, now);
        self.event(Event::Registered { source: flow.remote.ip() });
        self.respond(server, 200, writer.finish(), now);
    }
}

/// What a REGISTER wants, without judging whether it may.
fn read(request: &Message) -> Result<RegisterRequest, Refused> {
    let bad = |header: Header| Refused::new(400, format!("Bad {} Header Field", header.name()), "bad_header");
    let to = request.to().map_err(|_| bad(Header::To))?;
    if !to.uri.is_sip() {
        return Err(Refused::new(416, "Unsupported URI Scheme in To", "scheme"));
    }
    let expires = match request.expires() {
        Some(Ok(seconds)) => Some(seconds),
        // §20.19: a value that cannot be read counts as 3600.
        Some(Err(_)) => Some(3600),
        None => None,
    };
    let contacts = match request.contacts().map_err(|_| bad(Header::Contact))? {
        // §10.3 (6): only with Expires 0.
        sip_wire::Contacts::Star if expires == Some(0) => Contacts::Star,
        sip_wire::Contacts::Star => {
            return Err(Refused::new(400, "Contact * without Expires: 0", "bad_header"));
        }
        sip_wire::Contacts::List(list) if list.is_empty() => Contacts::Query,
        sip_wire::Contacts::List(list) if list.len() > MAX_CONTACTS => {
            return Err(Refused::new(403, "Too many Contact values", "too_many_values"));
        }
        sip_wire::Contacts::List(list) => Contacts::List(list.iter().map(change).collect()),
    };
    let via = request.top_via().map_err(|_| bad(Header::Via))?;
    let cseq = request.cseq().map_err(|_| bad(Header::CSeq))?;
    Ok(RegisterRequest {
        user: to.uri.decoded_user().map(|user| user.into_owned()).unwrap_or_default(),
        host: to.uri.host().to_owned(),
        contacts,
        expires,
        path: request.values(Header::Path).take(16).map(|value| value.to_string()).collect(),
        call_id: request.call_id().to_owned(),
        cseq: cseq.number,
        user_agent: request.header(Header::UserAgent).unwrap_or_default().chars().take(256).collect(),
        // Filled in by who knows how it came.
        flow: Flow {
            pod: PodRef(0),
            transport: Transport::Udp,
            local: SocketAddr::from(([0, 0, 0, 0], 0)),
            remote: SocketAddr::from(([0, 0, 0, 0], 0)),
            connection: None,
        },
        via_differs: false,
        asked_rport: via.rport.is_some(),
        supports_path: request.has_token(Header::Supported, "path")
            || request.has_token(Header::Require, "path"),
        credentials: None,
        received_at: UnixMillis(0),
    })
}

fn change(contact: &NameAddr) -> ContactChange {
    ContactChange {
        uri: contact.uri.as_str().to_owned(),
        value: without_expires(contact),
        expires: contact.expires(),
        q: contact.q(),
        instance: contact.param("+sip.instance").map(|value| sip_wire::unquote(value).into_owned()),
        reg_id: contact.param("reg-id").and_then(|value| value.parse().ok()),
    }
}

/// The value as its phone sent it, but for its `expires`, which the answer says anew.
fn without_expires(contact: &NameAddr) -> String {
    let params = contact.params_str();
    let raw: &str = contact.raw();
    let head = raw.strip_suffix(params).unwrap_or(raw).trim_end();
    let mut value = head.to_owned();
    for part in split_params(params) {
        let name = part.split('=').next().unwrap_or_default().trim();
        if !name.is_empty() && !name.eq_ignore_ascii_case("expires") {
            value.push(';');
            value.push_str(part.trim());
        }
    }
    value
}

/// Parameters at the semicolons outside of quotes.
fn split_params(params: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    params.split(move |c| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == ';' && !quoted
    })
}

/// RFC 3261 §20.17: always GMT.
fn http_date(wall: UnixMillis) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = wall.seconds();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days to a date by eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let (day_name, month_name) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    format!(
        "{day_name}, {day:02} {month_name} {year} {:02}:{:02}:{:02} GMT",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_20_17_dates() {
        assert_eq!(http_date(UnixMillis(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(UnixMillis(1_289_689_740_000)), "Sat, 13 Nov 2010 23:09:00 GMT");
        assert_eq!(http_date(UnixMillis(1_709_164_800_000)), "Thu, 29 Feb 2024 00:00:00 GMT");
    }

    #[test]
    fn the_value_loses_its_expires_and_nothing_else() {
        let contact = NameAddr::parse(
            "\"A;B\" <sip:a@192.0.2.1;x=1>;q=0.5;Expires=60;+sip.instance=\"<urn:u;expires=1>\"",
        )
        .unwrap();
        assert_eq!(
            without_expires(&contact),
            "\"A;B\" <sip:a@192.0.2.1;x=1>;q=0.5;+sip.instance=\"<urn:u;expires=1>\""
        );
        let bare = NameAddr::parse("<sip:a@192.0.2.1>").unwrap();
        assert_eq!(without_expires(&bare), "<sip:a@192.0.2.1>");
    }
}
