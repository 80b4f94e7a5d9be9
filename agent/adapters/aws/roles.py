"""Assumes roles at Amazon's Security Token Service, with the credentials that boto3 finds for this host."""

from __future__ import annotations

from datetime import UTC
from threading import Lock
from typing import Any

from agent.adapters.aws.keys import session
from agent.adapters.aws.refusals import STS, meaning
from agent.model.aws import AwsKeys, LentKeys, RoleWish

_ATTEMPTS = 2  # a deployment may be waiting; whoever asked comes again later
_CONNECT_TIMEOUT_S = 3
_READ_TIMEOUT_S = 5


class Sts:
    """Safe from any thread."""

    def __init__(self, *, attempts: int = _ATTEMPTS) -> None:
        self._attempts = attempts
        self._lock = Lock()
        self._made: dict[str, Any] = {}  # by region

    def assume(self, wish: RoleWish) -> LentKeys:
        """Keys of this role. AwsRefused when somebody must act, OutsideError when nobody must."""
        policy: dict[str, str] = {"Policy": wish.policy} if wish.policy else {}
        with meaning(STS, "AssumeRole", wish.arn):
            answer = self._client(wish.region).assume_role(
                RoleArn=wish.arn,
                RoleSessionName=wish.session,
                DurationSeconds=wish.duration_s,
                Tags=[{"Key": key, "Value": value} for key, value in wish.tags],
                **policy,
            )
        given = answer["Credentials"]
        keys = AwsKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        return LentKeys(keys, given["Expiration"].astimezone(UTC))

    def _client(self, region: str) -> Any:
        from botocore.config import Config

        with self._lock:
            if region not in self._made:
                retries: Any = {"mode": "standard", "total_max_attempts": self._attempts}
                make: Any = session().client  # typed for the services whose stubs are installed
                self._made[region] = make(
                    "sts",
                    region_name=region,
                    config=Config(
                        retries=retries,
                        connect_timeout=_CONNECT_TIMEOUT_S,
                        read_timeout=_READ_TIMEOUT_S,
                    ),
                )
            return self._made[region]
