"""From a request to a caller. In: what Quart routed. Next hop: a handler of `routes/`.

`with_auth` goes token -> user -> account -> membership -> validation -> handler, `with_token` and `without_auth` stop
earlier. A handler takes its call, the ids of its path, and `body` or `query` where it declares them; it returns what
`answers.py` encodes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, get_type_hints

from quart import Request
from werkzeug.exceptions import UnsupportedMediaType

from ..actors.access import AccountAccess
from ..actors.account import AccountActor
from ..actors.conversation import Collaborators, ConversationActor
from ..actors.conversation_state import ConversationState
from ..actors.entities import Member, Principal, Visitor
from ..actors.policies.base import authorize
from ..actors.policies.conversation import ConversationFacts
from ..actors.policies.message import MessagePolicy
from ..engine.errors import Denied, Malformed, NotFound
from ..engine.ref import Ref
from ..storage.records import Conversation, Token
from .auth import Authenticator, Identity
from .engine import Engine
from .http_settings import HttpSettings
from .passwords import Passwords
from .rate_limits import RateLimit, client_address
from .schemas import MAX_ID
from .validation import BodyReader, QueryReader

Handler = Callable[..., Awaitable[Any]]


class Api:
    """What all requests share."""

    def __init__(self, engine: Engine, authenticator: Authenticator, settings: HttpSettings) -> None:
        self.engine = engine
        self.authenticator = authenticator
        self.settings = settings
        self.passwords = Passwords(settings.passwords_at_once)
        self.sign_ins_by_address = self._limit("sign-in-address", settings.sign_in_rate, settings.sign_in_burst)
        self.sign_ins_by_email = self._limit("sign-in-email", settings.sign_in_rate, settings.sign_in_burst)
        self.visitor_sessions = self._limit(
            "visitor-session", settings.visitor_session_rate, settings.visitor_session_burst
        )

    def _limit(self, name: str, rate: float, burst: float) -> RateLimit:
        return RateLimit(rate, burst, self.settings.remembered_addresses, name=name, bus=self.engine.bus)

    @property
    def world(self) -> Collaborators:
        return self.engine.world


class Call:
    """A request of anybody."""

    def __init__(self, api: Api, request: Request) -> None:
        self.api = api
        self.request = request

    @property
    def world(self) -> Collaborators:
        return self.api.engine.world

    @property
    def secret(self) -> str | None:
        """The token, from `Authorization: Bearer`; never from the address, because addresses are logged."""
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        return credentials.strip() if scheme.lower() == "bearer" else None

    @property
    def address(self) -> str:
        """Where the request comes from."""
        # All of them: a proxy may add a line of its own after the one that its caller sent.
        forwarded = ",".join(self.request.headers.getlist("X-Forwarded-For"))
        return client_address(self.request.remote_addr or "", forwarded, self.api.settings.trusted_proxies)


class TokenCall(Call):
    """A request with a valid token, in no particular account."""

    def __init__(self, api: Api, request: Request, token: Token) -> None:
        super().__init__(api, request)
        self.token = token

    @property
    def user_id(self) -> int:
        """Raises Denied where a contact is calling."""
        if self.token.user_id is None:
            raise Denied("This is for users, not for contacts.")
        return self.token.user_id


class AccountCall(Call):
    """A request of a member or a visitor, in an account."""

    def __init__(self, api: Api, request: Request, identity: Identity, access: AccountAccess) -> None:
        super().__init__(api, request)
        self.identity = identity
        self.principal: Principal = identity.principal
        self.account_id: int = identity.principal.account_id
        self.access = access

    @cached_property
    def policy(self) -> MessagePolicy:
        """Decides about conversations and their messages."""
        return MessagePolicy(self.access, self.principal)

    @property
    def is_visitor(self) -> bool:
        return isinstance(self.principal, Visitor)

    @property
    def member(self) -> Member:
        """Raises Denied where a visitor is calling."""
        if not isinstance(self.principal, Member):
            raise Denied
        return self.principal

    def conversation(self, conversation_id: int) -> Ref[ConversationActor]:
        """The conversation's actor."""
        return self.api.engine.conversation(self.account_id, conversation_id)

    @property
    def account(self) -> Ref[AccountActor]:
        """The account's actor."""
        return self.api.engine.account(self.account_id)

    async def visible(self, conversation_id: int) -> ConversationFacts:
        """What the policy needs to know of a conversation that the caller may see; from its actor if that is active.

        Raises:
            NotFound: there is none, or none for this caller.
        """
        actor = self.api.engine.directory.peek(ConversationActor, (self.account_id, conversation_id))
        facts: ConversationState | Conversation
        if actor is not None:
            facts = actor.state
        else:
            records = await self.world.reads.conversation(self.account_id, conversation_id)
            if records is None:
                raise NotFound
            facts = records.conversation
        shown = facts.deleted_at is None and self.policy.can_show(facts)
        authorize(shown, visible=shown)
        return facts


