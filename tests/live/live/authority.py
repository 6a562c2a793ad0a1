"""Certificates of pods in folders, as Kubernetes mounts them."""

import os
import subprocess


class Authority:
    """Signs certificates; openssl does the work."""

    def __init__(self, folder, name):
        self.key, self.certificate = os.path.join(folder, f"{name}.key"), os.path.join(folder, f"{name}.crt")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign",
                "-keyout", self.key, "-out", self.certificate)

    def sign(self, folder, name, days=1):
        """tls.crt and tls.key for a DNS name."""
        key, request, extensions = (os.path.join(folder, file) for file in ("tls.key", "request", "extensions"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=pod",
                "-keyout", key, "-out", request)
        with open(extensions, "w") as f:
            f.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-days", str(days),
                "-extfile", extensions, "-out", os.path.join(folder, "tls.crt"))

    def pem(self):
        with open(self.certificate) as f:
            return f.read()


class Mounted:
    """A folder whose three files are links into a version that is swapped in one step."""

    def __init__(self, folder, name):
        self.folder, self.name, self.version = folder, name, 0
        os.makedirs(folder, exist_ok=True)

    def write(self, authority, trusted):
        """A new certificate of `authority`; `trusted` are those who may have signed others'."""
        self.version += 1
        version = f"..{self.version}"
        inner = os.path.join(self.folder, version)
        os.makedirs(inner)
        authority.sign(inner, self.name)
        with open(os.path.join(inner, "ca.crt"), "w") as f:
            f.write("".join(one.pem() for one in trusted))
        data = os.path.join(self.folder, "..data")
        os.symlink(version, data + "_next")
        os.rename(data + "_next", data)
        for file in ("tls.crt", "tls.key", "ca.crt"):
            link = os.path.join(self.folder, file)
            if not os.path.islink(link):
                os.symlink(f"..data/{file}", link)
        return self

    def path(self, file):
        return os.path.join(self.folder, file)


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)
