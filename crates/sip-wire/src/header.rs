//! [`Header`]: the header fields this project has a name for. All others pass too, found by
//! [`Message::header_named`](crate::Message::header_named).

use std::fmt;

/// How the values of a header field may stand (RFC 3261 §7.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One line, one value; a second line is a defect (RFC 4475 §3.3.8).
    Single,
    /// Comma-separated values, over any number of lines.
    List,
    /// Any number of lines, each one value; commas mean nothing (challenges, credentials, free text). Here stand also
    /// those that the grammar wants once but whose doubling deceives nobody: the first counts.
    Lines,
}

macro_rules! headers {
    ($($(#[$doc:meta])* $id:ident $name:literal $shape:ident;)*) => {
        /// A header field with a known name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Header {
            $(#[doc = concat!("`", $name, "`")] $(#[$doc])* $id,)*
        }

        impl Header {
            /// All known header fields.
            pub const ALL: &'static [Header] = &[$(Header::$id,)*];

            /// The name in its long form, as written by us.
            pub const fn name(self) -> &'static str {
                match self { $(Header::$id => $name,)* }
            }

            const fn shape(self) -> Shape {
                match self { $(Header::$id => Shape::$shape,)* }
            }
        }
    };
}

headers! {
    Via "Via" List;
    From "From" Single;
    To "To" Single;
    CallId "Call-ID" Single;
    CSeq "CSeq" Single;
    MaxForwards "Max-Forwards" Single;
    Contact "Contact" List;
    Route "Route" List;
    RecordRoute "Record-Route" List;
    Path "Path" List;
    ServiceRoute "Service-Route" List;
    Expires "Expires" Single;
    MinExpires "Min-Expires" Single;
    SessionExpires "Session-Expires" Single;
    MinSe "Min-SE" Single;
    ContentLength "Content-Length" Single;
    ContentType "Content-Type" Single;
    ContentEncoding "Content-Encoding" List;
    ContentDisposition "Content-Disposition" Lines;
    ContentLanguage "Content-Language" List;
    ContentId "Content-ID" Lines;
    MimeVersion "MIME-Version" Lines;
    Authorization "Authorization" Lines;
    ProxyAuthorization "Proxy-Authorization" Lines;
    WwwAuthenticate "WWW-Authenticate" Lines;
    ProxyAuthenticate "Proxy-Authenticate" Lines;
    AuthenticationInfo "Authentication-Info" Lines;
    Supported "Supported" List;
    Require "Require" List;
    ProxyRequire "Proxy-Require" List;
    Unsupported "Unsupported" List;
    Allow "Allow" List;
    AllowEvents "Allow-Events" List;
    Accept "Accept" List;
    AcceptEncoding "Accept-Encoding" List;
    AcceptLanguage "Accept-Language" List;
    AcceptContact "Accept-Contact" List;
    RejectContact "Reject-Contact" List;
    RequestDisposition "Request-Disposition" List;
    UserAgent "User-Agent" Lines;
    Server "Server" Lines;
    RetryAfter "Retry-After" Lines;
    Date "Date" Lines;
    Timestamp "Timestamp" Lines;
    Event "Event" Single;
    SubscriptionState "Subscription-State" Single;
    Reason "Reason" List;
    Warning "Warning" List;
    Subject "Subject" Lines;
    Organization "Organization" Lines;
    Priority "Priority" Lines;
    InReplyTo "In-Reply-To" List;
    ReplyTo "Reply-To" Lines;
    CallInfo "Call-Info" List;
    AlertInfo "Alert-Info" List;
    ErrorInfo "Error-Info" List;
    ReferTo "Refer-To" Single;
    ReferredBy "Referred-By" Single;
    ReferSub "Refer-Sub" Lines;
    Replaces "Replaces" Single;
    Join "Join" Single;
    RSeq "RSeq" Single;
    RAck "RAck" Single;
    SipETag "SIP-ETag" Single;
    SipIfMatch "SIP-If-Match" Single;
    Privacy "Privacy" Lines;
    Identity "Identity" Lines;
    PAssertedIdentity "P-Asserted-Identity" List;
    PPreferredIdentity "P-Preferred-Identity" List;
    PAssociatedUri "P-Associated-URI" List;
    RemotePartyId "Remote-Party-ID" List;
    Diversion "Diversion" List;
    HistoryInfo "History-Info" List;
    UserToUser "User-to-User" Lines;
    FlowTimer "Flow-Timer" Lines;
    AnswerMode "Answer-Mode" Lines;
    MaxBreadth "Max-Breadth" Lines;
    InfoPackage "Info-Package" Single;
    RecvInfo "Recv-Info" List;
}

impl Header {
    /// The header of that name, long or compact, in any case.
    pub fn parse(name: &str) -> Option<Header> {
        Header::of(name.as_bytes())
    }

    /// As [`Header::parse`], for the bytes of a message.
    pub(crate) fn of(name: &[u8]) -> Option<Header> {
        if let [letter] = name {
            return Header::of_compact(*letter);
        }
        // Candidates of one length are few; the first match is nearly always on the exact spelling.
        let same_length = BY_LENGTH.get(name.len())?;
        same_length
            .iter()
            .copied()
            .find(|header| header.name().as_bytes() == name)
            .or_else(|| same_length.iter().copied().find(|h| h.name().as_bytes().eq_ignore_ascii_case(name)))
    }

    /// Compact forms: RFC 3261 §7.3.3 and the registry of header fields.
    const fn of_compact(letter: u8) -> Option<Header> {
        Some(match letter.to_ascii_lowercase() {
            b'a' => Header::AcceptContact,
            b'b' => Header::ReferredBy,
            b'c' => Header::ContentType,
            b'd' => Header::RequestDisposition,
            b'e' => Header::ContentEncoding,
            b'f' => Header::From,
            b'i' => Header::CallId,
            b'j' => Header::RejectContact,
            b'k' => Header::Supported,
            b'l' => Header::ContentLength,
            b'm' => Header::Contact,
            b'o' => Header::Event,
            b'r' => Header::ReferTo,
            b's' => Header::Subject,
            b't' => Header::To,
            b'u' => Header::AllowEvents,
            b'v' => Header::Via,
            b'x' => Header::SessionExpires,
            b'y' => Header::Identity,
            _ => return None,
        })
    }

    /// True when commas part the values of this header (RFC 3261 §7.3.1).
    pub const fn is_list(self) -> bool {
        matches!(self.shape(), Shape::List)
    }

    /// True when a message may carry this header once only; a second one is refused with 400.
    pub const fn is_single(self) -> bool {
        matches!(self.shape(), Shape::Single)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

// `Message::check_mandatory` keeps one bit for each.
const _: () = assert!(Header::ALL.len() <= 128);

const LONGEST: usize = 20;

/// Room for the most header names of one length.
const WIDEST: usize = 12;

/// The headers whose name has as many octets as the place in this table says.
static BY_LENGTH: [&[Header]; LONGEST + 1] = {
    const fn of_length<const LENGTH: usize>() -> ([Header; WIDEST], usize) {
        let mut found = [Header::Via; WIDEST];
        let (mut count, mut at) = (0, 0);
        while at < Header::ALL.len() {
            if Header::ALL[at].name().len() == LENGTH {
                found[count] = Header::ALL[at];
                count += 1;
            }
            at += 1;
        }
        (found, count)
    }
    macro_rules! table {
        ($($length:literal)*) => {
            [$({
                const FOUND: ([Header; WIDEST], usize) = of_length::<$length>();
                FOUND.0.split_at(FOUND.1).0
            },)*]
        };
    }
    table!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for header in Header::ALL {
            assert_eq!(Header::parse(header.name()), Some(*header));
            assert_eq!(Header::parse(&header.name().to_ascii_uppercase()), Some(*header));
            assert_eq!(Header::parse(&header.name().to_ascii_lowercase()), Some(*header));
        }
    }

    #[test]
    fn compact_names_mean_their_long_form() {
        for (short, long) in [("v", "Via"), ("F", "From"), ("t", "To"), ("i", "Call-ID"), ("m", "Contact")] {
            assert_eq!(Header::parse(short), Header::parse(long));
        }
        assert_eq!(Header::parse("l"), Some(Header::ContentLength));
        assert_eq!(Header::parse("q"), None);
    }

    #[test]
    fn names_that_only_look_alike_are_not_found() {
        for name in
            ["", "Vi", "Vias", "Call_ID", "Content-Lengt\u{212a}", "X-Very-Long-Header-Name-Of-Somebody"]
        {
            assert_eq!(Header::parse(name), None, "{name}");
        }
    }
}
