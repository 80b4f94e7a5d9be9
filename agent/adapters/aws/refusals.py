"""What AWS means when it says no: whose turn it is, in words, and the next thing to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Service:
    """Whom boto3 asks: what people call it, what policies call it, and what to do when it says no."""

    name: str
    prefix: str
    attach: str
    allow: str


ROUTE53 = Service(
    "Route53",
    "route53",
    "Attach a role with the policy of docs/how-to/dns.md to the instance.",
    "Give the instance's role the policy of docs/how-to/dns.md.",
)
STS = Service(
    "STS",
    "sts",
    "Attach a role to the instance, as docs/how-to/aws-roles.md says.",
    "Both must allow sts:AssumeRole and sts:TagSession: the policy of the instance's role, and the trust policy of this"
    " one (docs/how-to/aws-roles.md).",
)


@contextmanager
def meaning(service: Service, operation: str, subject: str) -> Iterator[None]:
    """Turn what boto3 raises within into AwsRefused or OutsideError. `subject` is the zone, the change or the role."""
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
        raise _answered(service, operation, subject, said.get("Code", ""), said.get("Message", "")) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise AwsRefused(
            f"There are no AWS credentials for {service.prefix}:{operation}.",
            hint=service.attach,
            code="aws-no-credentials",
        ) from error
    except BotoCoreError as error:
        raise OutsideError(
            f"{service.name} does not answer: {str(error)[:_LARGEST_TOLD]}",
            hint="Nobody must act: it is tried again.",
            code="aws-unreachable",
        ) from error


def _answered(service: Service, operation: str, subject: str, code: str, message: str) -> AgentError:
    said = " ".join(message.split())[:_LARGEST_TOLD]
    if code in _DENIED:
        return AwsRefused(
            f"AWS does not allow {service.prefix}:{operation} on {subject}: {said}",
            hint=service.allow,
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
            f"{service.name} wants to be asked less often (the limit is the whole account's).",
            hint="Nobody must act: it is tried again.",
            code="aws-throttled",
        )
    if code == "RegionDisabledException":
        return AwsRefused(
            f"STS is not activated in the region for {subject}.",
            hint="Activate it in the account settings of IAM, or write another `region`.",
            code="aws-region-disabled",
        )
    if service is STS and code in ("ValidationError", "MalformedPolicyDocument", "PackedPolicyTooLarge"):
        return AwsRefused(
            f"STS does not take the request for {subject}: {said}",
            hint="Compare `role` with what `aws iam list-roles` shows.",
            code="aws-role-refused",
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
    return OutsideError(
        f"{service.name} answers {code}: {said}", hint="Nobody must act: it is tried again.", code="aws-error"
    )
