"""The engine's own jobs, put into the registry of every engine beside the program's."""

from __future__ import annotations

from .collaborators import Collaborators
from .jobs.pruning import HOURLY, PruneJobs
from .jobs.registry import JobRegistry
from .timers.jobs import AutoResolve, RemindOfVisitor, ReopenSnoozed
from .timers.sweep import EVERY_MINUTE, SweepTimers
from .webhooks.delivery import DeliverWebhook
from .webhooks.pausing import DropWaitingDeliveries, PauseFailingWebhook
from .webhooks.upkeep import PruneDeliveries, WakeWebhooks


def add_own_jobs(registry: JobRegistry, world: Collaborators) -> None:
    """Let the registry know them. Raises ValueError: another job has the name of one of them."""
    _add_pruning(registry, world)
    _add_webhooks(registry, world)
    add_timers(registry, world)


def _add_pruning(registry: JobRegistry, world: Collaborators) -> None:
    store, limits = world.jobs.store, world.job_limits
    registry.add(PruneJobs, lambda: PruneJobs(store, limits))
    if PruneJobs.name not in registry.crons:
        registry.cron(HOURLY, PruneJobs)


def _add_webhooks(registry: JobRegistry, world: Collaborators) -> None:
    store, journal, limits = world.jobs.store, world.journal, world.webhook_limits
    registry.add(DeliverWebhook, lambda: DeliverWebhook(store, journal, world.jobs, world.sender, limits))
    registry.add(PauseFailingWebhook, lambda: PauseFailingWebhook(store))
    registry.add(DropWaitingDeliveries, lambda: DropWaitingDeliveries(store, journal))
    registry.add(PruneDeliveries, lambda: PruneDeliveries(store, limits.keep_deliveries, world.job_limits.prune_batch))
    registry.add(WakeWebhooks, lambda: WakeWebhooks(store, journal, world.jobs))
    if PruneDeliveries.name not in registry.crons:
        registry.cron("17 * * * *", PruneDeliveries)
        registry.cron("* * * * *", WakeWebhooks)


def add_timers(registry: JobRegistry, world: Collaborators) -> None:
    store, journal, page = world.jobs.store, world.journal, world.job_limits.sweep_page
    registry.add(ReopenSnoozed)
    registry.add(AutoResolve)
    registry.add(RemindOfVisitor)
    registry.add(SweepTimers, lambda: SweepTimers(store, journal, world.access, world.jobs, page))
    if SweepTimers.name not in registry.crons:
        registry.cron(EVERY_MINUTE, SweepTimers)
