//! Readers of header fields. Each reads on demand and names the header field it could not read.

use crate::header::Header;
use crate::index::Line;
use crate::limits::MAX_VALUES;
use crate::malformed::MalformedReason;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::{NameAddr, NameAddrView};
use crate::scan::{self, ListValues};
use crate::text::Text;
use crate::uri::{BadUri, Uri};
use crate::via::{Via, ViaView};

/// The value of CSeq (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

/// What a REGISTER's Contact header fields say (RFC 3261 §10.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// `Contact: *`, alone.
    Star,
    /// The values in order; none when there is no Contact.
    List(Vec<NameAddr>),
}

impl Message {
    /// The first value of a header: of a list header its first line as a whole. Trimmed and unfolded.
    pub fn header(&self, header: Header) -> Option<&str> {
        self.line(header).map(|line| self.value(line))
    }

    /// The lines of a header in order, each trimmed and unfolded.
    pub fn headers(&self, header: Header) -> impl Iterator<Item = &str> {
        self.lines_of(header).map(|line| self.value(line))
    }

    /// The values of a header in order: of a list header each value of each line, of others each line.
    pub fn values(&self, header: Header) -> impl Iterator<Item = &str> {
        self.headers(header).flat_map(move |line| {
            let (list, whole) = if header.is_list() { (line, None) } else { ("", Some(line)) };
            ListValues::new(list).chain(whole)
        })
    }

    /// The value of the first line with that name; a name in its long form also finds the compact form and vice versa.
    pub fn header_named(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// The lines with that name in order, see [`Message::header_named`].
    pub fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> {
        let known = Header::parse(name);
        self.lines()
            .iter()
            .filter(move |line| match known {
                Some(_) => line.header == known,
                None => line.name.of(self.bytes()).eq_ignore_ascii_case(name.as_bytes()),
            })
            .map(|line| self.value(line))
    }

    /// All header lines in order: the name as written, and all that follows the colon as received, folds and white
    /// space included. The name is ASCII; the value is raw because it may not be UTF-8.
    pub fn header_lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().iter().map(|line| (self.name_of(line), line.raw_value(self.bytes())))
    }

    /// All header lines in order: the known header, the name as written, and the value trimmed and unfolded.
    pub fn fields(&self) -> impl Iterator<Item = (Option<Header>, &str, &str)> {
        self.lines().iter().map(|line| (line.header, self.name_of(line), self.value(line)))
    }

    fn name_of(&self, line: &Line) -> &str {
        std::str::from_utf8(line.name.of(self.bytes())).unwrap_or_default()
    }

    fn lines_of(&self, header: Header) -> impl Iterator<Item = &Line> {
        self.lines().iter().filter(move |line| line.header == Some(header))
    }

    pub(crate) fn first_value(&self, header: Header) -> Option<&str> {
        ListValues::new(self.header(header)?).next()
    }

    fn only(&self, header: Header) -> Result<&Line, MalformedReason> {
        let mut lines = self.lines_of(header);
        let line = lines.next().ok_or(MalformedReason::Missing(header))?;
        if lines.next().is_some() { Err(MalformedReason::Repeated(header)) } else { Ok(line) }
    }

    /// The Request-URI.
    pub fn uri(&self) -> Result<Uri, BadUri> {
        Uri::from_text(self.request_uri_text())
    }

    /// The Call-ID; empty when there is none.
    pub fn call_id(&self) -> &str {
        self.header(Header::CallId).unwrap_or_default()
    }

    /// The Call-ID, sharing the bytes of the message.
    pub fn call_id_text(&self) -> Text {
        self.line(Header::CallId).map(|line| self.value_text(line)).unwrap_or_default()
    }

