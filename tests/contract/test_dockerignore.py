"""Our reading of `.dockerignore` against Docker's own client, which is the only specification there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters import process
from agent.adapters.docker.ignore import Ignore, kept

pytestmark = pytest.mark.docker

FILES = (
    *("a.txt", "A.txt", "b.log", ".env", ".git/HEAD", "foo/bar/baz", "foo.bar", "fooXbar", "src.txt", "srcs/q"),
    *("src/a.txt", "src/b.log", "src/deep/a.txt", "src/deep/er/c.md", "src/node_modules/q.js"),
    *("docs/a.md", "docs/x/y/z.txt", "node_modules/p/i.js", "we ird/f", "[x]", "a+b/c"),
)
IGNORES = (
    "*.txt\n!a.txt\n",
    "**/*.txt\n!src/deep\n",
    "src\n!src/deep/er/c.md\n*.log\n",
    "**\n!src/**\nsrc/**/deep\n!**/er\n",
    "*\n!.env\n!docs/x\ndocs/x/y/z.txt\n",
    "# a comment\n\n  docs  \n! docs/a.md\n/foo/bar\n./b.log\nsrc/../srcs\n",
    "?.txt\n[ab].*\n!A*\nfoo?bar\n\\[x\\]\na+b\nwe ird\n",
    "**/node_modules\n!node_modules/p\nfoo**\n**src\n",
    "*/*\n!*/deep\n**/er/**\ns**c/a.txt\n",
    "**/**/a.txt\n!**/a.txt\nsrc/*\n.*\n",
)


@pytest.mark.parametrize("ignore", IGNORES)
def test_the_same_files_stay_out_as_with_docker_itself(tmp_path: Path, ignore: str) -> None:
    context, result = tmp_path / "context", tmp_path / "result"
    for name in FILES:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(name)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / "Dockerfile.dockerignore").write_text(ignore)
    argv = ["docker", "buildx", "build", "--file", str(tmp_path / "Dockerfile")]
    argv += ["--output", f"type=local,dest={result}", str(context)]
    done = process.run(argv, env=process.short_environment(HOME=str(tmp_path)), timeout_s=60)
    assert done.ok, done.complaint
    sent = {str(path.relative_to(result)) for path in result.rglob("*")}
    assert kept((str(path.relative_to(context)) for path in context.rglob("*")), Ignore(ignore)) == sent
