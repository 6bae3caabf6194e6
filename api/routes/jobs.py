"""Jobs: what runs in the background of an account, and what came of it. For administrators."""

from __future__ import annotations

from ...actors.policies.base import authorize
from ...actors.policies.job import JobPolicy
from ...storage.job_contract import JobFilter
from ..answers import Page
from ..calls import AccountCall, with_auth
from ..cursors import cursor_of_id, id_of
from ..job_representations import JobData, job_data
from ..routing import Area
from ..schemas import JobQuery

area = Area("jobs")


def policy_of(call: AccountCall) -> JobPolicy:
    return JobPolicy(call.access, call.principal)


@area.get("/jobs", JobData, listed=True)
@with_auth
async def list_jobs(call: AccountCall, query: JobQuery) -> Page:
    """The account's jobs, the latest first."""
    authorize(policy_of(call).can_show())
    which = JobFilter(query.state, query.queue, query.kind, query.key)
    before = id_of(query.cursor) if query.cursor is not None else None
    found = await call.world.jobs.find(call.account_id, which, before=before, limit=query.limit + 1)
    page = found[: query.limit]
    return Page([job_data(job) for job in page], cursor_of_id(page[-1].id) if len(found) > len(page) else None)


@area.get("/jobs/<key:job_id>", JobData)
@with_auth
async def show_job(call: AccountCall, job_id: str) -> JobData:
    """One job."""
    authorize(policy_of(call).can_show())
    return job_data(await call.world.jobs.get(call.account_id, job_id))


@area.post("/jobs/<key:job_id>/retry", JobData, status=200)
@with_auth
async def retry_job(call: AccountCall, job_id: str) -> JobData:
    """Run a job now: once more where it was discarded or cancelled, at once where it was to run later."""
    authorize(policy_of(call).can_update())
    return job_data(await call.world.jobs.retry(call.account_id, job_id))


@area.post("/jobs/<key:job_id>/cancel", JobData, status=200)
@with_auth
async def cancel_job(call: AccountCall, job_id: str) -> JobData:
    """Do not run a job, or stop it where it runs."""
    authorize(policy_of(call).can_update())
    return job_data(await call.world.jobs.cancel(call.account_id, job_id))
