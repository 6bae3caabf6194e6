"""Tertulia: an actor-based realtime messaging engine for live chat, on trio."""

from .actors.commands.account import CreateContact, CreateConversation, CreateInbox
from .actors.commands.edit_message import DeleteMessage, EditMessage
from .actors.commands.mark_read import MarkRead, SetTyping
from .actors.commands.send_message import SendMessage, Sent
from .actors.commands.update_conversation import DeleteConversation, UpdateConversation
from .actors.entities import Member, Priority, Role, Status, System, Visitor
from .actors.events import Event
from .api.engine import Engine, open_engine
from .api.server import Server, open_server
from .api.settings import Settings
from .engine.errors import TertuliaError

__all__ = [
    "CreateContact",
    "CreateConversation",
    "CreateInbox",
    "DeleteConversation",
    "DeleteMessage",
    "EditMessage",
    "Engine",
    "Event",
    "MarkRead",
    "Member",
    "Priority",
    "Role",
    "SendMessage",
    "Sent",
    "Server",
    "SetTyping",
    "Settings",
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
