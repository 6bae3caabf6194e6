"""Print what happens in a conversation: `python examples/listen.py TOKEN CONVERSATION_ID [ws://127.0.0.1:8000/cable]`."""

import json
import sys
from typing import Any

import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url


async def listen(token: str, conversation: int, url: str) -> None:
    identifier = json.dumps({"channel": "ConversationChannel", "id": conversation})
    async with open_websocket_url(f"{url}?token={token}", subprotocols=["actioncable-v1-json"]) as socket:
        while True:
            frame = json.loads(await socket.get_message())
            match frame.get("type"):
                case "welcome":
                    await socket.send_message(json.dumps({"command": "subscribe", "identifier": identifier}))
                case "confirm_subscription":
                    print(f"listening to conversation {conversation}")
                case "reject_subscription":
                    sys.exit(f"there is no conversation {conversation} that this token may see")
                case "disconnect":
                    sys.exit(f"the server closed the connection: {frame['reason']}")
                case "ping":
                    pass
                case _:
                    event = frame["message"]
                    data: dict[str, Any] = event["data"]
                    by: dict[str, Any] = data.get("sender") or data.get("by") or {}
                    print(data.get("seq", "-"), event["type"], by.get("name") or "", data.get("content") or "")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or not sys.argv[2].isdecimal():
        sys.exit(__doc__)
    token, conversation = sys.argv[1], int(sys.argv[2])
    url = sys.argv[3] if len(sys.argv) == 4 else "ws://127.0.0.1:8000/cable"
    try:
        trio.run(listen, token, conversation, url)
    except (HandshakeError, ConnectionClosed):
        sys.exit(f"there is no connection to {url}")
    except KeyboardInterrupt:
        pass
