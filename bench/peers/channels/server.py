"""A chat as Django Channels' tutorial builds it, and stored: a message is in PostgreSQL before its room hears of it."""

# What it imports is only in its own environment: checkers do not find it.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportTypedDictNotRequiredAccess=false, reportArgumentType=false, reportOptionalMemberAccess=false

import json
import os
from urllib.parse import unquote, urlsplit

import django
from asgiref.sync import async_to_sync
from django.conf import settings

url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # The layer drops what is over its capacity; 100 is the default, with which a benchmark measures losses.
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]], "capacity": 100_000},
        }
    },
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": url.hostname,
            "PORT": url.port,
            "USER": url.username,
            "PASSWORD": unquote(url.password or ""),
            "NAME": url.path.lstrip("/"),
            # What Django's documentation recommends under ASGI, in place of connections that each thread keeps.
            "OPTIONS": {"pool": {"min_size": 2, "max_size": 20}},
        }
    },
    LOGGING_CONFIG=None,
    ROOT_URLCONF=__name__,
    SECRET_KEY="benchmark",
    USE_TZ=True,
)
django.setup()

from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Message(models.Model):
    room = models.IntegerField()
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "chat"
        indexes = (models.Index(fields=["room", "id"], name="messages_of_room"),)


def as_event(message):
    said = {"id": message.id, "room": message.room, "text": message.text, "created_at": message.created_at.isoformat()}
    return {"type": "chat.message", "message": json.dumps(said)}


class Room(AsyncWebsocketConsumer):
    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(f"room_{self.room}", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(f"room_{self.room}", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        message = await self.create(json.loads(text_data)["text"])
        await self.channel_layer.group_send(f"room_{self.room}", as_event(message))

    async def chat_message(self, event):
        await self.send(text_data=event["message"])

    @database_sync_to_async
    def create(self, text):
        return Message.objects.create(room=self.room, text=text)


def create_message(request, room):
    message = Message.objects.create(room=room, text=json.loads(request.body)["text"])
    async_to_sync(get_channel_layer().group_send)(f"room_{room}", as_event(message))
    return JsonResponse({"id": message.id}, status=201)


def create_table():
    if Message._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Message)
    connection.close()


urlpatterns = [path("rooms/<int:room>/messages", create_message)]
create_table()
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("rooms/<int:room>", Room.as_asgi())])}
)
