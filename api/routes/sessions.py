"""Sign in, sign out, and who one is."""

from __future__ import annotations

from ...engine.errors import Unauthenticated
from ..calls import Api, Call, TokenCall, with_token, without_auth
from ..rate_limits import network_of
from ..representations import MembershipData, ProfileData, SessionData
from ..routing import Area
from ..schemas import SignIn
from ..tokens import issue_to_user, revoke

area = Area("sessions")


@area.post("/auth/sign_in", SessionData)
@without_auth
async def sign_in(call: Call, body: SignIn) -> SessionData:
    """Exchange e-mail and password for a token."""
    api = call.api
    email = body.email.lower()
    await api.sign_ins_by_address.admit(network_of(call.address))
    await api.sign_ins_by_email.admit(email)
    user = await call.world.reads.user_by_email(email)
    # The same work for an unknown user, and the same answer.
    if not await api.passwords.matches(user.password_hash if user else None, body.password) or user is None:
        raise Unauthenticated("E-mail or password is wrong.")
    issued = await issue_to_user(api, user.id)
    return SessionData(token=issued.secret, expires_at=issued.expires_at, user=await profile_of(api, user.id))


@area.post("/auth/sign_out", None)
@with_token
async def sign_out(call: TokenCall) -> None:
    """End this session; its sockets are closed."""
    await revoke(call.api, [call.token])


@area.post("/auth/sign_out_everywhere", None)
@with_token
async def sign_out_everywhere(call: TokenCall) -> None:
    """End all sessions of this user or contact."""
    token = call.token
    await revoke(call.api, await call.world.reads.tokens_of(user_id=token.user_id, contact_id=token.contact_id))


@area.get("/profile", ProfileData)
@with_token
async def show_profile(call: TokenCall) -> ProfileData:
    """The user who is signed in, and its accounts."""
    return await profile_of(call.api, call.user_id)


async def profile_of(api: Api, user_id: int) -> ProfileData:
    """Raises Unauthenticated where the user is gone."""
    user = await api.world.reads.user(user_id)
    if user is None:
        raise Unauthenticated
    return ProfileData(id=user.id, email=user.email, name=user.name, accounts=await memberships_of(api, user_id))


async def memberships_of(api: Api, user_id: int) -> list[MembershipData]:
    reads = api.world.reads
    found: list[MembershipData] = []
    for membership in await reads.memberships(user_id):
        records = await reads.account(membership.account_id)
        if records is not None:
            account = records.account
            found.append(MembershipData(id=account.id, name=account.name, status=account.status, role=membership.role))
    return found
