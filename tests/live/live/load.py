"""A steady stream of REGISTERs whose every 200 is remembered."""

import hashlib
import re
import select
import socket
import threading
import time


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


class Registrations(threading.Thread):
    """Registers users one after the other at a rate, with digest and retransmissions as RFC 3261 §17.1.2 has them.

    `servers` are asked in turn; a user whose request is not answered goes to the next one, as a phone with
    two proxies does. `confirmed` maps each user that got a 200 to the contact it registered.
    """

    def __init__(self, servers, users, rate, host="127.0.3.1", again=False):
        super().__init__(daemon=True)
        self.servers, self.users, self.rate, self.again = servers, list(users), rate, again
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((host, 0))
        self.host, self.port = self.socket.getsockname()
        self.confirmed, self.statuses, self.pending = {}, {}, {}
        self.retry_after = []
        self.sent = 0
        self.stopping = threading.Event()

    def run(self):
        began, index = time.monotonic(), 0
        while not self.stopping.is_set():
            now = time.monotonic()
            while index < (now - began) * self.rate:
                if index >= len(self.users) and not self.again:
                    if not self.pending:
                        return
                    break
                self.begin(self.users[index % len(self.users)], index, now)
                index += 1
            readable, _, _ = select.select([self.socket], [], [], 0.002)
            while readable:
                try:
                    data = self.socket.recv(65535, socket.MSG_DONTWAIT)
                except (BlockingIOError, ConnectionError):
                    break
                self.answered(data.decode("utf-8", "replace"))
            for entry in [e for e in self.pending.values() if e["next"] <= now]:
                self.repeat(entry, now)

    def stop(self):
        """No new ones; those under way get three seconds."""
        deadline = time.monotonic() + 3
        self.users, self.again = [], False
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.stopping.set()
        self.join()
        self.socket.close()

    def begin(self, user, index, now):
        call_id = f"{user}-{index}@load"
        self.pending[call_id] = {
            "user": user, "call_id": call_id, "cseq": 0, "server": index % len(self.servers), "authorization": "",
            "contact": f"sip:{user}@{self.host}:{self.port};n={index}", "until": now + 16,
        }
        self.sent += 1
        self.transmit(self.pending[call_id], now)

    def transmit(self, entry, now):
        entry["cseq"] += 1
        entry["branch"] = f"z9hG4bK{entry['call_id'].split('@')[0]}-{entry['cseq']}"
        entry["interval"], entry["next"] = 0.5, now + 0.5
        self.write(entry)

    def write(self, entry):
        host, port = self.servers[entry["server"]]
        user = entry["user"]
        self.socket.sendto(
            (
                f"REGISTER sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP {self.host}:{self.port};branch={entry['branch']};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:{user}@{host}>;tag=f{user}\r\nTo: <sip:{user}@{host}>\r\n"
                f"Call-ID: {entry['call_id']}\r\nCSeq: {entry['cseq']} REGISTER\r\nContact: <{entry['contact']}>\r\n"
                f"Expires: 600\r\n{entry['authorization']}Content-Length: 0\r\n\r\n"
            ).encode(),
            (host, port),
        )

    def repeat(self, entry, now):
        if now > entry["until"]:
            self.pending.pop(entry["call_id"], None)
            self.statuses["timeout"] = self.statuses.get("timeout", 0) + 1
        elif entry["interval"] >= 2.0 and len(self.servers) > 1:
            entry["server"] = (entry["server"] + 1) % len(self.servers)
            entry["authorization"] = ""
            self.transmit(entry, now)
        else:
            entry["interval"] = min(4.0, entry["interval"] * 2)
            entry["next"] = now + entry["interval"]
            self.write(entry)

    def answered(self, text):
        call_id = re.search(r"(?im)^call-id:\s*(\S+)", text)
        status = int(text.split(" ", 2)[1])
        entry = self.pending.get(call_id[1]) if call_id else None
        cseq = re.search(r"(?im)^cseq:\s*(\d+)", text)
        if entry is None or status < 200 or int(cseq[1]) != entry["cseq"]:
            return
        if status == 401 and entry["cseq"] < 6:
            fields = dict(re.findall(r'(\w+)="?([^",\r]+)"?', re.search(r"(?im)^www-authenticate:.*$", text)[0]))
            uri = f"sip:{self.servers[entry['server']][0]}"
            ha1 = md5(f"{entry['user']}:{fields['realm']}:pw{entry['user']}")
            response = md5(f"{ha1}:{fields['nonce']}:00000001:c0:auth:{md5('REGISTER:' + uri)}")
            entry["authorization"] = (
                f'Authorization: Digest username="{entry["user"]}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", '
                f'uri="{uri}", response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c0"\r\n'
            )
            self.transmit(entry, time.monotonic())
            return
        if status == 200:
            self.confirmed[entry["user"]] = entry["contact"]
        elif (retry := re.search(r"(?im)^retry-after:\s*(\d+)", text)):
            self.retry_after.append(int(retry[1]))
        self.statuses[status] = self.statuses.get(status, 0) + 1
        del self.pending[call_id[1]]
