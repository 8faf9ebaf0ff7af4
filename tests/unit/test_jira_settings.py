"""Settings and outputs of the Jira connector: what is guessed, and which combinations are refused at load."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.jira.outputs import OUTPUTS
from connectors.jira.settings import JiraSettings


def made(**more: Any) -> JiraSettings:
    return JiraSettings.model_validate(
        {"source": "jira", "webhook_secrets": ["env:JIRA_WEBHOOK_SECRET"], **more}
    )


@pytest.mark.parametrize(
    ("given", "product", "rest"),
    [
        ({"api_url": "https://acme.atlassian.net/", "email": "bot@acme.example"}, "cloud",
         "https://acme.atlassian.net/rest/api/3"),
        ({"api_url": "https://acme.atlassian.net"}, "cloud", "https://acme.atlassian.net/rest/api/3"),
        ({"api_url": "https://issues.acme.example", "email": "bot@acme.example"}, "cloud",
         "https://issues.acme.example/rest/api/3"),
        ({"api_url": "https://acme.example/jira"}, "datacenter", "https://acme.example/jira/rest/api/2"),
        ({"api_url": "https://acme.example/jira", "deployment": "cloud"}, "cloud", "https://acme.example/jira/rest/api/3"),
        ({"api_url": "http://127.0.0.1:9000/jira"}, "cloud", "http://127.0.0.1:9000/jira/rest/api/3"),
        ({"api_url": "http://localhost:8080", "deployment": "datacenter"}, "datacenter",
         "http://localhost:8080/rest/api/2"),
        ({"api_url": "https://api.atlassian.com", "cloud_id": "1111-aa"}, "cloud",
         "https://api.atlassian.com/ex/jira/1111-aa/rest/api/3"),
    ],
)  # fmt: skip
def test_product_and_address(given: dict[str, Any], product: str, rest: str) -> None:
    settings = made(**given)
    assert (settings.product, settings.rest) == (product, rest)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"api_url": "https://jira.acme.example", "deployment": "datacenter", "email": "a@b.example"},
            "remove email",
        ),
        (
            {"api_url": "https://jira.acme.example", "deployment": "datacenter", "cloud_id": "1"},
            "remove cloud_id",
        ),
        ({"api_url": "https://api.atlassian.com"}, "add cloud_id"),
        ({"api_url": "acme.atlassian.net"}, "https://"),
        ({"api_url": "https://acme.atlassian.net", "email": "bot"}, "email"),
        ({"api_url": "https://acme.atlassian.net", "emial": "a@b.example"}, "emial"),
        ({"api_url": "https://acme.atlassian.net", "source": "github"}, "source"),
    ],
)
def test_bad_combinations_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        made(**given)


def test_people_open_the_site_not_the_gateway() -> None:
    gateway = {"api_url": "https://api.atlassian.com", "cloud_id": "1111-aa"}
    assert made(**gateway).site is None
    assert made(api_url="https://api.atlassian.com/ex/jira/1111-aa").site is None
    assert made(**gateway, site_url="https://acme.atlassian.net/").site == "https://acme.atlassian.net"
    assert made(api_url="https://acme.example/jira/").site == "https://acme.example/jira"


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ("comment", {"issue": "no key"}),
        ("comment", {"issue": "SHOP-1/../.."}),
        ("comment", {"text": "x"}),
        ("transition", {"status": "Done", "category": "done"}),
        ("transition", {"category": "finished"}),
        ("add_label", {"label": "two words"}),
    ],
)
def test_bad_targets_are_refused(output: str, target: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OUTPUTS[output].target.model_validate(target)


@pytest.mark.parametrize(
    ("output", "arguments"),
    [
        ("comment", {"text": ""}),
        ("comment", {"text": "x", "issue": "SHOP-2"}),
        ("add_remote_link", {"url": "javascript:alert(1)", "title": "x"}),
        ("add_remote_link", {"url": "https://example.com"}),
        ("remove_label", {"label": ""}),
    ],
)
def test_bad_arguments_are_refused(output: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OUTPUTS[output].arguments.model_validate(arguments)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_can_go_to_the_origin(output: str) -> None:
    assert OUTPUTS[output].to_origin
    assert OUTPUTS[output].target.model_validate({}) is not None
    assert OUTPUTS[output].arguments.model_json_schema()["additionalProperties"] is False
