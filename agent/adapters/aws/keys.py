"""The credentials that boto3 finds for this host, its role's as a rule, for somebody who cannot find them himself."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from agent.adapters.aws.refusals import ROUTE53, meaning
from agent.model.aws import AwsKeys

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.credentials import Credentials


def session() -> Session:
    """A session with credentials; without any, NoCredentialsError: a client made so would never look for them again."""
    import boto3.session  # here: half a second and 30 MB that an agent without records and roles does not need
    from botocore.exceptions import NoCredentialsError

    found = boto3.session.Session()
    if found.get_credentials() is None:
        raise NoCredentialsError
    return found


class HostKeys:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: Credentials | None = None

    def current(self, zone: str) -> AwsKeys:
        """Keys that are good for some minutes, as boto3 sees to. They are for changing `zone`, as messages say.

        AwsRefused when there are none, OutsideError when they cannot be had just now.
        """
        with meaning(ROUTE53, "ChangeResourceRecordSets", zone), self._lock:
            frozen = self._credentials().get_frozen_credentials()
            return AwsKeys(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")

    def _credentials(self) -> Credentials:
        if self._found is None:
            self._found = session().get_credentials()
        assert self._found is not None  # noqa: S101 - such a session is not handed out
        return self._found
