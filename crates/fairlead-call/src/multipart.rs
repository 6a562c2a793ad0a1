//! Finding a part of a multipart body (RFC 2046 §5.1, RFC 5621).

use std::ops::Range;

/// More parts than this are not looked at.
const MAX_PARTS: usize = 16;

/// Where the content of the first part of that media type is.
pub(crate) fn part(content_type: &str, body: &[u8], wanted: &str) -> Option<Range<usize>> {
    let params = &content_type[content_type.find(';')?..];
    let boundary = sip_wire::Params::find(params, "boundary")?;
    let boundary = sip_wire::unquote(boundary);
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let delimiter = format!("--{boundary}");
    let mut at = find(body, delimiter.as_bytes(), 0)?;
    for _ in 0..MAX_PARTS {
        let start = at + delimiter.len();
        if body.get(start..start + 2) == Some(b"--") {
            return None;
        }
        let head = find(body, b"\r\n", start)? + 2;
        let next = find(body, delimiter.as_bytes(), head)?;
        // The line end before the delimiter belongs to the delimiter.
        let end = next.saturating_sub(2).max(head);
        let (content, kind) = match body.get(head..head + 2) {
            Some(b"\r\n") => (head + 2, String::new()),
            _ => {
                let blank = find(body, b"\r\n\r\n", head).filter(|blank| *blank < next)?;
                (blank + 4, media_type(&body[head..blank]))
            }
        };
        if kind.eq_ignore_ascii_case(wanted) {
            return Some(content.min(end)..end);
        }
        at = next;
    }
    None
}

/// The media type that the head of a part names, without parameters.
fn media_type(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| {
            name.trim().eq_ignore_ascii_case("content-type") || name.trim().eq_ignore_ascii_case("c")
        })
        .map(|(_, value)| value.split(';').next().unwrap_or_default().trim().to_owned())
        .unwrap_or_default()
}

fn find(body: &[u8], what: &[u8], from: usize) -> Option<usize> {
    body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/mixed;boundary=\"b1\"";

    #[test]
    fn the_description_among_other_parts_is_found() {
        let body = b"--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: application/sdp; x=1\r\n\r\nv=0\r\n\r\n--b1--\r\n";
        let range = part(TYPE, body, "application/sdp").unwrap();
        assert_eq!(&body[range], b"v=0\r\n");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for body in [
            &b""[..],
            b"--b1",
            b"--b1--",
            b"--b1\r\n\r\nx",
            b"--b1\r\nContent-Type: application/sdp\r\n\r\nv=0",
        ] {
            assert_eq!(part(TYPE, body, "application/sdp"), None);
        }
        assert_eq!(part("multipart/mixed", b"--b1\r\n\r\n--b1--", "application/sdp"), None);
    }
}