    /// CSeq: number and method.
    pub fn cseq(&self) -> Result<CSeq, MalformedReason> {
        let value = self.value(self.only(Header::CSeq)?);
        let (number, method) = cseq_parts(value).ok_or(MalformedReason::Bad(Header::CSeq))?;
        Ok(CSeq { number, method: Method::parse(method) })
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr, MalformedReason> {
        self.name_addr(Header::From)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr, MalformedReason> {
        self.name_addr(Header::To)
    }

    /// The one address of a header that has one: From, To, Refer-To, Referred-By, Reply-To.
    pub fn name_addr(&self, header: Header) -> Result<NameAddr, MalformedReason> {
        let line = self.only(header)?;
        NameAddr::from_text(self.value_text(line)).map_err(|_| MalformedReason::Bad(header))
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<&str> {
        NameAddrView::parse(self.header(Header::From)?)?.tag()
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&str> {
        NameAddrView::parse(self.header(Header::To)?)?.tag()
    }

    /// The topmost Via.
    pub fn top_via(&self) -> Result<Via, MalformedReason> {
        let line = self.line(Header::Via).ok_or(MalformedReason::Missing(Header::Via))?;
        let text = self.value_text(line);
        let first = ListValues::new(&text).next().unwrap_or_default();
        Via::from_text(text.share(first)).map_err(|_| MalformedReason::Bad(Header::Via))
    }

    /// The topmost Via, borrowed.
    pub fn top_via_view(&self) -> Result<ViaView<'_>, MalformedReason> {
        let first = self.first_value(Header::Via).ok_or(MalformedReason::Missing(Header::Via))?;
        ViaView::parse(first).ok_or(MalformedReason::Bad(Header::Via))
    }

    /// All Vias, the topmost first.
    pub fn vias(&self) -> Result<Vec<Via>, MalformedReason> {
        self.collect(Header::Via, |text| Via::from_text(text).ok())
    }

    fn collect<T>(
        &self,
        header: Header,
        read: impl Fn(Text) -> Option<T>,
    ) -> Result<Vec<T>, MalformedReason> {
        let mut found = Vec::new();
        for line in self.lines_of(header) {
            let text = self.value_text(line);
            for value in ListValues::new(&text) {
                if found.len() >= MAX_VALUES {
                    return Err(MalformedReason::TooManyValues(header));
                }
                found.push(read(text.share(value)).ok_or(MalformedReason::Bad(header))?);
            }
        }
        Ok(found)
    }

    /// The addresses of a list header: Route, Record-Route, Path, Contact, P-Asserted-Identity and their kin.
    pub fn name_addrs(&self, header: Header) -> Result<Vec<NameAddr>, MalformedReason> {
        self.collect(header, |text| NameAddr::from_text(text).ok())
    }

    /// The Route values, the topmost first.
    pub fn route(&self) -> Result<Vec<NameAddr>, MalformedReason> {
        self.name_addrs(Header::Route)
    }

    /// The Record-Route values, the topmost first.
    pub fn record_route(&self) -> Result<Vec<NameAddr>, MalformedReason> {
        self.name_addrs(Header::RecordRoute)
    }

    /// The Contact values. `*` must stand alone (RFC 3261 §10.2.2).
    pub fn contacts(&self) -> Result<Contacts, MalformedReason> {
        let mut values = self.values(Header::Contact);
        if values.next() == Some("*") && values.next().is_none() {
            return Ok(Contacts::Star);
        }
        self.name_addrs(Header::Contact).map(Contacts::List)
    }

    /// The first Contact, where there is one: the remote target (RFC 3261 §12.1).
    pub fn contact(&self) -> Option<Result<NameAddr, MalformedReason>> {
        let text = self.line(Header::Contact).map(|line| self.value_text(line))?;
        let first = ListValues::new(&text).next().unwrap_or_default();
        Some(NameAddr::from_text(text.share(first)).map_err(|_| MalformedReason::Bad(Header::Contact)))
    }

    /// Max-Forwards, 0 to 255 (RFC 3261 §20.22).
    pub fn max_forwards(&self) -> Option<Result<u8, MalformedReason>> {
        self.line(Header::MaxForwards)?;
        Some(
            self.number(Header::MaxForwards).and_then(|number| {
                u8::try_from(number).map_err(|_| MalformedReason::Bad(Header::MaxForwards))
            }),
        )
    }

    /// Expires in seconds (RFC 3261 §20.19).
    pub fn expires(&self) -> Option<Result<u32, MalformedReason>> {
        self.line(Header::Expires)?;
        Some(self.number(Header::Expires))
    }

    /// A header whose value is a number of at most 32 bits.
    pub fn number(&self, header: Header) -> Result<u32, MalformedReason> {
        let value = self.value(self.only(header)?);
        scan::number(value).and_then(|number| u32::try_from(number).ok()).ok_or(MalformedReason::Bad(header))
    }

    /// Content-Type as written.
    pub fn content_type(&self) -> Option<&str> {
        self.header(Header::ContentType)
    }

    /// True when Content-Type is this media type, whatever its parameters: `application/sdp`.
    pub fn content_is(&self, media_type: &str) -> bool {
        self.content_type().is_some_and(|value| {
            let (found, _) = scan::split_outside(value, b';', false);
            let found = scan::trim(found);
            found.eq_ignore_ascii_case(media_type)
                || found.split_once('/').zip(media_type.split_once('/')).is_some_and(|((a, b), (c, d))| {
                    scan::trim(a).eq_ignore_ascii_case(c) && scan::trim(b).eq_ignore_ascii_case(d)
                })
        })
    }

    /// True when one of the values of a list header is this token, in any case: `has_token(Supported, "timer")`.
    pub fn has_token(&self, header: Header, token: &str) -> bool {
        self.values(header).any(|value| value.eq_ignore_ascii_case(token))
    }
}

/// Number and method of a CSeq value.
pub(crate) fn cseq_parts(value: &str) -> Option<(u32, &str)> {
    let (number, method) = value.split_at(value.find([' ', '\t'])?);
    let number = u32::try_from(scan::number(number)?).ok().filter(|number| *number < 1 << 31)?;
    let method = scan::trim(method);
    scan::is_token(method.as_bytes()).then_some((number, method))
}
