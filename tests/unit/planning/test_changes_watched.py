"""What each change of a push means to a service with `develop.watch` rules, as the plan prints it."""

from __future__ import annotations

import pytest

from tests.support.changing import AGAIN, API, BUILD, PHP, SYNC, WEB, Case, built, case, mount, rule
from tests.support.plans import service

WATCHED = (
    case("a changed file is synced", WEB, "M app/a.py", plan=SYNC.format("app/a.py")),
    case("a new file is synced", WEB, "A app/b/c.py", plan=SYNC.format("app/b/c.py")),
    case("a deleted file is deleted", WEB, "D app/a.py", plan=SYNC.format("app/a.py")),
    case("a mode is synced", WEB, "x app/run.sh", plan=SYNC.format("app/run.sh")),
    case(
        "a rename is a deletion and an addition",
        WEB,
        "D app/a.py",
        "A app/b.py",
        plan="sync 2 files to web\n  app/a.py, app/b.py: watch rule ./app -> /srv/app",
    ),
    case(
        "more than three paths are counted",
        WEB,
        *(f"M app/{n}.py" for n in range(5)),
        plan="sync 5 files to web\n  app/0.py, app/1.py, app/2.py and 2 more: watch rule ./app -> /srv/app",
    ),
    case("a name with a space and one beyond ASCII", WEB, "M app/日 本.py", plan=SYNC.format("app/日 本.py")),
    case(
        "a neighbour whose name begins the same is not under the rule",
        WEB,
        "M app2/a.py",
        plan=BUILD.format("web", "app2/a.py"),
    ),
    case(
        "sync+restart",
        WEB,
        "M config/a.toml",
        plan="sync 1 file to web and restart it\n  config/a.toml: watch rule ./config -> /srv/config (sync+restart)",
    ),
    case(
        "sync+exec runs its command once",
        WEB,
        "M css/a.css",
        "M css/b.css",
        plan="sync 2 files to web and run `npm run css`\n"
        "  css/a.css, css/b.css: watch rule ./css -> /srv/css (sync+exec)",
    ),
    case(
        "a rule that rebuilds",
        WEB,
        "M requirements.txt",
        plan="rebuild web\n  requirements.txt: watch rule ./requirements.txt (rebuild)",
    ),
    case(
        "one path that rebuilds makes the copies needless",
        WEB,
        "M requirements.txt",
        "M app/a.py",
        "M config/x",
        plan="rebuild web\n"
        "  app/a.py: watch rule ./app -> /srv/app\n"
        "  config/x: watch rule ./config -> /srv/config (sync+restart)\n"
        "  requirements.txt: watch rule ./requirements.txt (rebuild)",
    ),
    case(
        "a restart alone leaves the old file in the image, so it is built too",
        WEB,
        "M motd",
        plan="rebuild web\n  motd: watch rule ./motd (restart)\n  motd: it goes into the image",
    ),
    case(
        "a restart alone is enough for what the image does not hold",
        built("web", rule("restart ./motd"), context="web"),
        "M motd",
        plan="restart web\n  motd: watch rule ./motd (restart)",
    ),
    case(
        "a restart alone is enough for what is mounted",
        service("proxy", watch=(rule("restart ./nginx"),), binds=(mount("./nginx -> /etc/nginx"),)),
        "M nginx/site.conf",
        plan="restart proxy\n"
        "  nginx/site.conf: watch rule ./nginx (restart)\n"
        "  nginx/site.conf: already there: the checkout is mounted at /etc/nginx",
    ),
    case("what a rule ignores is still built", WEB, "M app/x.tmp", plan=BUILD.format("web", "app/x.tmp")),
    case(
        "an ignored folder, at the top of the rule's path",
        WEB,
        "A app/node_modules/a/b.js",
        plan=BUILD.format("web", "app/node_modules/a/b.js"),
    ),
    case(
        "a pattern without ** means the top only",
        WEB,
        "M app/sub/node_modules/b.js",
        plan=SYNC.format("app/sub/node_modules/b.js"),
    ),
    case(
        "what .dockerignore leaves out is under no rule",
        WEB,
        "M app/secret.env",
        dockerignore="**/*.env",
        plan="nothing for web\n  app/secret.env: left out by .dockerignore",
    ),
    case(
        "what .dockerignore takes back is under the rule",
        WEB,
        "M app/keep.env",
        dockerignore="**/*.env\n!app/keep.env",
        plan=SYNC.format("app/keep.env"),
    ),
    case(
        "include narrows a rule",
        built("web", rule("sync ./app -> /srv", include=("**/*.py",))),
        "M app/x/a.py",
        "M app/a.css",
        plan="rebuild web\n  app/a.css: it goes into the image\n  app/x/a.py: watch rule ./app -> /srv",
    ),
    case(
        "ignore beats include",
        built("web", rule("sync ./app -> /srv", include=("*.py",), ignore=("conf.py",))),
        "M app/conf.py",
        plan=BUILD.format("web", "app/conf.py"),
    ),
    case(
        "every rule that matches counts",
        built("web", rule("sync ./app -> /srv"), rule("sync+restart ./app/conf -> /srv/conf")),
        "M app/conf/a",
        plan="sync 1 file to web and restart it\n"
        "  app/conf/a: watch rule ./app/conf -> /srv/conf (sync+restart)\n"
        "  app/conf/a: watch rule ./app -> /srv",
    ),
    case(
        "a rule that rebuilds wins over one that copies, wherever it stands",
        built("web", rule("sync . -> /srv"), rule("rebuild ./package.json")),
        "M package.json",
        plan="rebuild web\n  package.json: watch rule ./package.json (rebuild)",
    ),
    case(
        "two rules may copy one file to two places",
        built("web", rule("sync ./a -> /x"), rule("sync ./a -> /y")),
        "M a/f",
        plan="sync 2 files to web\n  a/f: watch rule ./a -> /x\n  a/f: watch rule ./a -> /y",
    ),
    case(
        "two rules that copy two trees to one place",
        built("web", rule("sync ./a -> /x"), rule("sync ./b -> /x")),
        "D a/f",
        plan="rebuild web\n  a/f: watch rule ./a -> /x, but watch rule ./b -> /x means the same place",
    ),
    case(
        "a single file laid over a tree",
        built("web", rule("sync ./a -> /x"), rule("sync ./dev.py -> /x/settings.py")),
        "M a/settings.py",
        "M a/other.py",
        plan="rebuild web\n"
        "  a/other.py: watch rule ./a -> /x\n"
        "  a/settings.py: watch rule ./a -> /x, but watch rule ./dev.py -> /x/settings.py means the same place",
    ),
    case(
        "nested rules that agree do not disturb each other",
        built("web", rule("sync ./a -> /x"), rule("sync ./a/b -> /x/b")),
        "M a/b/f",
        plan="sync 1 file to web\n  a/b/f: watch rule ./a -> /x\n  a/b/f: watch rule ./a/b -> /x/b",
    ),
    case(
        "a rule for the whole repository",
        built("web", rule("sync . -> /srv")),
        "M a.py",
        "A deep/er/b.py",
        plan="sync 2 files to web\n  a.py, deep/er/b.py: watch rule . -> /srv",
    ),
    case(
        "a rule of one service says nothing for another",
        (WEB, built("worker")),
        "M app/a.py",
        plan=SYNC.format("app/a.py") + "\n" + BUILD.format("worker", "app/a.py"),
    ),
    case(
        "a rule outside of the build context is obeyed",
        built("web", rule("sync ./shared -> /srv/shared"), context="web"),
        "M shared/a.py",
        plan="sync 1 file to web\n  shared/a.py: watch rule ./shared -> /srv/shared",
    ),
    case(
        "a copy into a place where another folder is mounted",
        built("web", rule("sync ./app -> /srv/app"), binds=(mount("./other -> /srv/app/x"),)),
        "M app/x/a",
        "M app/b",
        plan="sync 1 file to web\n"
        "  app/b: watch rule ./app -> /srv/app\n"
        "  app/x/a: watch rule ./app -> /srv/app, where the checkout is mounted",
    ),
    case(
        "a copy of what is mounted there is not made, the restart is",
        built("web", rule("sync+restart ./app -> /srv/app"), binds=(mount("./app -> /srv/app"),)),
        "M app/a",
        plan="restart web\n"
        "  app/a: watch rule ./app -> /srv/app (sync+restart)\n"
        "  app/a: watch rule ./app -> /srv/app (sync+restart), where the checkout is mounted",
    ),
    case(
        "a copy into a volume is made: nothing else would bring it there",
        built("web", rule("sync ./app -> /srv/app"), other_mounts=("/srv/app",)),
        "M app/a",
        plan=SYNC.format("app/a"),
    ),
)

