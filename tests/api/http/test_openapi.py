"""The description says what the server does: every route, every struct, every limit."""

import re
from typing import Any

import msgspec
import pytest

from tertulia.actors.limits import ChatLimits
from tertulia.api.http import ROUTES, make_app
from tertulia.api.openapi import description_of, path_of
from tertulia.api.settings import Settings

from .town import Client, Town, open_town


@pytest.fixture
def document() -> dict[str, Any]:
    return description_of(ROUTES, ChatLimits())


async def test_every_route_of_the_server_is_described(town: Town) -> None:
    served = {
        (method, path_of(rule.rule))
        for rule in town.app.url_map.iter_rules()
        for method in (rule.methods or set[str]()) - {"HEAD", "OPTIONS"}
    }
    paths = (await town.client.get("/openapi.json")).json["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == served


def test_every_operation_has_a_summary_of_its_own_and_a_unique_id(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert all(operation["summary"] for operation in operations)
    names = [operation["operationId"] for operation in operations if "operationId" in operation]
    assert len(names) == len(set(names)) > len(ROUTES)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    found = references(document)
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} <= set(schemas)


def references(document: Any) -> set[str]:
    return set(re.findall(r'"\$ref":"([^"]+)"', msgspec.json.encode(document).decode()))


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            declared = {entry["name"] for entry in operation.get("parameters", ()) if entry["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


def test_lengths_are_those_that_this_server_is_set_to() -> None:
    schemas = description_of(ROUTES, ChatLimits(content=123, labels=4, label=5))["components"]["schemas"]
    assert schemas["NewMessage"]["properties"]["content"]["maxLength"] == 123
    labels = schemas["NewConversation"]["properties"]["labels"]
    assert (labels["maxItems"], labels["items"]["maxLength"]) == (4, 5)


async def test_limits_that_are_set_are_the_limits_that_hold() -> None:
    async with open_town(settings=Settings(chat=ChatLimits(content=5))) as town:
        path = "/conversations/1/messages"
        assert (await town.client.post(path, {"content": "12345"}, by="agent")).status == 201
        assert (await town.client.post(path, {"content": "123456"}, by="agent")).problem == (422, "invalid")
        document = (await town.client.get("/openapi.json")).json
    assert document["components"]["schemas"]["NewMessage"]["properties"]["content"]["maxLength"] == 5


async def test_what_needs_no_token_says_so(client: Client) -> None:
    paths = (await client.get("/openapi.json")).json["paths"]
    assert "security" not in paths["/api/v1/auth/sign_in"]["post"]
    assert paths["/api/v1/conversations"]["get"]["security"] == [{"token": []}]


async def test_answers_are_as_described(client: Client) -> None:
    document = (await client.get("/openapi.json")).json
    shown = (await client.get("/conversations/1", by="agent")).data
    assert set(shown) == set(document["components"]["schemas"]["ConversationData"]["properties"])
    contact = (await client.get("/contacts/1", by="agent")).data
    assert set(contact) == set(document["components"]["schemas"]["ContactData"]["properties"])


async def test_an_app_can_be_made_without_anything_else(town: Town) -> None:
    app = make_app(town.engine)
    response = await app.test_client().get("/openapi.json")
    assert msgspec.json.decode(bytes(await response.get_data(as_text=False)))["openapi"] == "3.1.0"
