"""Turns every text file into a page; pages whose text is unchanged come from the cache."""

import hashlib
import html
import shutil
import sys
from pathlib import Path

content, cache, out = (Path(argument) for argument in sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
cache.mkdir(parents=True, exist_ok=True)
for source in sorted(content.glob("*.txt")):
    text = source.read_text()
    cached = cache / hashlib.sha256(text.encode()).hexdigest()
    if not cached.exists():
        title, _, body = text.partition("\n")
        cached.write_text(f"<!doctype html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1><p>{html.escape(body)}</p>\n")
    shutil.copyfile(cached, out / f"{source.stem}.html")
    print(source.name, "->", f"{source.stem}.html")