class Audience(Enum):
    """Who may call."""

    ANYONE = "anyone"
    TOKEN = "anyone with a valid token"
    ACCOUNT = "members and visitors of the account"


@dataclass(frozen=True, slots=True)
class Operation:
    """A handler with its guard: who may call it, and what it takes."""

    handler: Handler
    audience: Audience
    body: type[Any] | None
    query: type[Any] | None
    run: Callable[[Call, dict[str, Any]], Awaitable[Any]]


def without_auth(handler: Handler) -> Operation:
    """For handlers that anybody may call."""

    async def enter(call: Call, path: dict[str, Any]) -> Call:
        return call

    return _operation(handler, Audience.ANYONE, enter)


def with_token(handler: Handler) -> Operation:
    """For handlers that need a valid token and no account."""

    async def enter(call: Call, path: dict[str, Any]) -> Call:
        return TokenCall(call.api, call.request, await call.api.authenticator.token(call.secret))

    return _operation(handler, Audience.TOKEN, enter)


def with_auth(handler: Handler) -> Operation:
    """For handlers that act in an account: token -> user -> account from path, header or query -> membership."""

    async def enter(call: Call, path: dict[str, Any]) -> Call:
        account_id = account_of(call.request, path)
        identity = await call.api.authenticator.identify(call.secret, account_id)
        access = await call.world.access.of(identity.principal.account_id)
        return AccountCall(call.api, call.request, identity, access)

    return _operation(handler, Audience.ACCOUNT, enter)


def account_of(request: Request, path: dict[str, Any]) -> int | None:
    """The account that a request names; where it does so twice, both must agree.

    Raises:
        Malformed: it is no id, or there are two.
    """
    named: set[int] = set()
    in_path = path.pop("account_id", None)
    if in_path is not None:
        named.add(in_path)
    for text in (request.headers.get("X-Account-Id"), request.args.get("account_id")):
        if text:
            if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:20]) <= MAX_ID:
                raise Malformed("X-Account-Id and account_id must be an account's id.")
            named.add(int(text[:20]))
    if len(named) > 1:
        raise Malformed("The request names more than one account.")
    return named.pop() if named else None


def _operation(
    handler: Handler, audience: Audience, enter: Callable[[Call, dict[str, Any]], Awaitable[Call]]
) -> Operation:
    hints = get_type_hints(handler)
    declared = inspect.signature(handler).parameters
    body = hints["body"] if "body" in declared else None
    query = hints["query"] if "query" in declared else None
    body_reader: BodyReader[Any] | None = BodyReader(body) if body is not None else None
    query_reader: QueryReader[Any] | None = QueryReader(query) if query is not None else None

    async def run(call: Call, path: dict[str, Any]) -> Any:
        caller = await enter(call, path)
        inputs: dict[str, Any] = {}
        if query_reader is not None:
            inputs["query"] = query_reader.read(call.request.args)
        if body_reader is not None:
            raw = await read_body(call.request)
            inputs["body"] = body_reader.read(raw, call.world.limits)
        return await handler(caller, **path, **inputs)

    return Operation(handler, audience, body, query, run)


async def read_body(request: Request) -> bytes:
    """The body; an absent one stands for an object without fields.

    Raises:
        UnsupportedMediaType: it is not JSON.
    """
    raw: Any = await request.get_data(cache=False)
    if not raw:
        return b"{}"
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    return bytes(raw)
