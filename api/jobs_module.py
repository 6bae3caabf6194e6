"""A program's own jobs, for servers and workers that are started from the command line. In: the name of a module. Out:
a registry.

The module has one function, which is called once in every process that runs jobs:

    def jobs(registry: JobRegistry) -> None:
        registry.add(SendReceipt, lambda: SendReceipt(mailer))
        registry.cron("0 6 * * 1-5", SendReport, zone="Europe/Berlin")
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import Any

from ..actors.jobs.registry import JobRegistry
from .settings import WrongSetting

FUNCTION = "jobs"

logger = logging.getLogger("tertulia.jobs_module")


def load_jobs(module: str) -> JobRegistry:
    """The registry that a module fills; an empty one where no module is named.

    The directory that the program was started in is searched like any other place for modules.

    Raises:
        WrongSetting: there is no such module, it cannot be imported, or it has no function `jobs` that works.
    """
    registry = JobRegistry()
    if not module:
        return registry
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    # Whatever somebody else's code raises is the answer to "which jobs are there", and belongs into one line.
    try:
        imported: Any = import_module(module)
    except Exception as error:
        raise _wrong(module, "cannot be imported", error) from None
    add = getattr(imported, FUNCTION, None)
    if not callable(add):
        raise WrongSetting(f"The module {module} has no function {FUNCTION}(registry) that adds its jobs.")
    try:
        add(registry)
    except Exception as error:
        raise _wrong(module, f"cannot add its {FUNCTION}", error) from None
    return registry


def _wrong(module: str, what: str, error: Exception) -> WrongSetting:
    logger.debug("the module %s %s", module, what, exc_info=error)
    said = " ".join(str(error).split())
    return WrongSetting(f"The module {module!r} {what}: {type(error).__name__}: {said}")
