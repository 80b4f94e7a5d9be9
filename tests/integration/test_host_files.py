"""What stands in systemd/ for others to read: systemd, IAM, cloud-init and Terraform take it as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from agent import config

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "systemd"
EXPOSED_AT_MOST = 20  # tenths: among them the firewall's capability, and the mask that lets containers read checkouts


def program(name: str, *, in_ci: bool) -> str:
    found = shutil.which(name)
    if found is None and in_ci and os.environ.get("CI"):
        pytest.fail(f"{name} is missing, and CI has to run it")
    return found or pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("name", ["butai.service", "butai-wall.service"])
def test_systemd_takes_the_unit_without_a_word(tmp_path: Path, name: str) -> None:
    text = (SYSTEMD / name).read_text(encoding="utf-8")
    unit = tmp_path / name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text), encoding="utf-8")
    argv = [program("systemd-analyze", in_ci=True), "verify", "--man=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, name in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("name", ["butai.service", "butai-wall.service"])
def test_the_unit_is_as_closed_as_it_was(name: str) -> None:
    argv = [program("systemd-analyze", in_ci=True), "security", "--offline=true", f"--threshold={EXPOSED_AT_MOST}"]
    done = subprocess.run([*argv, SYSTEMD / name], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout


def statements(document: str) -> list[object]:
    text = (ROOT / "docs/how-to" / document).read_text(encoding="utf-8")
    [policy] = (block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if '"Statement"' in block)
    return list(json.loads(policy)["Statement"])


def test_the_policy_is_what_the_documents_say_and_no_more() -> None:
    policy = json.loads((SYSTEMD / "iam-policy.json").read_text(encoding="utf-8"))
    ours = [{key: value for key, value in one.items() if key != "Sid"} for one in policy["Statement"]]
    wanted = [*statements("dns.md"), *statements("certificates.md")]
    assert all(one in ours for one in wanted)
    assert all(one in wanted for one in ours)
    assert len({json.dumps(one) for one in ours}) == len(ours)


def test_every_change_in_the_policy_names_its_records() -> None:
    policy = json.loads((SYSTEMD / "iam-policy.json").read_text(encoding="utf-8"))
    for one in policy["Statement"]:
        if one["Action"] == "route53:ChangeResourceRecordSets":
            # ForAllValues is true of an empty set.
            assert one["Condition"]["Null"] == {"route53:ChangeResourceRecordSetsNormalizedRecordNames": "false"}
            assert len(one["Condition"]["ForAllValues:StringEquals"]) == 3


def test_the_user_data_holds_settings_that_the_agent_takes_and_runs_the_installer(tmp_path: Path) -> None:
    text = (SYSTEMD / "cloud-init.yaml").read_text(encoding="utf-8")
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    files = {one["path"]: one for one in data["write_files"]}
    path = tmp_path / "config.toml"
    path.write_text(files["/etc/butai/config.toml"]["content"], encoding="utf-8")
    settings = config.load(path)
    assert settings.dns is not None
    assert settings.traefik.acme is not None
    [script] = data["runcmd"]
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert "butai/systemd/install.sh" in script
    assert "sha256sum --check" in script


def test_terraform_would_write_its_files_the_same_way() -> None:
    argv = [program("terraform", in_ci=False), "fmt", "-check", "-diff", "-recursive", str(SYSTEMD / "terraform")]
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_terraform_asks_for_an_instance_whose_containers_reach_no_metadata() -> None:
    text = (SYSTEMD / "terraform/main.tf").read_text(encoding="utf-8")
    assert re.search(r'^\s+http_tokens\s+= "required"$', text, re.MULTILINE)
    assert re.search(r"^\s+http_put_response_hop_limit = 1$", text, re.MULTILINE)
    assert 'file("${path.module}/../iam-policy.json")' in text
