"""What STS means when it says no. tests/integration/test_route53.py has the same for Route53, and the way there."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from agent.adapters.aws.refusals import STS, AwsRefused, meaning
from agent.errors import AgentError, OutsideError

ARN = "arn:aws:iam::123456789012:role/shop"
REFUSALS = {
    "AccessDenied": (AwsRefused, "aws-access-denied", "trust policy"),
    "ExpiredToken": (AwsRefused, "aws-credentials-refused", "clock"),
    "RegionDisabledException": (AwsRefused, "aws-region-disabled", "region"),
    "ValidationError": (AwsRefused, "aws-role-refused", "list-roles"),
    "Throttling": (OutsideError, "aws-throttled", "tried again"),
    "InternalFailure": (OutsideError, "aws-error", "tried again"),
}


def told(raised: Exception) -> AgentError:
    with pytest.raises(AgentError) as caught, meaning(STS, "AssumeRole", ARN):
        raise raised
    assert "oute53" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_of_a_role_has_a_family_a_code_and_something_to_do(code: str) -> None:
    error = told(ClientError({"Error": {"Code": code, "Message": "No."}}, "AssumeRole"))
    family, ours, hint = REFUSALS[code]
    assert (type(error), error.code) == (family, ours)
    assert hint in error.hint


def test_who_is_refused_is_named() -> None:
    error = told(ClientError({"Error": {"Code": "AccessDenied", "Message": "Not authorized."}}, "AssumeRole"))
    assert error.message == f"AWS does not allow sts:AssumeRole on {ARN}: Not authorized."


def test_a_host_without_credentials_and_one_without_a_network_are_told_apart() -> None:
    error = told(NoCredentialsError())
    assert error.message == "There are no AWS credentials for sts:AssumeRole."
    assert "docs/how-to/aws-roles.md" in error.hint
    assert told(EndpointConnectionError(endpoint_url="https://sts")).code == "aws-unreachable"
