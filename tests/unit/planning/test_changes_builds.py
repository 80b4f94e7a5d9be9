"""What each change of a push means to services that build images and mount the checkout, as the plan prints it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model.release import Reload
from tests.support.changing import AGAIN, API, BUILD, DB, DEV, PHP, THERE, WEB, Case, built, case, mount, rule
from tests.support.plans import service

BUILDS = (
    case("a build input", API, "M api/main.go", plan=BUILD.format("api", "api/main.go")),
    case("a deleted build input", API, "D api/main.go", plan=BUILD.format("api", "api/main.go")),
    case("a mode of a build input", API, "x api/run.sh", plan=BUILD.format("api", "api/run.sh")),
    case("outside of the context", API, "M web/main.go", plan="web/main.go: no service uses it"),
    case("a folder whose name begins like the context", API, "M api2/main.go", plan="api2/main.go: no service uses it"),
    case(
        "left out of the context",
        API,
        "M api/README.md",
        dockerignore="*.md",
        plan="nothing for api\n  api/README.md: left out by .dockerignore",
    ),
    case(
        "taken back into the context",
        API,
        "M api/README.md",
        dockerignore="*.md\n!README.md",
        plan=BUILD.format("api", "api/README.md"),
    ),
    case("the Dockerfile", API, "M api/Dockerfile", plan="rebuild api\n  api/Dockerfile: the image is made by it"),
    case(
        "a Dockerfile that .dockerignore names",
        API,
        "M api/Dockerfile",
        dockerignore="Dockerfile",
        plan="rebuild api\n  api/Dockerfile: the image is made by it",
    ),
    case(
        "a Dockerfile of another name",
        built("x", build={"dockerfile": "docker/dev.Dockerfile"}),
        "M docker/dev.Dockerfile",
        plan="rebuild x\n  docker/dev.Dockerfile: the image is made by it",
    ),
    case(
        "a Dockerfile beside the context",
        built("x", context="x", build={"dockerfile": "../ops/Dockerfile"}),
        "M ops/Dockerfile",
        plan="rebuild x\n  ops/Dockerfile: the image is made by it",
    ),
    case(
        "a Dockerfile under a rule that copies it",
        built("x", rule("sync . -> /srv")),
        "M Dockerfile",
        plan="rebuild x\n  Dockerfile: the image is made by it",
    ),
    case("a Dockerfile in a mount", DEV, "M Dockerfile", plan="rebuild dev\n  Dockerfile: the image is made by it"),
    case(
        "a Dockerfile that the compose file replaces",
        built("x", context="x", build={"inline": "FROM a"}),
        "M x/Dockerfile",
        dockerignore="Dockerfile",
        plan="nothing for x\n  x/Dockerfile: left out by .dockerignore",
    ),
    case(
        "another's Dockerfile",
        (API, built("web", context="web")),
        "M api/Dockerfile",
        plan="rebuild api\n  api/Dockerfile: the image is made by it",
    ),
    case(".dockerignore", API, "M api/.dockerignore", plan="rebuild api\n  api/.dockerignore: the image is made by it"),
    case("a new .dockerignore", DEV, "A .dockerignore", plan="rebuild dev\n  .dockerignore: the image is made by it"),
    case(
        "a .dockerignore that goes",
        WEB,
        "D .dockerignore",
        plan="rebuild web\n  .dockerignore: the image is made by it",
    ),
    case(
        "a .dockerignore that is none",
        built("x", build={"dockerfile": "Dockerfile"}),
        "M sub/.dockerignore",
        plan=BUILD.format("x", "sub/.dockerignore"),
    ),
    case(
        "the ignore file of one Dockerfile",
        built("x", build={"dockerfile": "a/Dockerfile"}),
        "M a/Dockerfile.dockerignore",
        plan="rebuild x\n  a/Dockerfile.dockerignore: the image is made by it",
    ),
    case(
        "an additional context",
        built("x", context="x", build={"raw": {"additional_contexts": {"lib": "lib"}}}),
        "M lib/a",
        plan=BUILD.format("x", "lib/a"),
    ),
    case(
        "an additional context from elsewhere",
        built("x", context="x", build={"raw": {"additional_contexts": {"lib": "docker-image://a"}}}),
        "M lib/a",
        plan="lib/a: no service uses it",
    ),
    case(
        "two services of one context",
        (built("web"), built("worker")),
        "M a",
        plan=BUILD.format("web", "a") + "\n" + BUILD.format("worker", "a"),
    ),
    case("a service that builds nothing", service("cache"), "M a", plan="a: no service uses it"),
)

MODEL = (
    case("the compose file", API, "M compose.yaml", plan="compose.yaml: the compose model is read again"),
    case("an env file", API, "M .env", plan=".env: the compose model is read again"),
    case("an env file that goes", API, "D .env", plan=".env: the compose model is read again"),
    case(
        "the compose file, where it is in the image",
        WEB,
        "M compose.yaml",
        plan=AGAIN.format("compose.yaml") + BUILD.format("web", "compose.yaml"),
    ),
    case(
        "the compose file beside source",
        WEB,
        "M .env",
        "M app/a",
        dockerignore=".env",
        plan=AGAIN.format(".env")
        + "sync 1 file to web\n  .env: left out by .dockerignore\n  app/a: watch rule ./app -> /srv/app",
    ),
    case("a compose file that nobody reads", API, "M old/compose.yaml", plan="old/compose.yaml: no service uses it"),
    case("no change at all", (WEB, API, DB), plan="nothing to do"),
)

MOUNTED = (
    case(
        "source in a mounted folder",
        PHP,
        "M src/a.php",
        plan="check out 1 file that php mounts\n  src/a.php: already there: the checkout is mounted at /var/www/html",
    ),
    case(
        "source that is deleted there",
        PHP,
        "D src/a.php",
        folders=("src",),
        plan="check out 1 file that php mounts\n  src/a.php: already there: the checkout is mounted at /var/www/html",
    ),
    case(
        "the last file of a mounted folder: git removes the folder, the mount keeps what was there",
        PHP,
        "D src/a.php",
        plan="recreate php\n"
        "  src/a.php: the folder that is mounted at /var/www/html is gone\n"
        "  src/a.php: already there: the checkout is mounted at /var/www/html",
    ),
    case(
        "the last file of a folder inside of what is mounted",
        PHP,
        "D src/sub/a.php",
        folders=("src",),
        plan="check out 1 file that php mounts\n"
        "  src/sub/a.php: already there: the checkout is mounted at /var/www/html",
    ),
    case("the root of the checkout never goes", DEV, "D x", dockerfiles={"dev": "FROM a"}, plan=THERE.format("x")),
    case(
        "a mounted file",
        PHP,
        "M php.ini",
        plan="recreate php\n  php.ini: it is mounted at /etc/php.ini, and a checkout replaces it",
    ),
    case(
        "a mounted file that goes",
        PHP,
        "D php.ini",
        plan="recreate php\n  php.ini: it is mounted at /etc/php.ini, and a checkout replaces it",
    ),
    case(
        "a mounted file's mode",
        PHP,
        "x php.ini",
        plan="recreate php\n  php.ini: it is mounted at /etc/php.ini, and a checkout replaces it",
    ),
    case(
        "a mounted folder that becomes a file",
        DB,
        "A sql",
        "D sql/a.sql",
        plan="recreate db\n"
        "  sql: it is mounted at /docker-entrypoint-initdb.d, and a checkout replaces it\n"
        "  sql/a.sql: the folder that is mounted at /docker-entrypoint-initdb.d is gone\n"
        "  sql/a.sql: already there: the checkout is mounted at /docker-entrypoint-initdb.d",
    ),
    case(
        "a mounted file and source at once",
        PHP,
        "M php.ini",
        "M src/a.php",
        plan="recreate php\n  php.ini: it is mounted at /etc/php.ini, and a checkout replaces it\n"
        "  src/a.php: already there: the checkout is mounted at /var/www/html",
    ),
    case(
        "a folder of which another service mounts a part",
        (PHP, DB),
        "M sql/a.sql",
        plan="check out 1 file that db mounts\n"
        "  sql/a.sql: already there: the checkout is mounted at /docker-entrypoint-initdb.d",
    ),
    case(
        "a service that must be started again",
        replace(PHP, reload=Reload.RESTART),
        "M src/a.php",
        plan="restart php\n  src/a.php: already there: the checkout is mounted at /var/www/html",
    ),
    case(
        "a service that must be started again, and nothing of it changed",
        replace(PHP, reload=Reload.RESTART),
        "M x",
        plan="x: no service uses it",
    ),
    case(
        "a new container needs no restart",
        replace(PHP, reload=Reload.RESTART),
        "M php.ini",
        "M src/a",
        plan="recreate php\n  php.ini: it is mounted at /etc/php.ini, and a checkout replaces it\n"
        "  src/a: already there: the checkout is mounted at /var/www/html",
    ),
    case(
        "behind a volume",
        service("x", binds=(mount(". -> /app"),), other_mounts=("/app/var",)),
        "M var/a",
        plan="nothing for x\n  var/a: mounted, but hidden by another mount",
    ),
    case(
        "two mounts of one folder, one of them hidden",
        service("x", binds=(mount(". -> /app"), mount("./var -> /var")), other_mounts=("/app/var",)),
        "M var/a",
        plan="check out 1 file that x mounts\n  var/a: already there: the checkout is mounted at /var",
    ),
    case(
        "a mounted file under a rule that copies a tree around it",
        built("web", rule("sync ./app -> /srv/app"), binds=(mount("file ./app/conf -> /etc/conf"),)),
        "M app/conf",
        plan="recreate web and sync 1 file to it\n"
        "  app/conf: it is mounted at /etc/conf, and a checkout replaces it\n"
        "  app/conf: watch rule ./app -> /srv/app",
    ),
)


@pytest.mark.parametrize("given", BUILDS + MODEL + MOUNTED, ids=lambda given: given.title)
def test_the_cheapest_correct_thing_is_done_for(given: Case) -> None:
    assert given.decision == given.plan
