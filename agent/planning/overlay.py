"""The compose model as it will run here: names, images, labels, addresses, limits, health, and our variables.

Service names are never changed: `mysql` stays `mysql`. The result holds nothing that Compose would have to look up
again: no `build`, `env_file`, `include` or `extends`, no published port, no path but the checkout's and ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.model.environment import Environment
from agent.model.labels import BRANCH, INSTANCE, PROJECT, SERVICE, SLUG
from agent.model.names import Revision
from agent.model.release import BindMount, Condition, Dependency, Release, Reload, ServiceSpec
from agent.planning import mounts
from agent.planning.entry import choose_entry, is_public, ports_of
from agent.planning.findings import Findings
from agent.planning.health import is_checked, quick_healthcheck
from agent.planning.images import build_spec, image_tag
from agent.planning.policy import Checked
from agent.planning.quota import apply_quota, replicas
from agent.planning.standing import why_in_place
from agent.planning.units import duration, seconds
from agent.planning.watchrules import watch_rules

_LOGGING = {"driver": "local", "options": {"max-size": "10m", "max-file": "3"}}
_LONGEST_STOP_S = 60.0
_COPIED = (
    "cap_add",
    "cap_drop",
    "command",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "extra_hosts",
    "group_add",
    "devices",
    "gpus",
    "device_cgroup_rules",
    "hostname",
    "links",
    "network_mode",
    "platform",
    "read_only",
    "stdin_open",
    "stop_signal",
    "sysctls",
    "tmpfs",
    "tty",
    "user",
    "working_dir",
    "depends_on",
)
_NEWS = ("BUTAI_REVISION", "BUTAI_URL_")  # a database is not replaced because a sibling got a port
_NOT_IN_HASH = ("depends_on", "scale")  # they change nothing in a container that is there
# Their first process must have the number 1 itself.
_OWN_INIT = re.compile(r"(.*/)?linuxserver/.*|.*s6-overlay.*|phusion/.*|.*systemd.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Site:
    """Where and as what a checked model is to run. `identify` gives the content id of a path of the revision."""

    settings: Settings
    environment: Environment
    revision: Revision
    checkout_dir: Path
    files_dir: Path  # for the content of configs and secrets that are no files of the repository
    subnets: Mapping[str, IPv4Network]  # those networks of the model that have a place in the environment's block
    identify: Callable[[str], str]

    @property
    def stack(self) -> str:
        return f"{self.settings.instance}-{self.environment.slug}"

    @property
    def labels(self) -> dict[str, str]:
        return {
            INSTANCE: self.settings.instance,
            PROJECT: literal(self.environment.project),
            BRANCH: literal(self.environment.branch),
            SLUG: str(self.environment.slug),
        }


@dataclass(frozen=True, slots=True)
class Staged:
    """A release and the files that must be there before it is created: path -> content."""

    release: Release
    files: Mapping[Path, str]


def literal(text: str) -> str:
    """Text that Compose must not take for a substitution: a branch may be called `${HOME}`."""
    return text.replace("$", "$$")


def apply(checked: Checked, *, site: Site, findings: Findings) -> Staged:
    """The release of a checked model. Raises DeployError when no entry service can be told."""
    checked = dataclasses.replace(checked, services=_with_shared_builds(checked.services))
    environment = site.environment
    project = site.settings.projects[environment.project]
    entry, port = choose_entry(checked.services, checked.wish, project, branch=environment.branch)
    files = {_content_path(body["content"], site): body["content"] for body in _contents(checked)}
    builder = _Services(checked, site, findings, entry)
    model: dict[str, Any] = {
        "name": site.stack,
        "services": {name: builder.model(name) for name in checked.services},
        "networks": {name: _network(name, body, site) for name, body in checked.networks.items()},
        "volumes": {name: _named(name, body, site) for name, body in checked.volumes.items()},
        "configs": {name: _file(body, site) for name, body in checked.configs.items()},
        "secrets": {name: _file(body, site) for name, body in checked.secrets.items()},
    }
    release = Release(
        slug=environment.slug,
        stack=site.stack,
        revision=site.revision,
        services=tuple(builder.spec(name, model["services"]) for name in checked.services),
        model=model,
        networks=_own_networks(model, entry),
        volumes=tuple(body["name"] for body in model["volumes"].values() if not body.get("external")),
        entry_service=entry,
        entry_port=port,
        notices=findings.notices,
    )
    return Staged(release, files)


def _with_shared_builds(services: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """A service that only names the image which another one builds runs that image, as with Compose.

    Here it has a tag of its own, made by the same build: the second time every step is cached.
    """
    builds = {body["image"]: body["build"] for body in services.values() if body.get("build") and body.get("image")}
    return {
        name: {**body, "build": builds[body["image"]]}
        if not body.get("build") and body.get("image") in builds
        else body
        for name, body in services.items()
    }


class _Services:
    """Makes each service of the model and what the agent must know of it."""

    def __init__(self, checked: Checked, site: Site, findings: Findings, entry: str) -> None:
        self._checked = checked
        self._site = site
        self._findings = findings
        self._entry = entry
        self._one_shot = frozenset(
            name
            for service in checked.services.values()
            for name, needed in (service.get("depends_on") or {}).items()
            if needed.get("condition") == Condition.COMPLETED
        )
        self._urls = self._all_urls()

    def model(self, name: str) -> dict[str, Any]:
        """The service as Compose will create it."""
        service = self._checked.services[name]

        def note(text: str) -> None:
            self._findings.note(f"{name}: {text}")

        self._note_ports(name, service, note)
        model = {field: service[field] for field in _COPIED if service.get(field) not in (None, [], {}, "")}
        model |= apply_quota(service, self._site.settings.limits, note)
        model |= {
            "image": self._image(name, service),
            "restart": self._restart(name, service),
            "logging": _LOGGING,
            "healthcheck": quick_healthcheck(service.get("healthcheck") or {}),
            "labels": {**(service.get("labels") or {}), **self._site.labels, SERVICE: name},
            "environment": {**self._region(service), **(service.get("environment") or {}), **self._variables()},
            "security_opt": ["no-new-privileges:true", *(service.get("security_opt") or ())],
            "stop_grace_period": duration(self._grace_s(service)),
            "scale": replicas(service, self._site.settings.limits, note),
            "volumes": [self._mount(mount) for mount in service.get("volumes") or ()],
            "configs": list(service.get("configs") or ()),
            "secrets": list(service.get("secrets") or ()),
        }
        if "init" in service or not _OWN_INIT.fullmatch(str(service.get("image") or "")):
            model["init"] = service.get("init", True)
        if not model.get("network_mode"):
            model["networks"] = dict(service.get("networks") or {"default": None})
        if int(service.get("oom_score_adj") or 0) > 0:
            model["oom_score_adj"] = service["oom_score_adj"]
        return model

    def spec(self, name: str, models: Mapping[str, Mapping[str, Any]]) -> ServiceSpec:
        """What the agent must know of the service to build, start, swap and route it."""
        service, model = self._checked.services[name], models[name]
        binds = [mount for mount in service.get("volumes") or () if mount.get("kind")]
        branch = self._site.environment.branch  # the engine substitutes nothing
        return ServiceSpec(
            name=name,
            image=str(model["image"]),
            build=build_spec(service, labels={**self._site.labels, BRANCH: branch, SERVICE: name}),
            config_hash=self._hash(name, model, models),
            depends_on=tuple(
                Dependency(
                    other,
                    Condition(needed["condition"]),
                    required=bool(needed.get("required", True)),
                    restart=bool(needed.get("restart", False)),
                )
                for other, needed in sorted((service.get("depends_on") or {}).items())
                if other in models
            ),
            ports=ports_of(service),
            public=is_public(service),
            has_healthcheck=is_checked(service.get("healthcheck") or {}),
            one_shot=name in self._one_shot,
            replicas=int(model["scale"]),
            in_place=why_in_place(name, self._checked.services),
            bind_sources=tuple(dict.fromkeys(str(mount["source"]) for mount in binds)),
            stop_grace_s=self._grace_s(service),
            watch=watch_rules(service, lambda text: self._findings.note(f"{name}: {text}")),
            binds=self._binds(service),
            other_mounts=mounts.others_of(service),
            reload=self._checked.wish.reload.get(name, Reload.NONE),
        )

    def _binds(self, service: Mapping[str, Any]) -> tuple[BindMount, ...]:
        return mounts.binds_of(service, self._checked.configs, self._checked.secrets)

    def _image(self, name: str, service: Mapping[str, Any]) -> str:
        if not service.get("build"):
            return str(service.get("image", ""))
        return image_tag(self._site.settings.instance, self._site.environment.slug, name, self._site.revision)

    def _hash(self, name: str, model: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> str:
        """Of all that forces a new container. A mounted file counts: a checkout puts another in its place."""
        service, site = self._checked.services[name], self._site
        settled = {field: value for field, value in model.items() if field not in _NOT_IN_HASH}
        settled["environment"] = {k: v for k, v in model["environment"].items() if not k.startswith(_NEWS)}
        if service.get("build"):
            settled.pop("image")
        for grants, bodies in (("configs", self._checked.configs), ("secrets", self._checked.secrets)):
            used = [bodies.get(str(grant.get("source")), {}) for grant in service.get(grants) or ()]
            settled[grants] = [model[grants], [_file(body, site) for body in used]]
        files = {bind.source for bind in self._binds(service) if bind.is_file}
        settled["content"] = {path: site.identify(path) for path in sorted(files)}
        settled["salt"] = site.environment.salt
        shared = str(model.get("network_mode", "")).removeprefix("service:")
        if shared in models:  # a container keeps the network of the container that was there when it was made
            built = bool(self._checked.services[shared].get("build"))
            settled["shares"] = [self._hash(shared, models[shared], {}), str(site.revision) if built else ""]
        return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()

    def _restart(self, name: str, service: Mapping[str, Any]) -> str:
        asked = str(service.get("restart") or "")
        policy = (service.get("deploy") or {}).get("restart_policy") or {}
        if not asked and policy:
            attempts = policy.get("max_attempts")
            asked = {"none": "no", "on-failure": f"on-failure:{attempts or 10}"}.get(
                str(policy.get("condition")), "always"
            )
        if not asked:
            return "no" if name in self._one_shot else "on-failure:3"
        # `always` would wake a sleeping environment when the engine restarts; a crash loop needs an end.
        return {"always": "unless-stopped", "on-failure": "on-failure:10"}.get(asked, asked)

    def _grace_s(self, service: Mapping[str, Any]) -> float:
        return min(seconds(service.get("stop_grace_period"), 10.0), _LONGEST_STOP_S)

    def _mount(self, mount: Mapping[str, Any]) -> dict[str, Any]:
        model = {field: value for field, value in mount.items() if field != "kind"}
        if mount.get("kind"):
            model["source"] = literal(_joined(self._site.checkout_dir, str(mount["source"])))
        return model

    def _variables(self) -> dict[str, str]:
        environment = self._site.environment
        return {
            "BUTAI_URL": literal(self._urls[self._entry]),
            "BUTAI_BRANCH": literal(environment.branch),
            "BUTAI_REVISION": str(self._site.revision),
            **{f"BUTAI_URL_{_variable(name)}": literal(url) for name, url in self._urls.items()},
        }

    def _region(self, service: Mapping[str, Any]) -> dict[str, str]:
        """Where a project with a role works; whoever names a region himself knows better, for all programs."""
        region = self._site.settings.projects[self._site.environment.project].region
        names = ("AWS_REGION", "AWS_DEFAULT_REGION")  # for most of Amazon's libraries, and for boto3
        said = service.get("environment") or {}
        return {} if not region or any(name in said for name in names) else dict.fromkeys(names, region)

    def _all_urls(self) -> dict[str, str]:
        settings, slug = self._site.settings, self._site.environment.slug
        urls = {
            name: settings.url(settings.hostname(slug, name))
            for name, service in self._checked.services.items()
            if is_public(service)
        }
        return {**urls, self._entry: settings.url(settings.hostname(slug))}

    def _note_ports(self, name: str, service: Mapping[str, Any], note: Callable[[str], None]) -> None:
        published = sorted({str(port.get("published") or port["target"]) for port in service.get("ports") or ()})
        if not published:
            return
        plural = "s" if len(published) > 1 else ""
        what = f"published port{plural} {', '.join(published)} removed"
        targets = ports_of(service)
        if name in self._urls:
            note(f"{what}: it answers at {self._urls[name]}")
        else:
            note(f"{what}: other services reach it as {name}:{targets[0] if targets else published[0]}.")


def _own_networks(model: Mapping[str, Any], entry: str) -> tuple[str, ...]:
    first = list(model["services"][entry].get("networks") or ())
    keys = [*first, *(key for key in model["networks"] if key not in first)]
    bodies = [model["networks"].get(key) or {} for key in keys]
    return tuple(body["name"] for body in bodies if body and not body.get("external"))


def _named(name: str, body: Mapping[str, Any], site: Site) -> dict[str, Any]:
    if body.get("external"):
        return dict(body)
    return {**body, "name": f"{site.stack}_{name}", "labels": {**(body.get("labels") or {}), **site.labels}}


def _network(name: str, body: Mapping[str, Any], site: Site) -> dict[str, Any]:
    model = _named(name, body, site)
    if name in site.subnets and not body.get("external"):
        model["ipam"] = {"config": [{"subnet": str(site.subnets[name])}]}
    return model


def _contents(checked: Checked) -> list[Mapping[str, Any]]:
    return [body for bodies in (checked.configs, checked.secrets) for body in bodies.values() if "content" in body]


def _file(body: Mapping[str, Any], site: Site) -> dict[str, Any]:
    if "content" in body:
        return {"file": literal(str(_content_path(body["content"], site)))}
    return {"file": literal(_joined(site.checkout_dir, str(body.get("file", ""))))}


def _content_path(content: str, site: Site) -> Path:
    return site.files_dir / hashlib.sha256(content.encode()).hexdigest()[:32]


def _joined(root: Path, path: str) -> str:
    return str(root) if path == "." else str(root / path)


def _variable(service: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", service.upper())
