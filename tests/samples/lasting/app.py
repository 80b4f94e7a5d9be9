"""Pages, a download of `?s=` seconds in pieces, and a WebSocket that sends back what it gets."""

import base64
import hashlib
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PIECES = 10
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "one"


class Lasting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/slow":
            self.download(float(parse_qs(address.query)["s"][0]))
        elif address.path == "/live":
            self.echo()
        elif address.path == "/version":
            self.say(VERSION.encode())
        else:
            self.say(Path("www/index.html").read_bytes())

    def say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def download(self, seconds: float) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(PIECES))
        self.end_headers()
        for _ in range(PIECES):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(seconds / PIECES)

    def echo(self) -> None:
        """RFC 6455 as far as short text frames go."""
        answer = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + MAGIC).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(answer).decode())
        self.end_headers()
        while head := self.rfile.read(2):
            mask = self.rfile.read(4)
            text = self.rfile.read(head[1] & 0x7F)
            clear = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
            self.wfile.write(struct.pack("BB", 0x81, len(clear)) + clear)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


Server(("0.0.0.0", 8080), Lasting).serve_forever()
