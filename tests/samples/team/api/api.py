"""The API: how many jobs there are, and a way to add one."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

VERSION = "one"
queue = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer({"ok": True})
        if self.path == "/add":
            queue.rpush("jobs", "job")
        return self.answer(
            {
                "version": VERSION,
                "schema": queue.get("schema"),
                "done": int(queue.get("done") or 0),
                "greeting": os.environ.get("GREETING"),
                "front": os.environ.get("BUTAI_URL_FRONT"),
            }
        )

    def answer(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("0.0.0.0", 8080), Api).serve_forever()
