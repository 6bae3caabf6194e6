"""Tertulia: an actor-based realtime messaging engine for live chat, on trio."""

from .actors.commands.account import CreateContact, CreateConversation, CreateInbox
from .actors.commands.edit_message import DeleteMessage, EditMessage
from .actors.commands.mark_read import MarkRead, SetTyping
from .actors.commands.send_message import SendMessage, Sent
from .actors.commands.update_conversation import DeleteConversation, UpdateConversation
from .actors.entities import Member, Priority, Role, Status, System, Visitor
from .actors.events import Event
from .actors.jobs.job import BaseJob, Cancel, Discard, JobContext, Result, Snooze
from .actors.jobs.registry import JobRegistry
from .api.engine import Engine, open_engine
from .api.server import Server, open_server
from .api.settings import Settings
from .engine.errors import TertuliaError

__all__ = [
    "BaseJob",
    "Cancel",
    "CreateContact",
    "CreateConversation",
    "CreateInbox",
    "DeleteConversation",
    "DeleteMessage",
    "Discard",
    "EditMessage",
    "Engine",
    "Event",
    "JobContext",
    "JobRegistry",
    "MarkRead",
    "Member",
    "Priority",
    "Result",
    "Role",
    "SendMessage",
    "Sent",
    "Server",
    "SetTyping",
    "Settings",
    "Snooze",
    "Status",
    "System",
    "TertuliaError",
    "UpdateConversation",
    "Visitor",
    "__version__",
    "open_engine",
    "open_server",
]

__version__ = "0.1.0"
