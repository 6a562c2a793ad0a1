"""REGISTER by digest: a thousand phones, wrong passwords, removal, TCP, IPv6."""

import hashlib
import re
import unittest

from live.conf import GENERAL, users
from live.edge import BOTH, Standalone, options
from live.phone import Phone
from live.sipp import Sipp, all_succeed, credentials

A, B = ("127.0.2.1", 5070), ("127.0.2.2", 5080)


def rows(numbers, local):
    return [(str(n), credentials(str(n)), f"{local[0]}:{local[1]}") for n in numbers]


def proof(phone, challenge, algorithm="MD5", make=hashlib.md5):
    """The answer to a challenge (RFC 7616 §3.4)."""
    hashed = lambda text: make(text.encode()).hexdigest()
    realm, nonce = (re.search(rf'{name}="([^"]+)"', challenge)[1] for name in ("realm", "nonce"))
    uri = f"sip:{phone.domain}"
    ha1, ha2 = hashed(f"{phone.user}:{realm}:{phone.secret}"), hashed(f"REGISTER:{uri}")
    response = hashed(f"{ha1}:{nonce}:00000001:c:auth:{ha2}")
    return (f'Digest username="{phone.user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
            f'algorithm={algorithm}, qop=auth, nc=00000001, cnonce="c"')


