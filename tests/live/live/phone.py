"""A phone of a few lines, for what SIPp cannot say: one message at a time, under the test's control."""

import hashlib
import re
import socket
import time


class Phone:
    """A UDP or TCP endpoint with an address of record and digest credentials."""

    def __init__(self, user, server, host="127.0.2.1", port=0, transport="udp", secret=None, timeout=5.0):
        self.user, self.secret, self.server = user, secret or "pw" + user, server
        self.domain = f"[{server[0]}]" if ":" in server[0] else server[0]
        self.transport = transport
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.settimeout(timeout)
        if transport == "tcp":
            self.socket.connect(server)
        self.host, self.port = self.socket.getsockname()[:2]
        self.buffer = b""
        self.count = 0
        self.cseq = 0
        self.register_id = self.token() + "@phone"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def token(self):
        self.count += 1
        return f"{time.monotonic_ns():x}{self.count:x}"

    @property
    def at(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def contact(self):
        return f"<sip:{self.user}@{self.at};transport={self.transport}>"

    def send(self, text, to=None):
        data = text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
        if self.transport == "udp":
            self.socket.sendto(data, to or self.server)
        else:
            self.socket.sendall(data)

    def receive(self, timeout=None):
        """The next message; None when none comes in time."""
        if timeout is not None:
            self.socket.settimeout(timeout)
        try:
            if self.transport == "udp":
                return Message(self.socket.recv(65535))
            while True:
                head = self.buffer.find(b"\r\n\r\n")
                if head >= 0:
                    length = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", self.buffer[:head])
                    end = head + 4 + int(length[1] if length else 0)
                    if len(self.buffer) >= end:
                        message, self.buffer = self.buffer[:end], self.buffer[end:]
                        return Message(message)
                more = self.socket.recv(65535)
                if not more:
                    return None
                self.buffer += more
        except TimeoutError:
            return None

    def expect(self, what, timeout=5.0):
        """Waits for a method or a status, passing over provisional responses and repeats of other kinds."""
        deadline = time.monotonic() + timeout
        seen = []
        while time.monotonic() < deadline:
            message = self.receive(max(0.01, deadline - time.monotonic()))
            if message is None:
                continue
            if message.method == what or message.status == what:
                return message
            seen.append(message.first_line)
        raise AssertionError(f"{self.user} expected {what}, saw {seen}")

    def request(self, method, uri, headers, body="", branch=None):
        branch = branch or "z9hG4bK" + self.token()
        text = f"{method} {uri} SIP/2.0\nVia: SIP/2.0/{self.transport.upper()} {self.at};branch={branch};rport\n"
        text += "".join(f"{name}: {value}\n" for name, value in headers)
        if body:
            text += "Content-Type: application/sdp\n"
        self.send(text + f"Content-Length: {len(body.replace(chr(10), chr(13) + chr(10)))}\n\n{body}")
        return branch

    def register(self, expires=3600, contact=None, call_id=None, expect=200):
        """REGISTER with digest; the final answer."""
        uri = f"sip:{self.domain}"
        tag = self.token()
        authorization = []
        for _ in range(3):
            self.cseq += 1
            headers = [
                ("Max-Forwards", "70"), ("From", f"<sip:{self.user}@{self.domain}>;tag={tag}"),
                ("To", f"<sip:{self.user}@{self.domain}>"), ("Call-ID", call_id or self.register_id),
                ("CSeq", f"{self.cseq} REGISTER"), ("Contact", contact or self.contact), ("Expires", str(expires)),
                *authorization,
            ]
            self.request("REGISTER", uri, headers)
            answer = self.final("REGISTER")
            if answer.status != 401 or expect == 401:
                break
            authorization = [("Authorization", self.digest(answer, "REGISTER", uri))]
        if expect is not None and answer.status != expect:
            raise AssertionError(f"REGISTER of {self.user}: {answer.first_line}, wanted {expect}")
        return answer

    def final(self, method, timeout=5.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = self.receive(max(0.01, deadline - time.monotonic()))
            if message and message.status >= 200 and message.header("CSeq").endswith(method):
                return message
        raise AssertionError(f"{self.user}: no final answer to {method}")

    def digest(self, challenge, method, uri):
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge.header("WWW-Authenticate") or challenge.header("Proxy-Authenticate")))
        md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
        ha1 = md5(f"{self.user}:{fields['realm']}:{self.secret}")
        ha2 = md5(f"{method}:{uri}")
        cnonce = self.token()
        if "qop" in fields:
            response = md5(f"{ha1}:{fields['nonce']}:00000001:{cnonce}:auth:{ha2}")
            tail = f', qop=auth, nc=00000001, cnonce="{cnonce}"'
        else:
            response, tail = md5(f"{ha1}:{fields['nonce']}:{ha2}"), ""
        return (
            f'Digest username="{self.user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", '
            f'uri="{uri}", response="{response}", algorithm=MD5{tail}'
        )

    def sdp(self, version=1, direction=None, port=40000):
        family = "IP6" if ":" in self.host else "IP4"
        lines = ["v=0", f"o=phone 1 {version} IN {family} {self.host}", "s=-", f"c=IN {family} {self.host}", "t=0 0",
                 f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000"]
        return "\n".join(lines + ([f"a={direction}"] if direction else [])) + "\n"

    def invite(self, callee, body=None):
        """Begins a call with digest. The call is returned once the authenticated INVITE is out."""
        return OutgoingCall(self, callee, body)

    def answer(self, request, status=200, phrase="OK", body="", tag=None, to=None):
        """Answers a request."""
        text = f"SIP/2.0 {status} {phrase}\n"
        for name in ("Via", "Record-Route"):
            text += "".join(f"{name}: {value}\n" for value in request.headers(name))
        to_value = request.header("To")
        if ";tag=" not in to_value:
            to_value += f";tag={tag or 't' + request.header('Call-ID')[:12]}"
        text += f"From: {request.header('From')}\nTo: {to_value}\nCall-ID: {request.header('Call-ID')}\n"
        text += f"CSeq: {request.header('CSeq')}\nContact: {self.contact}\n"
        if body:
            text += "Content-Type: application/sdp\n"
        self.send(text + f"Content-Length: {len(body.replace(chr(10), chr(13) + chr(10)))}\n\n{body}", to)

    def in_dialog(self, method, dialog, body="", cseq=None):
        """A request inside a dialog as the callee knows it: `dialog` is the INVITE it received."""
        uri = re.search(r"<([^>]+)>", dialog.header("Contact"))[1]
        to_value = dialog.header("To")
        headers = [
            ("Max-Forwards", "70"), ("From", f"{to_value};tag=t{dialog.header('Call-ID')[:12]}"),
            ("To", dialog.header("From")), ("Call-ID", dialog.header("Call-ID")),
            ("CSeq", f"{cseq or 1} {method}"), ("Contact", self.contact),
        ]
        self.request(method, uri, headers, body)


def other_tag(request):
    """The tag a phone of ours gave when it answered this dialog first."""
    found = re.search(r";tag=([^;>]+)", request.header("To"))
    return found[1] if found else None


class OutgoingCall:
    """The caller's side of one call."""

    def __init__(self, phone, callee, body=None):
        self.phone, self.callee = phone, callee
        self.body = phone.sdp() if body is None else body
        self.call_id, self.tag, self.cseq = phone.token() + "@call", phone.token(), 1
        self.uri = f"sip:{callee}@{phone.domain}"
        self.to = f"<{self.uri}>"
        self.remote = None
        branch = self.send_invite()
        challenge = phone.final("INVITE")
        self.ack(challenge, branch)
        if challenge.status == 401:
            self.cseq += 1
            self.branch = self.send_invite([("Authorization", phone.digest(challenge, "INVITE", self.uri))])
        else:
            self.first = challenge

    def headers(self, method):
        return [
            ("Max-Forwards", "70"), ("From", f"<sip:{self.phone.user}@{self.phone.domain}>;tag={self.tag}"),
            ("To", self.to), ("Call-ID", self.call_id), ("CSeq", f"{self.cseq} {method}"),
            ("Contact", self.phone.contact),
        ]

    def send_invite(self, more=(), body=None):
        return self.phone.request("INVITE", self.remote or self.uri, self.headers("INVITE") + list(more), self.body if body is None else body)

    def ack(self, response, branch=None):
        headers = self.headers("ACK")
        headers[2] = ("To", response.header("To"))
        self.phone.request("ACK", self.remote or self.uri, headers, branch=branch)

    def answered(self, timeout=10.0):
        """Waits for the 200 and acknowledges it."""
        ok = self.phone.expect(200, timeout)
        self.remote = re.search(r"<([^>]+)>", ok.header("Contact"))[1]
        self.to = ok.header("To")
        self.ack(ok)
        return ok

    def refused(self, status, timeout=10.0):
        final = self.phone.expect(status, timeout)
        self.ack(final, self.branch)
        return final

    def reinvite(self, body):
        self.cseq += 1
        self.send_invite(body=body)
        ok = self.phone.final("INVITE")
        self.ack(ok)
        return ok

    def reinvite_with(self, other, direction="sendonly"):
        """A re-INVITE that the other phone answers."""
        self.cseq += 1
        self.send_invite(body=self.phone.sdp(self.cseq, direction))
        request = other.expect("INVITE")
        other.answer(request, body=other.sdp(self.cseq, "recvonly" if direction == "sendonly" else None), tag=other_tag(request))
        ok = self.phone.final("INVITE")
        if ok.status != 200:
            raise AssertionError(f"re-INVITE: {ok.first_line}")
        self.ack(ok)
        other.expect("ACK")
        return request, ok

    def bye_with(self, other):
        """BYE that the other phone answers."""
        self.cseq += 1
        self.phone.request("BYE", self.remote, self.headers("BYE"))
        other.answer(other.expect("BYE"))
        final = self.phone.final("BYE")
        if final.status != 200:
            raise AssertionError(f"BYE: {final.first_line}")

    def bye(self, expect=200):
        self.cseq += 1
        self.phone.request("BYE", self.remote, self.headers("BYE"))
        final = self.phone.final("BYE")
        if final.status != expect:
            raise AssertionError(f"BYE: {final.first_line}")
        return final


class Message:
    """A message as it came, with just enough reading for a test."""

    def __init__(self, data):
        self.data = data
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        self.first_line, self.lines, self.body = lines[0], lines[1:], body.decode("utf-8", "replace")
        self.method = None if self.first_line.startswith("SIP/2.0") else self.first_line.split(" ")[0]
        self.status = int(self.first_line.split(" ")[1]) if self.method is None else 0

    def headers(self, name):
        return [v.strip() for k, _, v in (line.partition(":") for line in self.lines) if k.strip().lower() == name.lower()]

    def header(self, name):
        values = self.headers(name)
        return values[0] if values else None

    def __repr__(self):
        return self.first_line