TYPES = (
    case("a new link that stays", WEB, "L app/now -> v2/x", plan=AGAIN.format("app/now") + SYNC.format("app/now")),
    case("a link upwards that stays", WEB, "L app/a/b -> ../c", plan=AGAIN.format("app/a/b") + SYNC.format("app/a/b")),
    case(
        "a link that leaves the rule's folder",
        WEB,
        "L app/x -> ../lib/y",
        plan=AGAIN.format("app/x")
        + "rebuild web\n  app/x: watch rule ./app -> /srv/app, but the link leaves that folder",
    ),
    case(
        "a link that leaves the repository",
        built("web", rule("sync . -> /srv")),
        "L x -> ../../etc/passwd",
        plan=AGAIN.format("x") + "rebuild web\n  x: watch rule . -> /srv, but the link leaves that folder",
    ),
    case(
        "an absolute link",
        WEB,
        "L app/x -> /srv/app/y",
        plan=AGAIN.format("app/x")
        + "rebuild web\n  app/x: watch rule ./app -> /srv/app, but the link leaves that folder",
    ),
    case("a file that becomes a link", WEB, "T app/x -> y", plan=AGAIN.format("app/x") + SYNC.format("app/x")),
    case("a link that becomes a file", WEB, "U app/x", plan=AGAIN.format("app/x") + SYNC.format("app/x")),
    case("a link that goes", WEB, "-L app/x", plan=AGAIN.format("app/x") + SYNC.format("app/x")),
    case(
        "a link that becomes a folder",
        WEB,
        "-L app/x",
        "A app/x/y",
        plan=AGAIN.format("app/x") + "sync 2 files to web\n  app/x, app/x/y: watch rule ./app -> /srv/app",
    ),
    case("a link in the image", API, "L api/x -> y", plan=AGAIN.format("api/x") + BUILD.format("api", "api/x")),
    case(
        "a link that nothing takes in may still be on the way to a mount",
        API,
        "L current -> v2",
        plan="current: the compose model is read again",
    ),
    case(
        "a file that becomes a folder",
        WEB,
        "D app/x",
        "A app/x/y",
        plan="sync 2 files to web\n  app/x, app/x/y: watch rule ./app -> /srv/app",
    ),
    case(
        "a folder that becomes a file",
        WEB,
        "A app/x",
        "D app/x/y",
        plan="rebuild web\n"
        "  app/x: watch rule ./app -> /srv/app, but a folder became a file\n"
        "  app/x/y: watch rule ./app -> /srv/app",
    ),
    case(
        "a folder that becomes a link",
        WEB,
        "L app/x -> z",
        "D app/x/y",
        plan=AGAIN.format("app/x") + "rebuild web\n"
        "  app/x: watch rule ./app -> /srv/app, but a folder became a file\n"
        "  app/x/y: watch rule ./app -> /srv/app",
    ),
    case("a submodule that moves", API, "G api/lib", plan="rebuild api\n  api/lib: a submodule"),
    case("a submodule that comes", API, "+G api/lib", plan="rebuild api\n  api/lib: a submodule"),
    case("a submodule that goes", API, "-G api/lib", plan="rebuild api\n  api/lib: a submodule"),
    case("a submodule that is the context", API, "G api", plan="rebuild api\n  api: a submodule"),
    case("a submodule that holds the context", built("x", context="v/x"), "G v", plan="rebuild x\n  v: a submodule"),
    case("a submodule under a watch rule", WEB, "G app/lib", plan="rebuild web\n  app/lib: a submodule"),
    case("a submodule elsewhere", API, "G lib", plan="lib: no service uses it"),
    case(
        "a submodule under a rule outside of the context",
        built("web", rule("sync ./lib -> /lib"), context="web"),
        "G lib/x",
        plan="rebuild web\n  lib/x: watch rule ./lib -> /lib, but it is a submodule",
    ),
    case(
        "a submodule in a mount",
        PHP,
        "G src/lib",
        plan="check out 1 file that php mounts\n  src/lib: already there: the checkout is mounted at /var/www/html",
    ),
)


@pytest.mark.parametrize("given", WATCHED + TYPES, ids=lambda given: given.title)
def test_what_the_rules_say_is_done_for(given: Case) -> None:
    assert given.decision == given.plan
