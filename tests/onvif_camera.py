"""A camera's side of ONVIF: it answers searches over UDP and requests over HTTP, and checks the digest of a password.

As a program, it makes two cameras in a network of their own and searches for them there (`tests/tools/onvif`).
"""

import base64
import contextlib
import datetime
import hashlib
import http.server
import re
import socket
import struct
import subprocess
import sys
import threading
import urllib.request

SOAP = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tt="http://www.onvif.org/ver10/schema">{}</s:Envelope>'
FAULT = (
    "<s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode>"
    "</s:Code><s:Reason><s:Text>Sender not Authorized</s:Text></s:Reason></s:Fault></s:Body>"
)
PROFILES = (("main", "MainStream", 1920, 1080, 25), ("sub", "SubStream", 640, 360, 15), ("tiny", "Third", 320, 180, 5))


class OnvifCamera:
    def __init__(self, host="127.0.0.1", user=None, clock_ahead_s=0, group=None):
        """`user`: name and password; `clock_ahead_s`: how wrong its clock is; `group`: answers searches there."""
        self.user, self.clock_ahead_s = user, clock_ahead_s
        self.asked = []
        """Names of the requests."""
        self.stream = "rtsp://{host}:554/{name}?profile=1"
        self.replaced = {}
        """Answers (bytes) instead of the usual ones, by the name of the request."""
        self.bodies = []
        self.challenge = None
        """The digest of HTTP that is asked for instead of a token: `MD5`, `SHA-256`, or `old` for one without qop."""
        self.used = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if outer.challenge is not None and "GetSystemDateAndTime" not in body and not outer.allows(self):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.send_header("WWW-Authenticate", outer.challenges())
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                status, answer = outer.answer(body)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.host, self.port = self._server.server_address
        self.service = f"http://{host}:{self.port}/onvif/device_service"
        self.given_addresses = f"http://192.0.2.7/onvif/device_service {self.service}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.searched = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.searched.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if group is None:
            self.searched.bind((host, 0))
        else:
            self.searched.bind(group)
            membership = struct.pack("=4s4s", socket.inet_aton(group[0]), socket.inet_aton(host))
            self.searched.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        threading.Thread(target=self._answer_searches, daemon=True).start()

    def _answer_searches(self):
        with contextlib.suppress(OSError):
            while True:
                probe, sender = self.searched.recvfrom(65536)
                message = re.search(r"MessageID>([^<]+)<", probe.decode())
                if message is None:  # closed
                    return
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering:
                    answering.bind((self.host, 0))
                    answering.sendto(self.found(message[1]), sender)

    def found(self, message):
        return SOAP.format(
            f'<s:Header><a:RelatesTo xmlns:a="x">{message}</a:RelatesTo></s:Header><s:Body>'
            '<d:ProbeMatches xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><d:ProbeMatch>'
            "<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder "
            "onvif://www.onvif.org/name/Front%20Door onvif://www.onvif.org/hardware/X100</d:Scopes>"
            f"<d:XAddrs>{self.given_addresses}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body>"
        ).encode()

    def answer(self, request):
        name = re.search(r"<s:Body><(\w+)", request)[1]
        self.asked.append(name)
        self.bodies.append(request)
        if name in self.replaced:
            return 200, self.replaced[name]
        needs_token = self.challenge is None and self.user is not None and name != "GetSystemDateAndTime"
        if needs_token and not self._is_allowed(request):
            return 400, SOAP.format(FAULT).encode()
        return 200, SOAP.format(f"<s:Body>{getattr(self, name)(request)}</s:Body>").encode()

    def challenges(self):
        old = 'Digest realm="a, b", nonce="5f2e", opaque="x=y"'
        return old if self.challenge == "old" else f'{old}, qop="auth-int,auth", algorithm={self.challenge}'

    def allows(self, request):
        """By RFC 7616, with the parser of Python's own client."""
        given = request.headers["Authorization"] or ""
        fields = urllib.request.parse_keqv_list(urllib.request.parse_http_list(given.partition(" ")[2]))
        kind = hashlib.sha256 if self.challenge == "SHA-256" else hashlib.md5

        def hashed(*parts):
            return kind(":".join(parts).encode()).hexdigest()

        middle = [] if self.challenge == "old" else [fields.get("nc", ""), fields.get("cnonce", ""), "auth"]
        secret, wanted = hashed(self.user[0], "a, b", self.user[1]), hashed("POST", request.path)
        return fields.get("response") == hashed(secret, "5f2e", *middle, wanted) and fields["opaque"] == "x=y"

    def _now(self):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.clock_ahead_s)

    def _is_allowed(self, request):
        found = re.search(
            r"<Username>(.*?)</Username><Password Type=\"[^\"]*#PasswordDigest\">(.*?)</Password>"
            r"<Nonce [^>]*>(.*?)</Nonce><Created [^>]*>(.*?)</Created>",
            request,
        )
        if not found or found[3] in self.used:
            return False
        self.used.add(found[3])
        created = datetime.datetime.strptime(found[4], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
        digest = hashlib.sha1(base64.b64decode(found[3]) + found[4].encode() + self.user[1].encode()).digest()
        is_recent = abs((created - self._now()).total_seconds()) < 30
        return found[1] == self.user[0] and base64.b64decode(found[2]) == digest and is_recent

    def GetSystemDateAndTime(self, request):
        now = self._now()
        return (
            "<tds:GetSystemDateAndTimeResponse xmlns:tds='x'><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time>"
            f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second></tt:Time>"
            f"<tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date>"
            "</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def GetCapabilities(self, request):
        return (
            "<tds:GetCapabilitiesResponse xmlns:tds='x'><tds:Capabilities><tt:Media>"
            f"<tt:XAddr>http://192.0.2.7:{self.port}/onvif/media</tt:XAddr></tt:Media></tds:Capabilities>"
            "</tds:GetCapabilitiesResponse>"
        )

    def GetProfiles(self, request):
        return "<r:GetProfilesResponse xmlns:r='x'>{}</r:GetProfilesResponse>".format(
            "".join(
                f"<r:Profiles token='{token}'><tt:Name>{name}</tt:Name><tt:VideoEncoderConfiguration>"
                f"<tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"
                f"</tt:Resolution><tt:RateControl><tt:FrameRateLimit>{fps}</tt:FrameRateLimit></tt:RateControl>"
                "</tt:VideoEncoderConfiguration></r:Profiles>"
                for token, name, width, height, fps in reversed(PROFILES)
            )
        )

    def GetStreamUri(self, request):
        token = re.search(r"<ProfileToken>(.*?)</ProfileToken>", request)[1]
        address = self.stream.format(host=self.host, name=token)
        return (
            f"<r:GetStreamUriResponse xmlns:r='x'><r:MediaUri><tt:Uri>{address}</tt:Uri></r:MediaUri>"
            "</r:GetStreamUriResponse>"
        )

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        with contextlib.suppress(OSError):
            self.searched.shutdown(socket.SHUT_RDWR)
        self.searched.close()


def main():
    """Two cameras, found by multicast; to be started where nothing but the loopback device exists."""
    group = ("239.255.255.250", 3702)
    for command in ("ip link set lo up multicast on", "ip route add 239.0.0.0/8 dev lo"):
        subprocess.run(command.split(), check=True)
    with contextlib.ExitStack() as stack:
        for host in ("127.0.0.1", "127.0.0.2"):
            stack.enter_context(contextlib.closing(OnvifCamera(host, user=("admin", "secret"), group=group)))
        return subprocess.run([sys.executable, "-m", "app", "cameras", *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