class Register(unittest.TestCase):
    def test_a_thousand_users_register_and_leave(self):
        for shape in BOTH:
            with self.subTest(shape.kind), shape(users(10000, 1000)) as edge:
                numbers = range(10000, 11000)
                half = [Sipp("register", edge.ways_in[i], local, rows(part, local), calls=500, rate=250)
                        for i, (local, part) in enumerate(((A, numbers[:500]), (B, numbers[500:])))]
                for sipp in half:
                    sipp.start()
                for sipp in half:
                    all_succeed(self, sipp, 500)
                table = edge.sip("show", "peers").splitlines()
                self.assertEqual(len(table), 1002, table[:3])
                self.assertEqual(sum("127.0.2." in line for line in table), 1000)
                self.assertTrue(table[-1].startswith("1000 sip peers"), table[-1])
                all_succeed(self, Sipp("unregister", edge.ways_in[1], A, rows(numbers[:500], A), calls=500, rate=250), 500)
                table = edge.sip("show", "peers").splitlines()
                self.assertEqual(sum("127.0.2." in line for line in table), 500)
                self.assertEqual(edge.panics(), [])

    def test_wrong_password_and_unknown_user_look_alike(self):
        for shape in BOTH:
            with self.subTest(shape.kind), shape(users(2001, 1)) as edge:
                with Phone("2001", edge.ways_in[0], secret="wrong") as wrong, Phone("9999", edge.ways_in[0]) as unknown:
                    answers = [p.register(expect=None) for p in (wrong, unknown)]
                    self.assertEqual(answers[0].first_line, answers[1].first_line)
                    self.assertIn(answers[0].status, (401, 403))
                    names = [[line.split(":")[0] for line in a.lines if line] for a in answers]
                    self.assertEqual(names[0], names[1])
                    self.assertIn("(Unspecified)", edge.sip("show", "peers"))

    def test_the_200_echoes_the_contact_with_the_time_it_has_left(self):
        with Standalone(users(2001, 1)) as edge, Phone("2001", edge.ways_in[0]) as phone:
            contact = f'"Ann, at home" <sip:2001@{phone.at};x=%41>;q=0.5;+sip.instance="<urn:uuid:0>"'
            ok = phone.register(expires=300, contact=contact)
            self.assertTrue(ok.header("Contact").startswith(contact + ";expires="), ok.header("Contact"))
            self.assertIn(int(ok.header("Contact").rsplit("=", 1)[1]), range(295, 301))

    def test_one_contact_replaces_the_other_unless_more_are_allowed(self):
        conf = users(2001, 1) + "\n[2002](phone)\nsecret=pw2002\nmax_contacts=2\n"
        with Standalone(conf) as edge:
            for user, wanted in (("2001", 1), ("2002", 2)):
                with Phone(user, edge.ways_in[0]) as one, Phone(user, edge.ways_in[0]) as two:
                    one.register()
                    ok = two.register()
                    self.assertEqual(len(ok.headers("Contact")), wanted, user)

    def test_too_brief_is_told_with_the_least_time(self):
        general = GENERAL + "minexpiry=60\nmaxexpiry=3600\n"
        with Standalone(users(2001, 1, general)) as edge, Phone("2001", edge.ways_in[0]) as phone:
            brief = phone.register(expires=5, expect=423)
            self.assertEqual(brief.header("Min-Expires"), "60")

    def test_a_star_removes_all(self):
        with Standalone(users(2001, 1)) as edge, Phone("2001", edge.ways_in[0]) as phone:
            phone.register()
            self.assertEqual(phone.register(expires=60, contact="*", expect=None).status, 400)
            ok = phone.register(expires=0, contact="*")
            self.assertEqual(ok.headers("Contact"), [])

    def test_every_algorithm_that_is_offered_is_taken_once(self):
        hashes = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256, "SHA-512-256": lambda text: hashlib.new("sha512_256", text)}
        general = GENERAL + "auth_algorithms=MD5,SHA-256,SHA-512-256\n"
        with Standalone(users(2001, 1, general)) as edge, Phone("2001", edge.ways_in[0]) as phone:
            offered = self.ask(phone).headers("WWW-Authenticate")
            names = [re.search(r"algorithm=([^,]+)", value)[1] for value in offered]
            # RFC 8760 §2.4: the one that is liked best comes first.
            self.assertEqual(names, ["SHA-512-256", "SHA-256", "MD5"])
            self.assertEqual(len({re.search(r'nonce="([^"]+)"', value)[1] for value in offered}), 1)
            for name, make in hashes.items():
                challenge = self.ask(phone)
                answer = proof(phone, challenge.header("WWW-Authenticate"), name, make)
                self.assertEqual(self.ask(phone, answer).status, 200, name)
                again = self.ask(phone, answer)
                self.assertEqual((again.status, "stale=true" in again.header("WWW-Authenticate")), (401, True), name)

    def test_a_path_is_kept_where_the_phone_knows_what_it_is(self):
        with Standalone(users(2001, 1, GENERAL + "supportpath=yes\n")) as edge, Phone("2001", edge.ways_in[0]) as phone:
            path = ("Path", "<sip:127.0.2.9;lr>")
            refused = self.ask(phone, proof(phone, self.ask(phone).header("WWW-Authenticate")), path, ("Contact", phone.contact))
            # RFC 3327 §5.3, RFC 3261 §21.4.16
            self.assertEqual((refused.status, refused.header("Require")), (421, "path"))
            more = (path, ("Supported", "path"), ("Contact", phone.contact))
            ok = self.ask(phone, proof(phone, self.ask(phone).header("WWW-Authenticate")), *more)
            self.assertEqual((ok.status, ok.header("Path")), (200, path[1]))

    def ask(self, phone, authorization=None, *more):
        """A REGISTER with as much as the test wants."""
        phone.cseq += 1
        me = f"<sip:{phone.user}@{phone.domain}>"
        headers = [("Max-Forwards", "70"), ("From", f"{me};tag=t"), ("To", me), ("Call-ID", phone.register_id),
                   ("CSeq", f"{phone.cseq} REGISTER"), *more]
        if authorization:
            headers.append(("Authorization", authorization))
        phone.request("REGISTER", f"sip:{phone.domain}", headers)
        return phone.final("REGISTER")

    def test_by_tcp_and_by_ipv6(self):
        with Standalone(users(2001, 2), more=("--listen", "udp:[::1]:5060", "--listen", "tcp:[::1]:5060")) as edge:
            self.assertEqual(options(("::1", 5060)), 200)
            for user, server, host, transport in (
                ("2001", edge.ways_in[0], "127.0.2.1", "tcp"),
                ("2001", ("::1", 5060), "::1", "tcp"),
                ("2002", ("::1", 5060), "::1", "udp"),
            ):
                with Phone(user, server, host, transport=transport) as phone:
                    phone.register()
            self.assertIn("::1", edge.sip("show", "peers"))

    def test_a_keep_alive_is_answered_with_a_pong(self):
        with Standalone(users(2001, 1)) as edge, Phone("2001", edge.ways_in[0], transport="tcp") as phone:
            phone.socket.sendall(b"\r\n\r\n")
            self.assertEqual(phone.socket.recv(16), b"\r\n")


if __name__ == "__main__":
    unittest.main()
