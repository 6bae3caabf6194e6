"""What a job is: a class with typed arguments and one coroutine.

    class SendReceipt(BaseJob[Receipt]):
        queue = "mail"
        max_attempts = 5

        def __init__(self, mailer: Mailer) -> None:  # collaborators come from its factory in the registry
            self._mailer = mailer

        async def perform(self, context: JobContext, args: Receipt) -> Result:
            await self._mailer.send(args.to, args.text)

    await engine.jobs.enqueue(SendReceipt, Receipt(to="ann@example.org", text="..."), account_id=7)

A job runs at least once. It runs again where its worker died, where its lease ended too early, or where the answer of
the store was lost: a handler must be idempotent, that is, do no harm the second time.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, get_args

import msgspec

from ...storage.records import Job
from ..entities import WallClock

Args = TypeVar("Args")

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Snooze:
    """Run again in so many seconds. The attempt is not counted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """The work is not wanted any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Discard:
    """The work cannot be done, now or later."""

    reason: str


#: What `perform` may answer. None: it is done.
Result: TypeAlias = Snooze | Cancel | Discard | None


class JobContext:
    """What a job knows of itself while it runs, and what it may ask for."""

    def __init__(self, job: Job, wall_clock: WallClock) -> None:
        self.job = job
        self.now = wall_clock
        #: Commands that are run when `perform` has returned; see `then`.
        self.commands: list[Any] = []

    @property
    def account_id(self) -> int:
        return self.job.account_id

    def then(self, command: Any) -> None:
        """Run a command of the job's actor when `perform` has returned.

        For jobs in an actor's lane. In a conversation, what the commands change and the end of the job are one
        transaction: both, or neither.
        """
        self.commands.append(command)


class BaseJob(Generic[Args]):
    """Base of all jobs. `Args` is anything that msgspec reads from JSON: a struct, a dataclass, a dict, an int.

    Where it runs follows from its key:

    - `conversation:42` or `account:7`: in that actor's job lane, never at the same time as its commands. `perform` must
      be quick there, because the actor waits for it; work that is not is `beside = True`.
    - any other key, none, or `beside`: in the pool of the node, at most `JobLimits.per_account` of one account at once.

    Of all jobs with one key at most one runs at a time, on all nodes together.
    """

    #: What it is called in the store. Default: the class's name, `send_receipt` for `SendReceipt`.
    name: ClassVar[str] = ""
    queue: ClassVar[str] = "default"
    #: 0 runs first, 9 last.
    priority: ClassVar[int] = 5
    max_attempts: ClassVar[int] = 3
    #: Seconds that one attempt may take.
    timeout: ClassVar[float] = 60.0
    #: Seconds in which the same job (kind, account, key, arguments) is enqueued once only; 0: as often as it is asked.
    unique_for: ClassVar[float] = 0.0
    #: Whether `unique_for` ends as soon as the job starts.
    unique_while_waiting: ClassVar[bool] = False
    #: Whether a job with an actor's key runs in the pool, because it takes long.
    beside: ClassVar[bool] = False
    #: The type of its arguments, taken from the brackets of `BaseJob[...]`.
    args_type: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = _WORDS.sub("_", cls.__name__).lower()
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = get_args(base)
            if arguments and not isinstance(arguments[0], TypeVar):
                cls.args_type = arguments[0]

    async def perform(self, context: JobContext, args: Args) -> Result:
        """Do the work; it may be asked for more than once, and must then do no harm.

        Raises:
            Exception: this attempt failed; the next one is made after `backoff`, up to `max_attempts` of them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define perform.")

    def backoff(self, attempt: int) -> float:
        """Seconds until the next attempt after this one failed; the first is 1.

        2, 4, 8, ... with jitter of a quarter ("full jitter" would let some run at once: the work has just failed).
        """
        return 2.0**attempt * random.uniform(0.75, 1.25)


def checked(result: Any) -> Result:
    """What `perform` answered. Raises TypeError: it is no result."""
    if not isinstance(result, Snooze | Cancel | Discard | None):
        raise TypeError(f"perform answered {result!r}, which is no result of a job.")
    return result


def encode_args(args: Any) -> str:
    return msgspec.json.encode(args).decode()


def decode_args(job: type[BaseJob[Args]], text: str) -> Args:
    """Raises msgspec.ValidationError where they were written by another version of the job."""
    args: Args = msgspec.json.decode(text, type=job.args_type)
    return args
