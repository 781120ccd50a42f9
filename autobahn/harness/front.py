"""What can stand between the testee and the suite: TLS, and nginx as a reverse proxy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# For 127.0.0.1, and no authority: a client that trusts it trusts this one certificate.
CERTIFICATE = (
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
    "-days", "2", "-subj", "/CN=autobahn", "-addext", "subjectAltName=IP:127.0.0.1",
    "-addext", "basicConstraints=critical,CA:FALSE",
)

# One process, which ends with the run. The temporary folders are nginx's, which makes them at its start.
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{ssl};
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


class Unusable(Exception):
    """A program that this needs is missing or fails."""


class Certificate:
    """A certificate that is signed by itself, and its key, in files."""

    def __init__(self, folder: Path):
        self.chain = folder / "certificate.pem"
        self.key = folder / "key.pem"

    def make(self) -> None:
        command = (*CERTIFICATE, "-keyout", str(self.key), "-out", str(self.chain))
        try:
            made = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
            )
        except OSError as error:
            raise Unusable(f"openssl is missing: {error}") from error
        if made.returncode != 0:
            raise Unusable(f"openssl made no certificate: {made.stdout}")


def nginx(folder: Path, port: int, upstream: str, certificate: Certificate | None) -> tuple[str, ...]:
    """Writes the configuration of a reverse proxy, with TLS towards its clients if there is a certificate; gives the
    command that starts it."""
    ssl = ""
    if certificate:
        ssl = f" ssl; ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key}"
    path = folder / "nginx.conf"
    path.write_text(CONFIGURATION.format(folder=folder, port=port, upstream=upstream, ssl=ssl), encoding="utf-8")
    # Debian puts it where only the system's owner looks.
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return (program, "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(path))
