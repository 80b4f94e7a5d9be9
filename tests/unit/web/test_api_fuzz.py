"""Whatever is sent to the API, the answer is one of the document's and never our bug."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.web.api import PREFIX
from agent.web.deps import CALLER, LISTENER, SOCKET
from tests.support.fakes_api import build_house
from tests.support.oneapp import client_of
from tests.unit.web.test_openapi import OPERATIONS, check_answer, parameters_of

MANY = int(os.environ.get("EXAMPLES", "30"))  # of each operation
TEXT = st.one_of(
    st.sampled_from(
        ["main", "shop", "1", "-1", "0", "", "true", "9" * 30, "1e3", "NaN", "../..", "%00", "queued", "2"]
    ),
    st.text(max_size=30),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BODY = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {},
        optional={"branch": JSON | TEXT, "project": JSON | TEXT, "service": JSON | TEXT, "command": JSON}
        | {"path": TEXT, "direction": TEXT | st.just("into"), "port": JSON | st.just(80), "further": JSON},
    ),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    house = build_house(directory)
    house.deploy()
    house.inspector.live.put(None)
    client = client_of(house.deps)
    client.environ_base |= {LISTENER: SOCKET, CALLER: "unix:anna"}
    yield client
    house.close()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_input_is_answered_as_the_document_says(client: FlaskClient, name: str, data: st.DataObject) -> None:
    method, path, operation = OPERATIONS[name]
    parameters = parameters_of(operation)
    filled = re.sub(r"{\w+}", lambda _: quote(data.draw(TEXT), safe=""), path)
    query = {
        one["name"]: data.draw(TEXT)
        for one in parameters
        if one["in"] == "query" and one["name"] not in ("follow", "wait_s") and data.draw(st.booleans())
    }
    body = data.draw(BODY) if "requestBody" in operation else None
    answer = client.open(PREFIX + filled, method=method, query_string=query, json=body)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.mimetype == "application/problem+json"
    if answer.status_code not in (301, 308) and answer.text:
        check_answer(operation, answer)
