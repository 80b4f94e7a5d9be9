"""Takes jobs from the queue until it is stopped."""

import os

import redis

queue = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
print("worker: waiting for jobs", flush=True)
while True:
    if queue.blpop(["jobs"], timeout=1):
        queue.incr("done")
        print("worker: one job done", flush=True)
