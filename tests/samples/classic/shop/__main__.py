"""A small shop: one page that counts visits in MariaDB, and notes that people leave. Reloads when its source changes."""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pymysql

from shop.page import HEADLINE

SOURCES = Path(__file__).parent


def connect():
    return pymysql.connect(
        host=os.environ["DB_HOST"],
        user=os.environ["MARIADB_USER"],
        password=os.environ["MARIADB_PASSWORD"],
        database=os.environ["MARIADB_DATABASE"],
        autocommit=True,
    )


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/health":
            return self.answer("ok\n", "text/plain")
        with connect() as database, database.cursor() as cursor:
            if url.path == "/note":
                cursor.execute("INSERT INTO notes (text) VALUES (%s)", (parse_qs(url.query)["text"][0],))
            cursor.execute("INSERT INTO visits () VALUES ()")
            cursor.execute("SELECT COUNT(*) FROM visits")
            visits = cursor.fetchone()[0]
            cursor.execute("SELECT text FROM notes ORDER BY id")
            notes = [row[0] for row in cursor.fetchall()]
        if url.path == "/state.json":
            names = ("BUTAI_URL", "BUTAI_BRANCH", "BUTAI_REVISION")
            state = {"headline": HEADLINE, "visits": visits, "notes": notes, **{name: os.getenv(name) for name in names}}
            return self.answer(json.dumps(state), "application/json")
        items = "".join(f"<li>{note}</li>" for note in notes)
        return self.answer(f"<h1>{HEADLINE}</h1><p>{visits} visits</p><ul>{items}</ul>\n", "text/html; charset=utf-8")

    def answer(self, text, kind):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        print("shop:", form % args, flush=True)


def restart_on_change():
    """What every development server does: run again when a source file changes."""
    seen = {path: path.stat().st_mtime_ns for path in SOURCES.glob("*.py")}
    while True:
        time.sleep(0.2)
        if {path: path.stat().st_mtime_ns for path in SOURCES.glob("*.py")} != seen:
            os.execv(sys.executable, [sys.executable, "-m", "shop"])


if __name__ == "__main__":
    threading.Thread(target=restart_on_change, daemon=True).start()
    print("shop: listening on port 8000", flush=True)
    ThreadingHTTPServer(("0.0.0.0", 8000), Shop).serve_forever()
