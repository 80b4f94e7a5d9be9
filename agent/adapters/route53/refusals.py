"""What AWS means when it says no: whose turn it is, in words, and the next thing to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from agent.errors import AgentError, OutsideError, RequestError

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_DISTRUSTED = (
    *("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"),
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidSignatureException"),
)
_THROTTLED = ("Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded")
_LARGEST_TOLD = 300


class AwsRefused(RequestError):
    """AWS understood and said no: another try is in vain until the operator has changed something."""

    http_status = HTTPStatus.CONFLICT


@contextmanager
def meaning(operation: str, subject: str) -> Iterator[None]:
    """Turn what boto3 raises within into AwsRefused or OutsideError. `subject` is the zone or the change."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        raise _answered(operation, subject, said.get("Code", ""), said.get("Message", "")) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise AwsRefused(
            f"There are no AWS credentials for route53:{operation}.",
            hint="Attach a role with the policy of docs/how-to/dns.md to the instance.",
            code="aws-no-credentials",
        ) from error
    except BotoCoreError as error:
        raise OutsideError(
            f"Route53 does not answer: {str(error)[:_LARGEST_TOLD]}",
            hint="Nobody must act: it is tried again.",
            code="aws-unreachable",
        ) from error


def _answered(operation: str, subject: str, code: str, message: str) -> AgentError:
    said = " ".join(message.split())[:_LARGEST_TOLD]
    if code in _DENIED:
        return AwsRefused(
            f"AWS does not allow route53:{operation} on {subject}: {said}",
            hint="Give the instance's role the policy of docs/how-to/dns.md.",
            code="aws-access-denied",
        )
    if code in _DISTRUSTED:
        return AwsRefused(
            f"AWS does not take the credentials ({code}).",
            hint="Check the role of the instance, keys in the agent's environment, and the clock of the host.",
            code="aws-credentials-refused",
        )
    if code == "NoSuchHostedZone":
        return AwsRefused(
            f"There is no hosted zone {subject}.",
            hint="`aws route53 list-hosted-zones` shows the ids; write one into dns.zone.",
            code="dns-no-such-zone",
        )
    if code in _THROTTLED:
        return OutsideError(
            "Route53 wants to be asked less often (the limit is the whole account's).",
            hint="Nobody must act: it is tried again.",
            code="aws-throttled",
        )
    if code == "PriorRequestNotComplete":
        return OutsideError(
            f"Route53 is still busy with an earlier change of {subject}.",
            hint="Nobody must act: it is tried again.",
            code="dns-busy",
        )
    # The text is all that tells a lost race from a change that is wrong by itself.
    if code == "InvalidChangeBatch" and "already exists" in said:
        return OutsideError(
            "Somebody made the same records a moment ago.",
            hint="They are read again; `butai dns` shows whose they are.",
            code="dns-raced",
        )
    if code.startswith("Invalid"):
        return AwsRefused(
            f"Route53 does not take the change of {subject}: {said}",
            hint="`butai dns` shows what is wanted and what is there.",
            code="dns-change-refused",
        )
    return OutsideError(f"Route53 answers {code}: {said}", hint="Nobody must act: it is tried again.", code="aws-error")
