"""sip.conf files for the tests."""

GENERAL = """[general]
realm=fairlead
context=default
allowguest=no
alwaysauthreject=yes
"""


def users(first, count, general=GENERAL, template="type=friend\nhost=dynamic\nqualify=no\n", more=""):
    """`count` phones named by number, with secrets `pwNUMBER`."""
    text = general + "\n[phone](!)\n" + template + "\n" + more
    for number in range(first, first + count):
        text += f"\n[{number}](phone)\nsecret=pw{number}\n"
    return text
